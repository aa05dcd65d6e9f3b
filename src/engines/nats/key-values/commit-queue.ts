import type { CommitResult, KeyValueChange } from "../../../contracts/key-value.ts";
import type { World } from "../../../world/world.ts";
import { decideCommit } from "../../shared/key-values/decide.ts";
import { afterConflict } from "../conflicts.ts";
import type { ServerClock } from "../server-clock.ts";
import type { KeyStore } from "./key-store.ts";
import { deletedValue, encodeValue, entryOf, type StoredValue, type ValueEnd } from "./stored-value.ts";
import type { Sweeper } from "./sweeper.ts";

export interface CommitQueueParts {
  readonly world: World;
  readonly store: KeyStore;
  readonly clock: ServerClock;
  readonly sweeper: Sweeper;
  /** Keys have changed. */
  readonly tell: () => void;
}

interface Waiting {
  readonly change: KeyValueChange;
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

/** So many keys are read ahead of their commits. */
const aheadMax = 64;
/** So many keys are remembered as they were written last, unless their values are larger than this. */
const knownMax = 1_000;
const knownBytesMax = 1_024;

/**
 * Commits in the order of the calls, one after the other. Each is decided against its key as it is, and takes effect only if the key is still that: also a put without a condition, as one that its caller was told may have
 * failed must not come behind what was put later. So a commit takes one round trip, as the keys of those that wait are read meanwhile.
 */
export class CommitQueue {
  readonly #parts: CommitQueueParts;
  readonly #queue: Waiting[] = [];
  /** Keys as they were written or read last, which may be old. */
  readonly #known = new Map<string, StoredValue | undefined>();
  readonly #ahead = new Set<string>();
  #draining = false;

  constructor(parts: CommitQueueParts) {
    this.#parts = parts;
  }

  commit(change: KeyValueChange): Promise<CommitResult> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, resolve, reject });
      if (!this.#draining) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    // What is committed within the same turn goes out together.
    await undefined;
    while (this.#queue.length > 0) {
      const { change, resolve, reject } = this.#queue.shift()!;
      this.#readAhead();
      await this.#decide(change).then(resolve, reject);
      this.#parts.tell();
    }
    this.#draining = false;
  }

  #readAhead(): void {
    const { store } = this.#parts;
    for (const { change } of this.#queue.slice(0, aheadMax)) {
      const { key } = change;
      if (this.#ahead.size >= aheadMax) return;
      if (this.#known.has(key) || this.#ahead.has(key)) continue;
      this.#ahead.add(key);
      store.read("a commit", store.subjects.subjectOf(key)).then(
        (stored) => this.#ahead.delete(key) && this.#remember(key, stored),
        // Whoever commits to it reads it again.
        () => this.#ahead.delete(key),
      );
    }
  }

  async #decide(change: KeyValueChange): Promise<CommitResult> {
    const { store, clock, world } = this.#parts;
    const { key } = change;
    const subject = store.subjects.subjectOf(key);
    for (let tries = 0; ; tries++) {
      await clock.ready();
      const isKnown = this.#known.has(key);
      const stored = isKnown ? this.#known.get(key) : await store.read("a commit", subject);
      this.#forget(key);
      const decided = this.#tryDeciding(change, stored);
      if (decided.effects.length === 0 || decided.error !== undefined) {
        // What is known here may be old, and then so is the answer.
        if (isKnown) continue;
        if (decided.error !== undefined) throw decided.error;
        return decided.result!;
      }
      const [effect] = decided.effects;
      const isNew = entryOf(key, stored, clock.earliest) === undefined;
      const end = ending(change, isNew, effect!.expiresAt);
      const bytes = effect!.value === undefined ? deletedValue : encodeValue(effect!.value, end);
      const written = await store.write("a commit", subject, bytes, stored?.sequence ?? 0);
      if (written !== undefined) {
        if (effect!.value === undefined) this.#parts.sweeper.deleted(subject, written);
        else this.#noteEnd(subject, written, end);
        // What ends by the server's stamp is not remembered: nobody told us the stamp.
        if (end === undefined || "at" in end) {
          const value = effect!.value === undefined ? undefined : Buffer.from(effect!.value);
          this.#remember(key, { sequence: written, storedAt: 0, value, expiresAt: end?.at });
        }
        return { ...decided.result!, version: BigInt(written) } as CommitResult;
      }
      await afterConflict(world, tries);
    }
  }

  #tryDeciding(change: KeyValueChange, stored: StoredValue | undefined) {
    const now = this.#parts.clock.earliest;
    const version = BigInt(stored?.sequence ?? 0);
    try {
      return { ...decideCommit([change], () => entryOf(change.key, stored, now), now, version), error: undefined };
    } catch (error) {
      return { result: undefined, effects: [], error };
    }
  }

  #noteEnd(subject: string, sequence: number, end: ValueEnd): void {
    const { sweeper, clock } = this.#parts;
    if (end === undefined) return;
    sweeper.ends(subject, sequence, "at" in end ? end.at : clock.latest + end.afterMs);
  }

  /** What was read before is older than what is written now. */
  #forget(key: string): void {
    this.#known.delete(key);
    this.#ahead.delete(key);
  }

  #remember(key: string, stored: StoredValue | undefined): void {
    if ((stored?.value?.length ?? 0) > knownBytesMax) return;
    this.#known.set(key, stored);
    if (this.#known.size <= knownMax) return;
    const [oldest] = this.#known.keys();
    this.#known.delete(oldest!);
  }
}

function endOf(ttlMs: number | undefined): ValueEnd {
  return ttlMs === undefined || ttlMs === Number.POSITIVE_INFINITY ? undefined : { afterMs: ttlMs };
}

/** A time to live begins with the server's stamp; a counter that is there keeps its end. */
function ending(change: KeyValueChange, isNew: boolean, expiresAt: number | undefined): ValueEnd {
  if (expiresAt === undefined) return undefined;
  if ("ttlMs" in change && (change.type === "put" || isNew)) return endOf(change.ttlMs);
  return { at: expiresAt };
}
