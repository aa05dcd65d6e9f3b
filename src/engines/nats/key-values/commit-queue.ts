import type { CommitResult, KeyValueChange } from "../../../contracts/key-value.ts";
import type { World } from "../../../world/world.ts";
import { decideCommit } from "../../shared/key-values/decide.ts";
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

type Put = Extract<KeyValueChange, { type: "put" }>;

/** So many puts are under way at once. */
const putsMax = 256;
/** So many keys are remembered as they were written last. */
const knownMax = 1_000;
/** Whoever lost against another writer waits up to so long for each time. */
const conflictMs = 4;

/**
 * Commits in the order of the calls. Puts without a condition go out one after the other without waiting, as the server takes them in that order; all others are decided against the key as it is, and take effect only if it
 * is still that.
 */
export class CommitQueue {
  readonly #parts: CommitQueueParts;
  readonly #queue: Waiting[] = [];
  readonly #known = new Map<string, StoredValue>();
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
      let count = 0;
      while (count < Math.min(this.#queue.length, putsMax) && isPlainPut(this.#queue[count]!.change)) count += 1;
      const taken = this.#queue.splice(0, Math.max(1, count));
      await this.#carryOut(taken, count > 0);
      this.#parts.tell();
    }
    this.#draining = false;
  }

  async #carryOut(taken: readonly Waiting[], arePuts: boolean): Promise<void> {
    try {
      await this.#parts.clock.ready();
    } catch (error) {
      for (const { reject } of taken) reject(error);
      return;
    }
    if (arePuts) await Promise.all(taken.map((each) => settle(each, this.#put(each.change as Put))));
    else await settle(taken[0]!, this.#decide(taken[0]!.change));
  }

  async #put({ key, value, ttlMs }: Put): Promise<CommitResult> {
    const { store } = this.#parts;
    const subject = store.subjects.subjectOf(key);
    this.#known.delete(key);
    const end = endOf(ttlMs);
    const written = await store.write("a commit", subject, encodeValue(value, end), undefined);
    this.#noteEnd(subject, written!, end);
    return { committed: true, version: BigInt(written!), counters: [undefined] };
  }

  async #decide(change: KeyValueChange): Promise<CommitResult> {
    const { store, clock, world } = this.#parts;
    const { key } = change;
    const subject = store.subjects.subjectOf(key);
    for (let tries = 0; ; tries++) {
      await clock.ready();
      const known = this.#known.get(key);
      this.#known.delete(key);
      const stored = known ?? (await store.read("a commit", subject));
      const decided = this.#tryDeciding(change, stored);
      if (decided.effects.length === 0 || decided.error !== undefined) {
        // What is known here may be old, and then so is the answer.
        if (known !== undefined) continue;
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
        this.#remember(key, written, effect!.value, end);
        return { ...decided.result!, version: BigInt(written) } as CommitResult;
      }
      await world.timers.sleep(world.random.float() * conflictMs * Math.min(tries + 1, 8));
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

  /** What ends by the server's stamp is not: nobody told us the stamp. */
  #remember(key: string, sequence: number, value: Uint8Array | undefined, end: ValueEnd): void {
    if (end !== undefined && "afterMs" in end) return;
    const kept = value === undefined ? undefined : Buffer.from(value);
    this.#known.set(key, { sequence, storedAt: 0, value: kept, expiresAt: end?.at });
    if (this.#known.size <= knownMax) return;
    const [oldest] = this.#known.keys();
    this.#known.delete(oldest!);
  }
}

async function settle({ resolve, reject }: Waiting, result: Promise<CommitResult>): Promise<void> {
  await result.then(resolve, reject);
}

function isPlainPut(change: KeyValueChange): boolean {
  return change.type === "put" && change.condition === undefined;
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
