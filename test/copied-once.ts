/** A pipe that copies one log into another on a real engine, whatever happens meanwhile. */
import assert from "node:assert/strict";
import { type LogEngine, TenonError } from "tenon/contracts";
import { checkDerivedOnce } from "tenon/simulation";
import { json, type Log, log, pipe } from "tenon/streams";
import type { World } from "tenon/world";

export interface Streams {
  readonly log: LogEngine;
  readonly world: World;
}

interface Made {
  readonly from: string;
}

async function entriesOf<T>(from: Log<T>) {
  const entries: { partition: number; position: bigint; value: T }[] = [];
  for (let partition = 0; partition < from.partitions; partition++)
    for await (const { position, value } of from.read({ partition })) entries.push({ partition, position, value });
  return entries;
}

/** Appends, and copies what was appended by a pipe, until all of it was copied; then every input counts once in the copies. `handled` hears how often the pipe's handler ran. */
export async function assertCopiedOnce(
  writing: Streams,
  reading: Streams,
  count: number,
  guarantee: "exactly-once" | "at-least-once",
  handled: (times: number) => void = () => undefined,
): Promise<void> {
  const logsOf = (of: Streams) => ({
    clicks: log(of, "clicks", { codec: json<number>(), partitions: 3, appendTimeoutMs: 60_000 }),
    copies: log(of, "copies", { codec: json<Made>(), partitions: 2 }),
  });
  const { clicks, copies } = logsOf(writing);
  let times = 0;
  const running = await pipe(
    clicks,
    "copy",
    ({ partition, position, key }) => {
      handled(++times);
      return copies.entry({ from: `${partition}/${position}` }, { key });
    },
    { outputs: [copies], guarantee, recordsMax: 7 },
  );
  await Promise.all(Array.from({ length: count }, (_, n) => clicks.append(n, { key: `key ${n % 10}` })));
  const quiet = logsOf(reading);
  const isDone = async () => {
    try {
      const positions = await reading.log.positions("copy", "clicks");
      const { partitions } = await reading.log.describe("clicks");
      return partitions.every(({ first, next }, partition) => (positions.get(partition) ?? first) === next);
    } catch (error) {
      if (error instanceof TenonError && error.code === "unavailable") return false;
      throw error;
    }
  };
  while (!(await isDone())) await reading.world.timers.sleep(20);
  await running.close();
  const inputs = await entriesOf(quiet.clicks);
  assert.deepEqual(
    inputs.map(({ value }) => value).sort((a, b) => a - b),
    Array.from({ length: count }, (_, n) => n),
  );
  const outputs = (await entriesOf(quiet.copies)).map(({ partition, position, value }) => {
    const [of = "", at = ""] = value.from.split("/");
    return { partition, position, from: { partition: Number(of), position: BigInt(at) } };
  });
  checkDerivedOnce(inputs, outputs);
}
