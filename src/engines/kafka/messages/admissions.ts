import { TenonError } from "../../../contracts/errors.ts";
import { refusedBatch } from "../../lanes/index.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import type { AppendParts } from "./appends.ts";
import { countOf, placesIn, settle, type Waiting } from "./waiting.ts";

/** How long to wait for somebody else who is appending. */
const busyMs = { first: 2, longest: 50 };

/**
 * Appends to a topic that counts: the journal decides what there is room for, and hears afterwards where the partition ends. `store` answers the first position. Answers which batches have to
 * wait for those before them.
 */
export async function admitted(
  parts: AppendParts,
  topic: JournaledTopic,
  taken: readonly Waiting[],
  store: (taken: readonly Waiting[]) => Promise<number>,
): Promise<readonly Waiting[]> {
  const { journal, cluster } = parts;
  const { partition } = taken[0]!.checked.batch;
  const admission = cluster.world.random.uuid();
  const decided = await decide(parts, topic, taken, admission);
  if (decided === undefined) {
    settle(taken, await store(taken));
    return [];
  }
  const { decisions, countMax, count } = decided;
  const chosen = (decision: string) => taken.filter((_, index) => decisions[index] === decision);
  for (const { checked, reject } of chosen("full")) {
    reject(refusedBatch(checked.batch, { refused: "full", countMax, count }));
  }
  const fitting = chosen("yes");
  if (fitting.length === 0) return chosen("later");
  const done = (end: number, empty?: readonly number[]) => {
    const command = { kind: "appended", topic: topic.number, partition, admission, end, empty } as const;
    // Unheard, it is counted as if it were coming, for a while.
    return journal.submit<"appended">(command, "an append").catch(() => undefined);
  };
  try {
    const first = await store(fitting);
    await done(first + fitting.reduce((sum, each) => sum + countOf(each), 0), placesIn(fitting, first));
    settle(fitting, first);
  } catch (error) {
    await done(0);
    for (const { reject } of fitting) reject(error);
  }
  return chosen("later");
}

/** `undefined`: the topic does not count any more. */
async function decide(
  { journal, cluster, topics }: AppendParts,
  topic: JournaledTopic,
  taken: readonly Waiting[],
  admission: string,
) {
  const { world, commandTimeoutMs } = cluster;
  const { partition } = taken[0]!.checked.batch;
  const deadline = world.clock.monotonic() + commandTimeoutMs;
  for (let pauseMs = busyMs.first; ; pauseMs = Math.min(busyMs.longest, pauseMs * 2)) {
    const end = await topics.end(topic, partition, "an append");
    const counts = taken.map(countOf);
    const command = { kind: "admit", topic: topic.number, partition, admission, counts, end } as const;
    const admittedOrNot = await journal.submit<"admit">(command, "an append");
    if (admittedOrNot !== "busy") return admittedOrNot;
    if (world.clock.monotonic() >= deadline) {
      const text = `topic ${topic.name} counts its messages, and somebody has been appending to partition ${partition} for ${commandTimeoutMs} ms; try again`;
      throw new TenonError("unavailable", text, { fields: { topic: topic.name, partition } });
    }
    await world.timers.sleep(pauseMs * (0.5 + world.random.float()));
  }
}
