import { TenonError } from "../contracts/errors.ts";
import type { LogEngine, LogRecord } from "../contracts/log.ts";
import type { World } from "../world/world.ts";
import { engineBackoffMs, isPassing } from "./options.ts";

/** Where reading begins. */
export type LogStart = "earliest" | "now" | bigint | { readonly at: number };

const pageCount = 500;

/** The positions to begin with, by partition. */
export async function startsOf(
  engine: LogEngine,
  log: string,
  partitions: readonly number[],
  from: LogStart | ReadonlyMap<number, bigint>,
): Promise<ReadonlyMap<number, bigint>> {
  const bounds = (await engine.describe(log)).partitions;
  const starts = await Promise.all(
    partitions.map(async (partition): Promise<[number, bigint]> => {
      const bound = bounds[partition];
      if (bound === undefined) {
        throw new TenonError("invalid", `Log "${log}" has partitions 0 to ${bounds.length - 1}, not ${partition}.`);
      }
      if (from === "earliest") return [partition, bound.first];
      if (from === "now") return [partition, bound.next];
      if (typeof from === "bigint") return [partition, from];
      if (from instanceof Map) return [partition, from.get(partition) ?? bound.next];
      return [partition, await engine.locate(log, partition, (from as { readonly at: number }).at)];
    }),
  );
  return new Map(starts);
}

/** The records from a position up to an end. */
export async function* readPartition(
  engine: LogEngine,
  {
    log,
    partition,
    from,
    end,
    signal,
  }: { log: string; partition: number; from: bigint; end: bigint; signal: AbortSignal | undefined },
): AsyncGenerator<LogRecord> {
  let next = from;
  while (next < end) {
    const page = await engine.read({ log, partition, from: next, limit: pageCount }, { signal });
    for (const record of page.records) {
      if (record.position >= end) return;
      yield record;
    }
    if (page.records.length === 0) return;
    next = page.next;
  }
}

interface Tailed {
  readonly partition: number;
  readonly record: LogRecord;
}

/** The records of several partitions as they come; of each at most one page is read ahead. */
export async function* tailPartitions(
  { log: engine, world }: { readonly log: LogEngine; readonly world: World },
  log: string,
  starts: ReadonlyMap<number, bigint>,
  signal: AbortSignal | undefined,
): AsyncGenerator<Tailed> {
  const isOver = new AbortController();
  const end = () => isOver.abort(signal?.reason);
  signal?.addEventListener("abort", end, { once: true });
  if (signal?.aborted) end();
  const next = new Map(starts);
  const ask = async (partition: number) => {
    const page = await pageOf(engine, world, log, partition, next.get(partition)!, isOver.signal);
    next.set(partition, page.next);
    return { partition, records: page.records };
  };
  const asked = new Map([...starts.keys()].map((partition) => [partition, ask(partition)]));
  for (const promise of asked.values()) promise.catch(() => undefined);
  try {
    while (asked.size > 0) {
      const { partition, records } = await Promise.race(asked.values());
      const again = ask(partition);
      again.catch(() => undefined);
      // Behind the others, so that each partition gets its turn.
      asked.delete(partition);
      asked.set(partition, again);
      for (const record of records) {
        if (signal?.aborted) return;
        yield { partition, record };
      }
    }
  } catch (error) {
    if (!signal?.aborted) throw error;
  } finally {
    isOver.abort(new TenonError("closed", `Reading log "${log}" was ended.`));
    signal?.removeEventListener("abort", end);
  }
}

/** The next page; outages are waited out, for reading changes nothing. */
async function pageOf(
  engine: LogEngine,
  world: World,
  log: string,
  partition: number,
  from: bigint,
  signal: AbortSignal,
) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await engine.read(
        { log, partition, from, limit: pageCount, waitMs: Number.POSITIVE_INFINITY },
        { signal },
      );
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw error;
      await world.timers.sleep(engineBackoffMs(attempt, world.random.float()), { signal });
    }
  }
}
