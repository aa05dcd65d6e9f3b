import type { TenonError } from "../../../contracts/errors.ts";
import type { LogPage, LogPartitionDescription, LogRead, LogRecord } from "../../../contracts/log.ts";
import { checkReadPosition, logNotFound } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { Run } from "../../lanes/message-format.ts";
import { fromPosition, toPosition } from "../../lanes/positions.ts";
import { addRecords } from "../../lanes/run-records.ts";
import { LogTails } from "../../shared/log-tails.ts";
import { atOnce } from "../at-once.ts";
import { asRead } from "../failures.ts";
import type { NatsLink } from "../link.ts";
import type { Streams } from "../streams.ts";
import { decodeLogRun, endOf, type LogPlace } from "./log-head.ts";
import { growthSubject } from "./log-partition.ts";
import type { LogRuns, PlacedRun } from "./log-runs.ts";
import type { LogTrimmer } from "./log-trimmer.ts";
import { type Log, partitionsOf } from "./logs.ts";

/** A page ends with the run that makes it larger. */
const pageBytes = 1024 * 1024;
/** Of so many places where pages ended it is remembered where the next one begins. */
const endsMax = 10_000;

export interface LogReadingParts {
  readonly world: World;
  readonly link: NatsLink;
  readonly streams: Streams;
  readonly runs: LogRuns;
  readonly trimmer: LogTrimmer;
}

/** Reading of logs. What is gone answers `undefined`: another log may have its name. */
export class LogReading {
  readonly #parts: LogReadingParts;
  readonly #tails: LogTails;
  /** By log, partition and position: before which sequence there is nothing at that position or beyond. */
  readonly #ends = new Map<string, number>();

  constructor(parts: LogReadingParts) {
    const { world, link } = parts;
    this.#parts = parts;
    this.#tails = new LogTails(world, (channel, hear) => link.listen(channel, (payload) => hear(partitionIn(payload))));
  }

