import type { TenonError } from "../../../contracts/errors.ts";
import type { WatchEvent } from "../../../contracts/key-value.ts";
import type { Cancel, World } from "../../../world/world.ts";
import { isPassing } from "../passing.ts";
import { type KeyChange, type Page, Watch } from "./watch.ts";

export interface FeedSettings {
  readonly world: World;
  /** Calls back when something may have changed; `missed`: notices may have been missed. */
  readonly listen: (wake: (missed: boolean) => void) => Promise<unknown>;
  readonly changes: (request: ChangesRequest) => Promise<Changes>;
  readonly page: (prefix: string, after: string | undefined) => Promise<Page>;
}

export interface ChangesRequest {
  /** Versions up to this one are known. */
  readonly since: number;
  readonly prefixes: readonly string[];
  /** Whether the server should name itself. */
  readonly identify: boolean;
}

/** As of one instant. */
export interface Changes {
  /** The server as it names itself, where it was asked to; another name means that it may not have all that the former one had. */
  readonly server: string | undefined;
  /** The changes are complete up to this version. */
  readonly version: number;
  /** There are more already. */
  readonly more: boolean;
  /** In how many ms the next key ends; negative when none does. */
  readonly expiryMs: number;
  /** Changes after `since` are not known any more: the state has to be read anew. */
  readonly incomplete: boolean;
  /** In the order of their versions. */
  readonly changed: readonly KeyChange[];
}

/** How long after the last look there is another one although nobody has said anything: wake-ups can get lost. */
const idleMs = 1_000;
/** Changes that come one after the other are looked at together. */
const gatherMs = 5;
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
      if (this.#server === undefined) await this.#identify(prefix);
      yield* watch.events(ended, signal);
    } finally {
      this.#watches.delete(watch);
      if (this.#watches.size === 0) this.#timer?.();
    }
  }

  /** The connection listens for as long as the engine lives once there was a watch. */
  async #listen(signal: AbortSignal | undefined): Promise<void> {
    this.#listening ??= this.#settings.listen((missed) => {
      if (missed) this.#identifiedAt = Number.NEGATIVE_INFINITY;
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

  /** Before the first state is read: what another server has lost would not be missed otherwise. Where it fails, the first look does it. */
  async #identify(prefix: string): Promise<void> {
    const { world, changes } = this.#settings;
    const askedAt = world.clock.monotonic();
    try {
      const { server } = await changes({ since: Number.MAX_SAFE_INTEGER, prefixes: [prefix], identify: true });
      if (server === undefined || this.#server !== undefined) return;
      this.#server = server;
      this.#identifiedAt = askedAt;
    } catch (error) {
      if (!isPassing(error)) throw error;
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
    const { world, changes } = this.#settings;
    const since = Math.min(...following.map((watch) => watch.since!));
    const askedAt = world.clock.monotonic();
    const identify = askedAt - this.#identifiedAt >= idleMs;
    const prefixes = [...new Set(following.map((watch) => watch.prefix))];
    const { server, version, more, expiryMs, incomplete, changed } = await changes({ since, prefixes, identify });
    if (server !== undefined) {
      this.#identifiedAt = askedAt;
      const other = this.#server !== undefined && this.#server !== server;
      this.#server = server;
      if (other) return this.#reread(this.#watches);
    }
    if (incomplete) return this.#reread(following);
    for (const watch of following) watch.offer(changed, version);
    if (more) return 0;
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
