import type { TenonError } from "../../../contracts/errors.ts";
import type { KeyValueEntry, WatchEvent } from "../../../contracts/key-value.ts";
import type { Cancel, World } from "../../../world/world.ts";
import type { Connection } from "../connection.ts";
import { asRead, isPassing } from "../failures.ts";
import { entryOf } from "./entries.ts";
import { keyOf, nameOf } from "./names.ts";
import type { Page } from "./redis-key-values.ts";
import { changes } from "./scripts.ts";
import { type KeyChange, Watch } from "./watch.ts";

export interface FeedSettings {
  readonly world: World;
  readonly connection: Connection;
  /** As the scripts list them. */
  readonly keys: readonly string[];
  readonly channel: string;
  readonly page: (prefix: string, after: string | undefined) => Promise<Page>;
}

/** How long after the last look there is another one although nobody has said anything: wake-ups can get lost. */
const idleMs = 1_000;
/** Changes that come one after the other are looked at together. */
const gatherMs = 5;
const pageBytes = 1024 * 1024;
const retryMs = { first: 100, longest: 2_000 };

/**
 * Asks, for all watches of an engine together, what has changed since the version that the hindmost of them has seen. Published messages only wake
 * it up; what is answered comes from the store, so that a lost message delays a change and never loses it.
 */
export class ChangeFeed {
  readonly #settings: FeedSettings;
  readonly #ended = new AbortController();
  readonly #watches = new Set<Watch>();
  #listening: Promise<unknown> | undefined;
  #timer: Cancel | undefined;
  #asking = false;
  /** Something was said while it was asking. */
  #again = false;
  /** The server as it names itself: another one may not have all that the former one had. */
  #server: string | undefined;
  #identifiedAt = Number.NEGATIVE_INFINITY;
  #failures = 0;

  constructor(settings: FeedSettings) {
    this.#settings = settings;
  }

  async *watch(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<WatchEvent> {
    const ended = this.#ended.signal;
    if (ended.aborted) throw ended.reason;
    const watch = new Watch(prefix, this.#settings.world, {
      page: (after) => this.#settings.page(prefix, after),
      following: () => this.#wake(),
    });
    this.#watches.add(watch);
    try {
      await this.#listen(signal);
      yield* watch.events(ended, signal);
    } finally {
      this.#watches.delete(watch);
      if (this.#watches.size === 0) this.#timer?.();
    }
  }

  /** The connection listens for as long as the engine lives once there was a watch. */
  async #listen(signal: AbortSignal | undefined): Promise<void> {
    this.#listening ??= this.#settings.connection.listen(this.#settings.channel, (payload) => {
      if (payload === undefined) this.#identifiedAt = Number.NEGATIVE_INFINITY;
      this.#wake();
    });
    const listening = this.#listening;
    const aborted = Promise.withResolvers<void>();
    const abort = () => aborted.resolve();
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    try {
      await Promise.race([listening, aborted.promise]);
    } catch (error) {
      if (this.#listening === listening) this.#listening = undefined;
      throw error;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #wake(): void {
    if (this.#asking) this.#again = true;
    else void this.#ask();
  }

  async #ask(): Promise<void> {
    const following = [...this.#watches].filter((watch) => watch.since !== undefined);
    if (following.length === 0 || this.#ended.signal.aborted) return;
    this.#timer?.();
    this.#asking = true;
    this.#again = false;
    let nextMs: number;
    try {
      nextMs = await this.#page(following);
      this.#failures = 0;
    } catch (error) {
      nextMs = this.#failed(error);
    }
    this.#asking = false;
    if (this.#ended.signal.aborted || this.#watches.size === 0) return;
    const delayMs = this.#again ? Math.min(nextMs, gatherMs) : nextMs;
    this.#timer = this.#settings.world.timers.schedule(delayMs, () => this.#wake());
  }

  /** Answers when to look again, in milliseconds. */
  async #page(following: readonly Watch[]): Promise<number> {
    const { connection, keys, channel, world } = this.#settings;
    const since = Math.min(...following.map((watch) => watch.since!));
    const askedAt = world.clock.monotonic();
    const identify = askedAt - this.#identifiedAt >= idleMs;
    const prefixes = new Set(following.map((watch) => watch.prefix));
    const args = [since, identify ? "1" : "0", pageBytes, channel, ...[...prefixes].map(nameOf)];
    const reply = (await connection.run(changes, keys, args).catch(asRead)) as ChangesReply;
    const [server, version, more, expiryMs, incomplete, ...found] = reply;
    if (server !== null) {
      this.#identifiedAt = askedAt;
      const name = server.toString();
      const other = this.#server !== undefined && this.#server !== name;
      this.#server = name;
      if (other) return this.#reread(this.#watches);
    }
    if (incomplete.toString() === "1") return this.#reread(following);
    const upTo = Number(version.toString());
    const changed = changesOf(found);
    for (const watch of following) watch.offer(changed, upTo);
    if (more.toString() === "1") return 0;
    return expiryMs < 0 ? idleMs : Math.min(idleMs, expiryMs + 1);
  }

  #reread(watches: Iterable<Watch>): number {
    for (const watch of watches) watch.reread();
    return idleMs;
  }

  #failed(error: unknown): number {
    this.#identifiedAt = Number.NEGATIVE_INFINITY;
    if (!isPassing(error)) {
      for (const watch of this.#watches) watch.fail(error);
      return idleMs;
    }
    return Math.min(retryMs.longest, retryMs.first * 2 ** this.#failures++);
  }

  close(reason: TenonError): void {
    this.#timer?.();
    this.#ended.abort(reason);
  }
}

type ChangesReply = [
  server: Buffer | null,
  version: Buffer,
  more: Buffer,
  expiryMs: number,
  incomplete: Buffer,
  ...found: (Buffer | null)[],
];

function changesOf(found: readonly (Buffer | null)[]): readonly KeyChange[] {
  const changed: KeyChange[] = [];
  for (let index = 0; index < found.length; index += 3) {
    const key = keyOf(found[index]!);
    const raw = found[index + 2];
    const entry: KeyValueEntry | undefined = raw ? entryOf(key, raw) : undefined;
    changed.push({ key, version: Number(found[index + 1]!.toString()), entry });
  }
  return changed;
}
