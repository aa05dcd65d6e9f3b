import { partitionOf } from "../codec/key-hash.ts";
import { isCode, TenonError } from "../contracts/errors.ts";
import type { LogOutput, LogPage, LogRecord, LogWriter, NewRecord } from "../contracts/log.ts";
import type { Entry, Log, LogEntry } from "./log.ts";
import { recordBytes } from "./log.ts";
import { isPassing } from "./options.ts";
import { type LogStart, startsOf } from "./reading.ts";

export interface PipeContext {
  /** How many times the handler failed for this entry in this process. */
  readonly failures: number;
  /** Aborts when the pipe closes, or the partition is somebody else's: nothing that comes afterwards counts. */
  readonly signal: AbortSignal;
}

/** What a handler made of an entry. */
export type PipeAnswer = Entry | readonly Entry[] | undefined;

export type PipeHandler<T> = (entry: LogEntry<T>, context: PipeContext) => Promise<PipeAnswer> | PipeAnswer;

export interface PipeSettings<T> {
  readonly input: Log<T>;
  readonly name: string;
  readonly outputs: readonly Log<unknown>[];
  readonly handler: PipeHandler<T>;
  readonly from: LogStart;
  readonly whenDropped: "stop" | "skip";
  readonly recordsMax: number;
  readonly commitEveryMs: number;
  readonly retry: { readonly attemptsMax: number; readonly delayMs: number; readonly delayMsMax: number };
}

/** What was made of some records, on its way to be committed. */
class Gathered {
  readonly outputs = new Map<string, { log: string; partition: number; records: NewRecord[]; sequences: bigint[] }>();
  bytes = 0;

  add(log: string, partition: number, record: NewRecord, sequence: bigint): void {
    const place = `${partition}/${log}`;
    let output = this.outputs.get(place);
    if (output === undefined) {
      output = { log, partition, records: [], sequences: [] };
      this.outputs.set(place, output);
    }
    output.records.push(record);
    output.sequences.push(sequence);
    this.bytes += recordBytes(record);
  }
}

/** A handler that failed for good; the pipe stops. */
export class HandlerFailed extends TenonError {}

/**
 * One partition of a pipe's input, under one writer: reads, handles one record after the other, and commits what came of them with the position behind them.
 * Ends by throwing: whoever started it opens a new writer, and goes on from where the engine says that it stands.
 */
export class PipePartition<T> {
  readonly #settings: PipeSettings<T>;
  readonly #partition: number;
  readonly #signal: AbortSignal;
  readonly #writer: LogWriter;
  #position: bigint;

  static async open<T>(settings: PipeSettings<T>, partition: number, signal: AbortSignal): Promise<PipePartition<T>> {
    const { input, name, outputs, from } = settings;
    const { log } = input.engine;
    const logs = new Set([input.name, ...outputs.map((output) => output.name)]);
    const writer = await log.openWriter(`${input.name}/${name}/${partition}`, [...logs]);
    const stands = (await log.positions(name, input.name)).get(partition);
    const position = stands ?? (await startsOf(log, input.name, [partition], from)).get(partition)!;
    const opened = new PipePartition(settings, partition, signal, writer, position);
    // Where it begins is decided once: "now" must not be another instant after a crash.
    if (stands === undefined) await opened.#commitPosition(position);
    return opened;
  }

  private constructor(
    settings: PipeSettings<T>,
    partition: number,
    signal: AbortSignal,
    writer: LogWriter,
    position: bigint,
  ) {
    this.#settings = settings;
    this.#partition = partition;
    this.#signal = signal;
    this.#writer = writer;
    this.#position = position;
  }

