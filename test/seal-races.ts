/** Processes that append with all their might while another one seals the topic: what a seal means, whatever is under way on other connections. */
import assert from "node:assert/strict";
import type { MessageEngine, TenonError, TopicDeclaration } from "tenon/contracts";

const partitions = 4;
/** Nothing that is delayed by so much comes while a test runs. */
const laterMs = 3_600_000;
/** Far more than there is time for before the topic is sealed. */
const turnsMax = 5_000;

/** What was acknowledged of one topic. */
interface Acknowledged {
  readonly positions: { readonly partition: number; readonly position: bigint }[];
  /** Copies that came with a lane's commit, whose positions nobody is told. */
  committed: number;
  delayed: number;
}

/** Appends once; `turn` counts from 0. */
type Append = (turn: number) => Promise<void>;

/**
 * Several processes append (to each partition, delayed, and with a lane's commits) until they are refused. Whatever was acknowledged lies below the ends that the sealing process reads once its seal was declared, and
 * nothing comes later.
 */
export async function sealWhileOthersAppend(
  sealing: MessageEngine,
  appending: readonly MessageEngine[],
  topic: string,
  settings: Partial<TopicDeclaration> = {},
): Promise<void> {
  await sealing.declare(topic, { partitions, groups: ["group"], ...settings });
  const acknowledged: Acknowledged = { positions: [], committed: 0, delayed: 0 };
  const sources = appending.map((_, index) => `${topic}-source-${index}`);
  const works: Append[] = [];
  for (const [index, engine] of appending.entries()) {
    for (let partition = 0; partition < partitions; partition++) {
      works.push(producing(engine, topic, partition, acknowledged));
    }
    works.push(delaying(engine, topic, acknowledged));
    works.push(await copying(engine, sources[index]!, topic, acknowledged));
  }
  const begun = works.map(() => Promise.withResolvers<void>());
  const running = works.map((append, index) => untilDenied(append, begun[index]!.resolve));
  const ended = Promise.all(running);
  await Promise.race([Promise.all(begun.map(({ promise }) => promise)), ended]);
  await sealing.declare(topic, { partitions, sealed: "closed" });
  const end = await sealing.describe(topic);
  await ended;
  const later = await sealing.describe(topic);
  assert.deepEqual(later.partitions, end.partitions, "nothing is stored after the seal");
  for (const { partition, position } of acknowledged.positions) {
    const { next } = end.partitions[partition]!;
    assert.ok(position < next, `position ${position} of partition ${partition} is below the end, ${next}`);
  }
  const stored = end.partitions.reduce((sum, { next }) => sum + Number(next), 0);
  assert.equal(stored, acknowledged.positions.length + acknowledged.committed);
  assert.deepEqual([end.delayedCount, later.delayedCount], [acknowledged.delayed, acknowledged.delayed]);
  for (const [index, source] of sources.entries()) {
    const { groups } = await appending[index]!.describe(source);
    assert.equal(groups[0]!.lanes[0]!.lag, 1, "the commit that was refused has settled nothing");
  }
}

async function untilDenied(append: Append, begun: () => void): Promise<void> {
  for (let turn = 0; turn < turnsMax; turn++) {
    try {
      await append(turn);
    } catch (error) {
      if ((error as TenonError).code === "denied") return;
      throw error;
    }
    begun();
  }
  throw new Error("was never refused");
}

function producing(engine: MessageEngine, topic: string, partition: number, { positions }: Acknowledged): Append {
  const id = crypto.randomUUID();
  return async (turn) => {
    const producer = { id, epoch: 0, sequence: turn };
    const [position] = await engine.append({ topic, partition, messages: [messageOf("produced")], producer });
    positions.push({ partition, position: position! });
  };
}

function delaying(engine: MessageEngine, topic: string, acknowledged: Acknowledged): Append {
  return async () => {
    const messages = [{ ...messageOf("delayed"), dueAt: Date.now() + laterMs }];
    await engine.append({ topic, partition: 0, messages });
    acknowledged.delayed += 1;
  };
}

async function copying(
  engine: MessageEngine,
  source: string,
  topic: string,
  acknowledged: Acknowledged,
): Promise<Append> {
  await engine.declare(source, { partitions: 1, groups: ["group"] });
  const member = await engine.join(source, "group", { sessionMs: 60_000, revokeMs: 60_000, windowMax: 1_000 });
  const lane = await member.nextLane();
  return async (turn) => {
    await engine.append({ topic: source, partition: 0, messages: [messageOf("source")] });
    const settled = [BigInt(turn)];
    await lane.fetch(1);
    await lane.commit({ settled, appends: [{ topic, partition: turn % partitions, messages: [messageOf("copy")] }] });
    acknowledged.committed += 1;
  };
}

function messageOf(text: string) {
  return { body: Buffer.from(text) };
}