  async read(log: Log, request: LogRead, signal: AbortSignal | undefined): Promise<LogPage | undefined> {
    const records = await this.#page(log, request);
    signal?.throwIfAborted();
    if (records === undefined) return undefined;
    if (records.length > 0) return { records, next: records.at(-1)!.position + 1n };
    if (!(request.waitMs! > 0)) return { records, next: request.from };
    return this.#tails.read(request, signal, growthSubject(this.#parts.streams, log.id), async () => {
      const found = await this.#page(log, request);
      if (found === undefined) throw logNotFound(log.name);
      return found;
    });
  }

  async #page(log: Log, request: LogRead): Promise<readonly LogRecord[] | undefined> {
    const { partition, from } = request;
    await this.#parts.trimmer.tidy(log, partition).catch(asRead);
    const hint = this.#ends.get(placeOf(log, partition, from));
    const hinted = hint === undefined ? [] : await this.#records(log, request, { sequence: hint, ask: "any" });
    if (hinted.length > 0) return hinted;
    for (;;) {
      const sequence = await this.#find(log, request);
      if (sequence === undefined) return undefined;
      if (sequence === "end") return [];
      const records = await this.#records(log, request, { sequence, ask: "leader" });
      // None: the run was dropped meanwhile.
      if (records.length > 0) return records;
    }
  }

  /** The sequence of the run that holds the position. */
  async #find(log: Log, { partition, from }: LogRead): Promise<number | "end" | undefined> {
    const { runs } = this.#parts;
    const end = await log.partition(partition).look();
    if (end === undefined) return undefined;
    if (from === toPosition(endOf(end.head))) {
      this.#note(placeOf(log, partition, from), end.sequence + 1);
      return "end";
    }
    const kept = await runs.kept(log, partition);
    if (kept === undefined) return undefined;
    const { first, last } = kept;
    const next = toPosition(endOf(last.head));
    const check = (start: number) => checkReadPosition({ log: log.name, partition, from }, toPosition(start), next);
    check(first.first);
    const position = fromPosition(from);
    if (position < endOf(first)) return first.sequence;
    if (position >= last.head.first) return last.sequence;
    const found = await runs.search(log, partition, last.sequence, (run) => endOf(run) > position);
    if (found === undefined) return undefined;
    check(found.first);
    return found.sequence;
  }

  /** Records from the request's position on, of runs from a sequence on; none when something is missing before them. */
  async #records(
    log: Log,
    { partition, from, limit }: LogRead,
    { sequence, ask }: { readonly sequence: number; readonly ask: "any" | "leader" },
  ): Promise<readonly LogRecord[]> {
    const wanted = fromPosition(from);
    const records: LogRecord[] = [];
    let [at, position] = [sequence, wanted];
    for (let bytes = 0; records.length < limit && bytes < pageBytes; ) {
      const stored = await this.#parts.runs.read(log, partition, { sequence: at, position, ask });
      if (stored === undefined) break;
      const { head, packed } = decodeLogRun(stored.data);
      if (head.first > position) break;
      addRecords(records, new Run(endOf(head), head.count, head.at, packed), wanted, limit);
      at = stored.sequence + 1;
      position = endOf(head);
      bytes += packed.length;
    }
    if (records.length === 0) return records;
    const next = records.at(-1)!.position + 1n;
    // The last run may hold more than was wanted.
    this.#note(placeOf(log, partition, next), toPosition(position) > next ? at - 1 : at);
    return records;
  }

  #note(place: string, sequence: number): void {
    this.#ends.delete(place);
    this.#ends.set(place, sequence);
    if (this.#ends.size <= endsMax) return;
    const [oldest] = this.#ends.keys();
    this.#ends.delete(oldest!);
  }

  /** What a publisher was storing at the instant counts as appended after it. */
  async locate(log: Log, partition: number, at: number): Promise<bigint | undefined> {
    const { runs, trimmer } = this.#parts;
    await trimmer.tidy(log, partition).catch(asRead);
    const last = await log.partition(partition).look();
    if (last === undefined) return undefined;
    const isLater = (run: PlacedRun) => Math.max(run.at, run.storedAt) >= Math.floor(at);
    const found = await runs.search(log, partition, last.sequence, isLater);
    return toPosition(found?.first ?? endOf(last.head));
  }

  /** Its partitions as they were when the stream had come to one sequence: what follows that is left out. */
  async describe(log: Log): Promise<readonly LogPartitionDescription[] | undefined> {
    const until = await this.#parts.runs.lastSequence();
    const partitions = await atOnce(partitionsOf(log), (partition) => this.#describe(log, partition, until));
    const there = partitions.filter((each) => each !== undefined);
    return there.length < partitions.length ? undefined : there;
  }

  async #describe(log: Log, partition: number, until: number): Promise<LogPartitionDescription | undefined> {
    const { runs } = this.#parts;
    const kept = await runs.kept(log, partition);
    if (kept === undefined) return undefined;
    const { first, last } = kept;
    let end = endOf(last.head);
    let newest: LogPlace | undefined = last.head;
    if (last.sequence > until) {
      const following = await runs.from(log, partition, until + 1);
      if (following === undefined) return undefined;
      end = following.first;
      newest = await runs.search(log, partition, until, (run) => endOf(run) >= end);
    }
    // What was dropped since then counts as dropped before.
    const start = Math.min(first.first, end);
    return { first: toPosition(start), next: toPosition(end), lastAt: start < end ? newest?.at : undefined };
  }

  close(reason: TenonError): void {
    this.#tails.close(reason);
  }
}

function placeOf({ id }: Log, partition: number, position: bigint): string {
  return `${id}/${partition}/${position}`;
}

function partitionIn(payload: string | undefined): number | undefined {
  return payload?.startsWith("p") ? Number(payload.slice(1)) : undefined;
}