  /** Until the signal aborts; then what was handled is committed. `progressed` is told of each commit. */
  async run(progressed: () => void): Promise<void> {
    const { input, recordsMax } = this.#settings;
    const { log } = input.engine;
    const request = {
      log: input.name,
      partition: this.#partition,
      limit: recordsMax,
      waitMs: Number.POSITIVE_INFINITY,
    };
    while (!this.#signal.aborted) {
      const page = await log
        .read({ ...request, from: this.#position }, { signal: this.#signal })
        .catch((error: unknown) => this.#whenDropped(error));
      await this.#work(page.records, page.next, progressed);
    }
  }

  /** Goes past what its log did not keep, if that was asked for. */
  async #whenDropped(error: unknown): Promise<LogPage> {
    const first = isCode(error, "not-found") ? error.fields.first : undefined;
    if (this.#settings.whenDropped === "stop" || typeof first !== "bigint") throw error;
    const { input, name } = this.#settings;
    const fields = { pipe: name, log: input.name, partition: this.#partition, from: this.#position, first };
    input.engine.world.log.log("warn", "a pipe went past records that were dropped before it came to them", fields);
    await this.#commitPosition(first);
    this.#position = first;
    return { records: [], next: first };
  }

  async #work(records: readonly LogRecord[], next: bigint, progressed: () => void): Promise<void> {
    const { input, commitEveryMs } = this.#settings;
    const { log, world } = input.engine;
    const bytesMax = Math.min(log.capabilities.commitBytesMax, log.capabilities.batchBytesMax) / 2;
    let gathered = new Gathered();
    let since = world.clock.monotonic();
    for (const [index, record] of records.entries()) {
      for (const entry of await this.#handle(record)) this.#add(gathered, entry, record.position);
      const isLast = index === records.length - 1;
      const isDue = world.clock.monotonic() - since >= commitEveryMs || gathered.bytes >= bytesMax;
      if (!isLast && !isDue && !this.#signal.aborted) continue;
      await this.#commit(gathered, isLast ? next : records[index + 1]!.position);
      progressed();
      if (this.#signal.aborted) return;
      gathered = new Gathered();
      since = world.clock.monotonic();
    }
  }

  async #handle(record: LogRecord): Promise<readonly Entry[]> {
    const { input, handler, retry } = this.#settings;
    const { world } = input.engine;
    const entry = input.decode(record, this.#partition);
    for (let failures = 0; ; failures++) {
      this.#signal.throwIfAborted();
      try {
        const answer = (await handler(entry, { failures, signal: this.#signal })) ?? [];
        return Array.isArray(answer) ? (answer as readonly Entry[]) : [answer as Entry];
      } catch (error) {
        this.#signal.throwIfAborted();
        if (failures === retry.attemptsMax) throw this.#failed(record, failures + 1, error);
        const ceilingMs = Math.min(retry.delayMsMax, retry.delayMs * 2 ** failures);
        await world.timers.sleep(ceilingMs * world.random.float(), { signal: this.#signal });
      }
    }
  }

  #failed({ position }: LogRecord, times: number, cause: unknown): HandlerFailed {
    const { input, name } = this.#settings;
    const partition = this.#partition;
    const message = `The handler of pipe "${name}" failed ${times} times for position ${position} of log "${input.name}"/${partition}, and the pipe stopped there. Mend the handler, or catch the error in it, and start the pipe again.`;
    return new HandlerFailed("invalid", message, { fields: { log: input.name, partition, position }, cause });
  }

  #add(gathered: Gathered, { log, record, partition }: Entry, position: bigint): void {
    const { name, outputs } = this.#settings;
    if (!outputs.some((output) => output.name === log?.name)) {
      throw new HandlerFailed(
        "invalid",
        `The handler of pipe "${name}" answered an entry for a log that is not among its outputs. Name it there.`,
      );
    }
    // What has no key stands where what it was made of stood: another run of the handler puts it there again.
    const chosen =
      partition ??
      (record.key === undefined ? this.#partition % log.partitions : partitionOf(record.key, log.partitions));
    gathered.add(log.name, chosen, record, position);
  }

  async #commit({ outputs }: Gathered, position: bigint): Promise<void> {
    const { log } = this.#settings.input.engine;
    const { transactions, sequences: numbered } = log.capabilities;
    const all = [...outputs.values()].map(
      ({ sequences, ...output }): LogOutput => (!transactions && numbered ? { ...output, sequences } : output),
    );
    if (transactions) {
      await log.commit(this.#writer, { outputs: all, positions: [this.#standing(position)] });
    } else {
      // One after the other, the position last: what is not known to be done is done again, and known by its sequence.
      for (const output of all) await log.commit(this.#writer, { outputs: [output] });
      await this.#commitPosition(position);
    }
    this.#position = position;
  }

  async #commitPosition(position: bigint): Promise<void> {
    const { log } = this.#settings.input.engine;
    await log.commit(this.#writer, { positions: [this.#standing(position)] });
  }

  #standing(position: bigint) {
    const { input, name } = this.#settings;
    return { reader: name, log: input.name, partition: this.#partition, position };
  }
}

/** Whether a new writer may go on where this one failed: the engine was away, or it is not known what became of a commit. */
export function mayGoOn(error: unknown): boolean {
  if (error instanceof HandlerFailed || !(error instanceof TenonError)) return false;
  return isPassing(error) || (error.outcome === "unknown" && error.code !== "closed");
}
