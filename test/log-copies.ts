/** Copying a log by a pipe on an engine without transactions. */
import assert from "node:assert/strict";
import { checkDerivedOnce } from "tenon/simulation";
import { json, type Log, log, pipe, type StreamsEngine } from "tenon/streams";

type CopyingEngine = Pick<StreamsEngine, "log" | "world">;

interface Made {
  readonly from: string;
}

async function entriesOf<T>(from: Log<T>) {
  const entries: { partition: number; position: bigint; value: T }[] = [];
  for (let partition = 0; partition < from.partitions; partition++)
    for await (const { position, value } of from.read({ partition })) entries.push({ partition, position, value });
  return entries;
}

/** Appends, and copies what was appended by a pipe, until all of it was copied; then every input counts once in the copies. */
export async function assertCopiedOnce(writing: CopyingEngine, reading: CopyingEngine, count: number): Promise<void> {
  const logsOf = (of: CopyingEngine) => ({
    clicks: log(of, "clicks", { codec: json<number>(), partitions: 3, appendTimeoutMs: 60_000 }),
    copies: log(of, "copies", { codec: json<Made>(), partitions: 2 }),
  });
  const { clicks, copies } = logsOf(writing);
  const running = await pipe(
    clicks,
    "copy",
    ({ partition, position, key }) => copies.entry({ from: `${partition}/${position}` }, { key }),
    { outputs: [copies], guarantee: "at-least-once", recordsMax: 7 },
  );
  await Promise.all(Array.from({ length: count }, (_, n) => clicks.append(n, { key: `key ${n % 10}` })));
  const quiet = logsOf(reading);
  const isDone = async () => {
    const positions = await reading.log.positions("copy", "clicks");
    const { partitions } = await reading.log.describe("clicks");
    return partitions.every(({ first, next }, partition) => (positions.get(partition) ?? first) === next);
  };
  while (!(await isDone())) {
    const [stopped] = await Promise.allSettled([Promise.race([running.ended, reading.world.timers.sleep(20)])]);
    if (stopped.status === "rejected") throw stopped.reason;
  }
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
