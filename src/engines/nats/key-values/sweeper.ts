import type { Cancel, World } from "../../../world/world.ts";
import { atOnce } from "../at-once.ts";
import type { ServerClock } from "../server-clock.ts";
import { DueKeys } from "./due-keys.ts";
import type { ForgottenMark } from "./forgotten-mark.ts";
import type { KeyStore } from "./key-store.ts";
import { deletedValue, type StoredValue } from "./stored-value.ts";

export interface SweeperParts {
  readonly world: World;
  readonly store: KeyStore;
  readonly clock: ServerClock;
  readonly forgotten: ForgottenMark;
  /** Keys have changed. */
  readonly tell: () => void;
}

/** Watches that were away for longer read the state anew. */
const deletesKeptMs = 600_000;
/** Keys of processes that have died are looked for so often, by one process for all. */
const roundMs = 3_600_000;
const rememberedMax = 200_000;

/**
 * Ends keys whose time has passed, so that watches hear of it and their space comes back. Whoever wrote a key with a time to live, or watches it, knows when it ends; the server does not on its own. Several may try: a key is
 * ended only if it is still what it was. Now and then one process looks through all keys for what others left.
 */
export class Sweeper {
  readonly #parts: SweeperParts;
  readonly #ending = new DueKeys(rememberedMax);
  readonly #deleted = new DueKeys(rememberedMax);
  #timer: Cancel | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #round: Cancel | undefined;
  #closed = false;

  constructor(parts: SweeperParts) {
    this.#parts = parts;
    this.#nextRound();
  }

  /** `at`: by the server's clock, as it is known here. */
  ends(subject: string, sequence: number, at: number): void {
    this.#ending.add(subject, sequence, at);
    this.#schedule();
  }

  deleted(subject: string, sequence: number): void {
    this.#deleted.add(subject, sequence, this.#parts.clock.latest + deletesKeptMs);
    this.#schedule();
  }

  /** Notes what is to become of a key's message. */
  note(subject: string, { sequence, storedAt, value, expiresAt }: StoredValue): void {
    if (value === undefined) this.#deleted.add(subject, sequence, storedAt + deletesKeptMs);
    else if (expiresAt !== undefined) this.#ending.add(subject, sequence, expiresAt);
    else return;
    this.#schedule();
  }

  /** In how many ms a key ends that is known here; negative: none does. */
  get nextEndMs(): number {
    const at = this.#ending.nextAt;
    return at === undefined ? -1 : Math.max(0, Math.ceil(at - this.#parts.clock.earliest));
  }

  /** Ends what has ended. */
  async sweep(): Promise<void> {
    const { store, clock, tell } = this.#parts;
    await clock.ready();
    const ended = this.#ending.take(clock.earliest);
    if (ended.length === 0) return;
    await atOnce(ended, async ([subject, sequence]) => {
      try {
        const written = await store.write("the end of a key", subject, deletedValue, sequence);
        if (written !== undefined) this.deleted(subject, written);
      } catch {
        this.#ending.add(subject, sequence, clock.latest + 1_000);
      }
    });
    tell();
  }

  async #forget(): Promise<void> {
    const { store, clock, forgotten } = this.#parts;
    const old = this.#deleted.take(clock.earliest);
    if (old.length === 0) return;
    // Who has not seen them by now must not believe that nothing happened.
    await forgotten.raise(Math.max(...old.map(([, sequence]) => sequence)));
    await atOnce(old, ([subject, sequence]) => store.forget(subject, sequence));
  }

  #schedule(): void {
    const at = Math.min(
      this.#ending.nextAt ?? Number.POSITIVE_INFINITY,
      this.#deleted.nextAt ?? Number.POSITIVE_INFINITY,
    );
    if (this.#closed || at >= this.#timerAt || !Number.isFinite(at)) return;
    this.#timer?.();
    this.#timerAt = at;
    const delayMs = Math.min(Math.max(1, at - this.#parts.clock.earliest), 2 ** 30);
    this.#timer = this.#parts.world.timers.schedule(delayMs, () => void this.#run());
  }

  async #run(): Promise<void> {
    this.#timerAt = Number.POSITIVE_INFINITY;
    try {
      await this.sweep();
      await this.#forget();
    } catch {
      // What is left is found by a round.
    }
    this.#schedule();
  }

  // Rounds -------------------------------------------------------------------------------------------------------------

  #nextRound(): void {
    const delayMs = roundMs * (0.5 + this.#parts.world.random.float());
    this.#round = this.#parts.world.timers.schedule(delayMs, () => {
      this.round().catch(() => undefined);
      if (!this.#closed) this.#nextRound();
    });
  }

  /** Notes all keys that end, and all deletions. */
  async round(): Promise<void> {
    const { store, clock, forgotten } = this.#parts;
    await clock.ready();
    if (!(await forgotten.beginRound(clock.earliest, roundMs / 2))) return;
    let sequence = 1;
    while (!this.#closed) {
      const found = await store.next("looking for ended keys", "", sequence);
      if (found === undefined) return;
      this.note(found.subject, found);
      sequence = found.sequence + 1;
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.();
    this.#round?.();
  }
}
