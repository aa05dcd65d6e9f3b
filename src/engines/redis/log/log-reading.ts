import type { TenonError } from "../../../contracts/errors.ts";
import type { LogPage, LogRead, LogRecord } from "../../../contracts/log.ts";
import { checkLogPartition, checkReadPosition, logNotFound } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { Run } from "../../lanes/message-format.ts";
import { toPosition } from "../../lanes/positions.ts";
import type { Connection } from "../connection.ts";
import { asRead } from "../failures.ts";
import { numberOf, type Reply, refusalOf, textOf } from "../messages/replies.ts";
import { read } from "./scripts/scripts.ts";

/** A page ends with the run that makes it larger. */
const pageBytes = 1024 * 1024;
/** A notice that was missed makes a record come so much late, and is never a loss. */
const lookMs = 1_000;

/** Who waits for records of one log. */
interface Listening {
  readonly waiting: Set<{ readonly partition: number; readonly wake: () => void }>;
}

/** Reading of logs: what is there, and waiting for what comes. A log that grows says so on its channel. */
export class LogReading {
  readonly #connection: Connection;
  readonly #world: World;
  readonly #keyOf: (log: string) => string;
  /** A channel that was listened to once goes on being listened to: who reads a log's end will do so again. */
  readonly #listening = new Map<string, Listening>();
  #closed: TenonError | undefined;

  constructor(connection: Connection, world: World, keyOf: (log: string) => string) {
    this.#connection = connection;
    this.#world = world;
    this.#keyOf = keyOf;
  }

  async read(request: LogRead, signal: AbortSignal | undefined): Promise<LogPage> {
    const { waitMs = 0, from } = request;
    const { clock } = this.#world;
    const deadline = clock.monotonic() + waitMs;
    let incarnation = "";
    for (;;) {
      const news = waitMs > 0 ? this.#expect(request) : undefined;
      try {
        const page = await this.#page(request, incarnation);
        incarnation = page.incarnation;
        signal?.throwIfAborted();
        const leftMs = deadline - clock.monotonic();
        if (page.records.length > 0) return { records: page.records, next: page.records.at(-1)!.position + 1n };
        if (news === undefined || !(leftMs > 0)) return { records: [], next: from };
        await this.#wait(news.came, Math.min(leftMs, lookMs), signal);
      } finally {
        news?.end();
      }
      signal?.throwIfAborted();
      if (this.#closed !== undefined) throw this.#closed;
    }
  }

  async #page({ log, partition, from, limit }: LogRead, incarnation: string) {
    const args = [incarnation, partition, String(from), limit, pageBytes];
    const reply = (await this.#connection.run(read, [this.#keyOf(log)], args).catch(asRead)) as Reply;
    if (refusalOf(reply) === "gone") throw logNotFound(log);
    if (refusalOf(reply) === "partition") checkLogPartition(log, partition, numberOf(reply[1]));
    const [found, first, next, ...runs] = reply;
    checkReadPosition({ log, partition, from }, toPosition(numberOf(first)), toPosition(numberOf(next)));
    return { incarnation: String(numberOf(found)), records: recordsOf(runs, Number(from), limit) };
  }

  /** Hears what is said from now on: also what comes while the log is being asked. */
  #expect({ log, partition }: LogRead): { readonly came: Promise<void>; end(): void } {
    const { waiting } = this.#listen(log);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { partition, wake: resolve };
    waiting.add(waiter);
    return { came: promise, end: () => waiting.delete(waiter) };
  }

  #listen(log: string): Listening {
    let listening = this.#listening.get(log);
    if (listening !== undefined) return listening;
    listening = { waiting: new Set() };
    this.#listening.set(log, listening);
    const { waiting } = listening;
    const told = (payload: Buffer | undefined) => {
      const said = payload === undefined ? "-" : textOf(payload);
      for (const { partition, wake } of waiting) if (said === "-" || said === String(partition)) wake();
    };
    // Without the channel there is still the look that is due now and then.
    this.#connection.listen(`${this.#keyOf(log)}:w`, told).catch(() => this.#listening.delete(log));
    return listening;
  }

  async #wait(came: Promise<void>, ms: number, signal: AbortSignal | undefined): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    const cancel = this.#world.timers.schedule(ms, wake, { keepsAlive: true });
    signal?.addEventListener("abort", wake, { once: true });
    if (signal?.aborted || this.#closed !== undefined) resolve();
    await Promise.race([came, promise]);
    cancel();
    signal?.removeEventListener("abort", wake);
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
    for (const { waiting } of this.#listening.values()) for (const { wake } of waiting) wake();
  }
}

/** `end · count · instant · packed records` of each run. */
function recordsOf(runs: Reply, from: number, limit: number): LogRecord[] {
  const records: LogRecord[] = [];
  for (let at = 0; at < runs.length; at += 4) {
    const [end, count, appendedAt, packed] = runs.slice(at, at + 4);
    const run = new Run(numberOf(end), numberOf(count), numberOf(appendedAt), packed as Buffer);
    while (run.position < run.end && records.length < limit) {
      if (run.position < from) run.skip();
      else {
        const { position, key, body, headers, publishedAt } = run.read();
        records.push({ position, key, body, headers, appendedAt: publishedAt });
      }
    }
  }
  return records;
}
