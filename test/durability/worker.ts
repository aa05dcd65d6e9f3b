/** The process that is killed: publishes, settles and commits without pause, and reports every call before and after it. */
import { writeSync } from "node:fs";
import { TenonError } from "../../src/contracts/errors.ts";
import type { Lane, NewMessage, Stored } from "../../src/contracts/messages.ts";
import type { JournaledEngine } from "../../src/engines/embedded/embedded-engine.ts";
import { embedded } from "../../src/engines/embedded/index.ts";
import { messageOf, nameOf } from "./content.ts";
import { keyValueChange, type NamedBatch, type NamedChange, type Operation } from "./history.ts";
import { below, type PublishMark, partitionsOfTopic, type Report, topicsOfRound, type WorkOrder } from "./reports.ts";

const order: WorkOrder = JSON.parse(process.argv[2]!);
const random = below(order.seed);
const backlogMax = 600;
let calls = 0;
let names = 0;
let published = 0;
let settled = 0;

function report(line: Report): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

async function reported<T>(operation: Operation, start: () => Promise<T>, mark?: PublishMark): Promise<T> {
  calls += 1;
  const call = calls;
  report({ type: "calls", call, operation, ...(mark === undefined ? {} : { mark }) });
  try {
    const answer = await start();
    report({ type: "answered", call, ...detailsOf(operation, answer) });
    return answer;
  } catch (error) {
    if (!(error instanceof TenonError)) throw error;
    report({ type: "refused", call, outcome: error.outcome, message: error.message });
    throw error;
  }
}

function detailsOf(operation: Operation, answer: unknown): { committed?: boolean; positions?: string[] } {
  if (operation.type === "commit") return { committed: (answer as { committed: boolean }).committed };
  if (operation.type !== "append") return {};
  return { positions: (answer as readonly bigint[]).map(String) };
}

function newNames(count: number): string[] {
  const bytes = [0, 60, 200, 700][random(4)]!;
  return Array.from({ length: count }, () => `${order.round}.${names++}/${bytes}`);
}

