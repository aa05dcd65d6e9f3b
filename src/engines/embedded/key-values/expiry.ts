import type { Cancel, World } from "../../../world/world.ts";

const bucketMs = 1_000;
/** So many keys are looked at before others get a turn: a million may end at the same instant. */
const keysAtOnce = 10_000;

/** Which keys to look at when, by whole seconds; a timer runs only while there are any, from `start` on. */
export class Expiry {
  readonly #world: World;
  readonly #look: (keys: readonly string[]) => void;
  readonly #buckets = new Map<number, Set<string>>();
  /** Whose time has passed, and who were not looked at yet. */
  readonly #due: Set<string>[] = [];
  #cancel: Cancel | undefined;
  #cancelWork: Cancel | undefined;
  #state: "loading" | "running" | "closed" = "loading";

  constructor(world: World, look: (keys: readonly string[]) => void) {
    this.#world = world;
    this.#look = look;
  }

  /**
   * Has the key looked at when its time has passed. A key that had an earlier end before is looked at by then anyway, and must be
   * added anew when it turns out to live on: so one that is renewed all the time takes no more room than others.
   */
  add(key: string, expiresAt: number, formerly = Number.POSITIVE_INFINITY): void {
    if (expiresAt === Number.POSITIVE_INFINITY || formerly <= expiresAt) return;
    const bucket = Math.ceil(expiresAt / bucketMs);
    const keys = this.#buckets.get(bucket);
    if (keys === undefined) this.#buckets.set(bucket, new Set([key]));
    else keys.add(key);
    this.#arm();
  }

  /** Everything is replayed; until now nothing could be done about a key whose time has passed. */
  start(): void {
    this.#state = "running";
    this.#arm();
  }

  close(): void {
    this.#state = "closed";
    this.#cancel?.();
    this.#cancelWork?.();
  }

  #arm(): void {
    if (this.#state !== "running" || this.#cancel !== undefined || this.#buckets.size === 0) return;
    this.#cancel = this.#world.timers.schedule(bucketMs, () => {
      this.#cancel = undefined;
      this.#sweep();
      this.#arm();
    });
  }

  #sweep(): void {
    const now = Math.floor(this.#world.clock.now() / bucketMs);
    for (const [bucket, keys] of this.#buckets) {
      if (bucket > now) continue;
      this.#buckets.delete(bucket);
      this.#due.push(keys);
    }
    if (this.#cancelWork === undefined) this.#work();
  }

  #work(): void {
    const keys = this.#due[0];
    if (keys === undefined) return;
    const some: string[] = [];
    for (const key of keys) {
      if (some.length === keysAtOnce) break;
      some.push(key);
      keys.delete(key);
    }
    if (keys.size === 0) this.#due.shift();
    this.#look(some);
    if (this.#due.length === 0) return;
    this.#cancelWork = this.#world.timers.schedule(1, () => {
      this.#cancelWork = undefined;
      if (this.#state === "running") this.#work();
    });
  }
}
