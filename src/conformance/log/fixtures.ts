import { equal } from "node:assert/strict";
import type { LogBatch, LogDeclaration, LogOutput, LogRecord, NewRecord } from "../../contracts/index.ts";
import type { LogSubject, LogsEngine } from "../conformance-case.ts";
import { bytesOf, textOf, within } from "../expectations.ts";

/** A log of one partition, unless said otherwise. */
export async function declared(
  engine: LogsEngine,
  options: Partial<LogDeclaration> & { readonly log?: string } = {},
): Promise<string> {
  const { log = "clicks", partitions = 1, ...retention } = options;
  await engine.log.declare(log, { partitions, ...retention });
  return log;
}

export function recordsOf(records: readonly (string | NewRecord)[]): readonly NewRecord[] {
  return records.map((record) => (typeof record === "string" ? { body: bytesOf(record) } : record));
}

export function append(engine: LogsEngine, log: string, records: readonly (string | NewRecord)[], partition = 0) {
  return engine.log.append({ log, partition, records: recordsOf(records) });
}

export function batch(log: string, records: readonly string[], more: Partial<LogBatch> = {}): LogBatch {
  return { log, partition: 0, records: recordsOf(records), ...more };
}

export function output(log: string, records: readonly string[], more: Partial<LogOutput> = {}): LogOutput {
  return { log, partition: 0, records: recordsOf(records), ...more };
}

/** `r0`, `r1`, … */
export function numbered(count: number, prefix = "r"): readonly string[] {
  return Array.from({ length: count }, (_, index) => `${prefix}${index}`);
}

/** Everything that is kept of a partition, page by page. */
export async function all(engine: LogsEngine, log: string, partition = 0, limit = 100): Promise<readonly LogRecord[]> {
  const records: LogRecord[] = [];
  let from = (await partitionOf(engine, log, partition)).first;
  for (;;) {
    const page = await engine.log.read({ log, partition, from, limit });
    if (page.records.length === 0) return records;
    records.push(...page.records);
    from = page.next;
  }
}

export async function texts(engine: LogsEngine, log: string, partition = 0): Promise<readonly string[]> {
  return (await all(engine, log, partition)).map(({ body }) => textOf(body));
}

export async function partitionOf(engine: LogsEngine, log: string, partition = 0) {
  const { partitions } = await engine.log.describe(log);
  return partitions[partition]!;
}

/** Exactly this many records from a position on, over as many pages as it takes. */
export async function records(
  engine: LogsEngine,
  log: string,
  from: bigint,
  count: number,
  partition = 0,
): Promise<readonly LogRecord[]> {
  const found: LogRecord[] = [];
  let next = from;
  while (found.length < count) {
    const request = { log, partition, from: next, limit: count - found.length, waitMs: Number.POSITIVE_INFINITY };
    const page = await within(engine.world, `record ${found.length} of ${count}`, engine.log.read(request));
    found.push(...page.records);
    next = page.next;
  }
  equal(found.length, count, "no more than were asked for");
  return found;
}

/** Where a reader stands in a log's first partition. */
export async function positionOf(engine: LogsEngine, log: string, reader = "reader"): Promise<bigint | undefined> {
  return (await engine.log.positions(reader, log)).get(0);
}

export function needsCrash(subject: LogSubject): true | string {
  return subject.crash === undefined ? "the host cannot crash this engine, or nothing of it would survive" : true;
}

export function needsTransactions(subject: LogSubject): true | string {
  return subject.engine.log.capabilities.transactions || "the engine declares no transactions";
}

export function needsNoTransactions(subject: LogSubject): true | string {
  return !subject.engine.log.capabilities.transactions || "the engine declares transactions";
}

export function needsSequences(subject: LogSubject): true | string {
  return subject.engine.log.capabilities.sequences || "the engine declares no sequences";
}

export function needsDeduplication(subject: LogSubject): true | string {
  return subject.engine.log.capabilities.deduplicate || "the engine declares no deduplication";
}

export function needsRetentionWithin(ms: number) {
  return (subject: LogSubject): true | string => {
    const { retentionLatenessMs } = subject.engine.log.capabilities;
    return retentionLatenessMs <= ms || `the engine may drop records ${retentionLatenessMs} ms late`;
  };
}

/** All of the needs, in order; the first that is not met is the reason. */
export function needsAll(...needs: readonly ((subject: LogSubject) => true | string)[]) {
  return (subject: LogSubject): true | string => {
    for (const need of needs) {
      const answer = need(subject);
      if (answer !== true) return answer;
    }
    return true;
  };
}
