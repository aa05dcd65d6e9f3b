import type { TenonError } from "../../contracts/errors.ts";
import type { LogPage, LogRead, LogRecord } from "../../contracts/log.ts";
import type { World } from "../../world/world.ts";

/** A notice that was missed makes a record come so much late, and is never a loss. */
const lookMs = 1_000;

/** The partition that has grown; `undefined`: any, or the log is gone, or notices may have been missed. */
export type HearGrowth = (partition: number | undefined) => void;

/** Who waits for records of one log. */
interface Listening {
  readonly waiting: Set<{ readonly partition: number; readonly wake: () => void }>;
}

/** Reads at the end of logs, which wait for what comes. A log that grows says so on a channel. */
export class LogTails {
  readonly #world: World;
  readonly #listen: (channel: string, hear: HearGrowth) => Promise<unknown>;
  /** A channel that was listened to once goes on being listened to: who reads a log's end will do so again. */
  readonly #listening = new Map<string, Listening>();
  #closed: TenonError | undefined;

  constructor(world: World, listen: (channel: string, hear: HearGrowth) => Promise<unknown>) {
    this.#world = world;
    this.#listen = listen;
  }

  /** Asks for a page until it holds something, or the request's wait is over. */
  async read(
    { partition, from, waitMs = 0 }: LogRead,
    signal: AbortSignal | undefined,
    channel: string,
    page: () => Promise<readonly LogRecord[]>,
  ): Promise<LogPage> {
    const { clock } = this.#world;
    const deadline = clock.monotonic() + waitMs;
    for (;;) {
      const news = waitMs > 0 ? this.#expect(channel, partition) : undefined;
      try {
        const records = await page();
        signal?.throwIfAborted();
        const leftMs = deadline - clock.monotonic();
        if (records.length > 0) return { records, next: records.at(-1)!.position + 1n };
        if (news === undefined || !(leftMs > 0)) return { records: [], next: from };
        await this.#wait(news.came, Math.min(leftMs, lookMs), signal);
      } finally {
        news?.end();
      }
      signal?.throwIfAborted();
      if (this.#closed !== undefined) throw this.#closed;
    }
  }

  /** Hears what is said from now on: also what comes while the log is being asked. */
  #expect(channel: string, partition: number): { readonly came: Promise<void>; end(): void } {
    const { waiting } = this.#hear(channel);
    const { promise, resolve } = Promise.withResolvers<void>();
    const waiter = { partition, wake: resolve };
    waiting.add(waiter);
    return { came: promise, end: () => waiting.delete(waiter) };
  }

  #hear(channel: string): Listening {
    let listening = this.#listening.get(channel);
    if (listening !== undefined) return listening;
    listening = { waiting: new Set() };
    this.#listening.set(channel, listening);
    const { waiting } = listening;
    const told: HearGrowth = (grown) => {
      for (const { partition, wake } of waiting) if (grown === undefined || grown === partition) wake();
    };
    // Without the channel there is still the look that is due now and then.
    this.#listen(channel, told).catch(() => this.#listening.delete(channel));
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