async function work(engine: JournaledEngine): Promise<void> {
  const { messages, keyValue } = engine;
  const groups = ["billing"];
  for (const topic of topicsOfRound) {
    const operation = { type: "declare", topic, partitions: partitionsOfTopic, groups } as const;
    await reported(operation, () => messages.declare(topic, operation));
  }

  const append = (batch: NamedBatch, mark: PublishMark = {}, type: "append" | "delay" = "append") => {
    const dueAt = type === "delay" ? engine.world.clock.now() + 1 + random(150) : undefined;
    const content = batch.names.map((name, index): NewMessage => {
      const id = mark.ids?.[index];
      return messageOf(name, { ...(id === undefined ? {} : { id }), ...(dueAt === undefined ? {} : { dueAt }) });
    });
    published += batch.names.length;
    const { topic, partition } = batch;
    const start = () => messages.append({ topic, partition, messages: content, producer: mark.producer });
    return reported({ type, append: batch }, start, mark);
  };

  /** Lets others go on when too much waits to be consumed. */
  const paced = async () => {
    do await engine.world.timers.sleep(0);
    while (published - settled > backlogMax);
  };

  async function publishOrders(partition: number): Promise<never> {
    for (let sequence = 0; ; ) {
      const underWay: Promise<unknown>[] = [];
      for (let batches = random(3); batches >= 0; batches--) {
        const batch = { topic: "orders", partition, names: newNames(1 + random(6)) };
        underWay.push(append(batch, { producer: { id: `producer ${partition}`, epoch: order.round, sequence } }));
        sequence += batch.names.length;
      }
      await Promise.all(underWay);
      await paced();
    }
  }

  async function publishEvents(): Promise<never> {
    for (;;) {
      const batch = { topic: "events", partition: random(partitionsOfTopic), names: newNames(1 + random(2)) };
      await append(batch, order.ids ? { ids: batch.names.map((name) => `id of ${name}`) } : {});
      await paced();
    }
  }

  async function publishLater(): Promise<never> {
    for (;;) {
      await append(
        { topic: "later", partition: random(partitionsOfTopic), names: newNames(1 + random(4)) },
        {},
        "delay",
      );
      await paced();
    }
  }

  async function commitKeyValues(worker: number): Promise<never> {
    for (let turn = 0; ; turn++) {
      const value = `${order.round} ${worker} ${turn}`;
      const commits: readonly (readonly NamedChange[])[] = [
        [{ type: "add", key: "sum", by: 1 + random(5) }],
        [
          { type: "put", key: `left ${worker}`, value },
          { type: "put", key: `right ${worker}`, value },
        ],
        [{ type: "put", key: `large ${random(4)}`, value: value.padEnd(1500, "x") }],
        [{ type: "delete", key: `large ${random(4)}` }],
        [
          { type: "put", key: `request ${random(500)}`, value, ifAbsent: true },
          { type: "add", key: "stock", by: -1, min: -3_000 },
          { type: "add", key: "reserved", by: 1 },
        ],
      ];
      const changes = commits[random(commits.length)]!;
      await reported({ type: "commit", changes }, () => keyValue.commit(changes.map(keyValueChange)));
      if (random(10) === 0) await engine.world.timers.sleep(0);
    }
  }

  async function consume(topic: string): Promise<never> {
    const member = await messages.join(topic, "billing", { sessionMs: 10_000, revokeMs: 10_000, windowMax: 10_000 });
    for (;;) {
      const lane = await member.nextLane();
      const { partition, fence } = lane;
      report({ type: "granted", topic, group: "billing", partition, fence: String(fence) });
      void settleAll(lane).catch(stop);
    }
  }

  async function settleAll(lane: Lane): Promise<void> {
    for (let turns = random(30); turns >= 0; turns--) {
      const stored = await lane.fetch(1 + random(40));
      const cut = random(stored.length + 1);
      // Out of order, in two changes that are under way together.
      await Promise.all([settle(lane, stored.slice(cut)), settle(lane, stored.slice(0, cut))]);
    }
    await lane.release();
  }

  async function settle(lane: Lane, stored: readonly Stored[]): Promise<void> {
    const holds = random(8) === 0 ? stored.slice(-1) : [];
    const done = stored.slice(0, stored.length - holds.length);
    if (stored.length === 0) return;
    const { topic, group, partition } = lane;
    const withAppends = topic === "orders" && random(2) === 0;
    const appends = withAppends
      ? [0, 1].map((each) => ({ topic: "invoices", partition: each, names: newNames(1 + random(2)) }))
      : [];
    const held = holds.map((message) => ({ name: nameOf(message), failures: 1 + random(5), deliveries: 0, dueAt: 0 }));
    settled += done.length;
    for (const batch of appends) published += batch.names.length;
    await reported({ type: "settle", topic, group, partition, settled: done.map(nameOf), held, appends }, () =>
      lane.commit({
        settled: done.map((message) => message.position),
        held: held.map((hold, index) => ({ ...hold, position: holds[index]!.position })),
        appends: appends.map((batch) => ({ ...batch, messages: batch.names.map((name) => messageOf(name)) })),
      }),
    );
  }

  async function clean(): Promise<never> {
    for (;;) {
      await engine.world.timers.sleep(20);
      await engine.cleaner.clean();
    }
  }

  const flows = [publishOrders(0), publishOrders(1), publishEvents(), publishLater(), clean()];
  for (const topic of topicsOfRound) flows.push(consume(topic));
  for (let worker = 0; worker < 3; worker++) flows.push(commitKeyValues(worker));
  await Promise.all(flows);
}

function stop(error: unknown): never {
  writeSync(2, `${error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
}

const { directory, segmentBytes } = order;
const engine = await embedded({ directory, segmentBytes, retentionMs: 0, reserveBytes: 100_000 });
report({ type: "opened" });
await work(engine as JournaledEngine).catch(stop);
