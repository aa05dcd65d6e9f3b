import { TenonError } from "../../../contracts/errors.ts";
import type { CommitResult, KeyValueChange, KeyValueEntry } from "../../../contracts/key-value.ts";
import type { World } from "../../../world/world.ts";
import { decideCommit, type KeyEffect } from "../../shared/key-values/decide.ts";
import type { EtcdConnection } from "../connection.ts";
import { isLeaseGone } from "../failures.ts";
import { base64, type Compare, type Operation, revisionOf, type TransactionRequest } from "../wire.ts";
import { encodeValue, lastVersionOf, placesMax, type StoredEntry, versionOf } from "./entries.ts";
import type { ExpiryLeases } from "./expiry-leases.ts";
import { isOverdue } from "./overdue-keys.ts";
import type { Reader, Snapshot } from "./reader.ts";

export interface CommitQueueParts {
  readonly world: World;
  readonly connection: EtcdConnection;
  readonly reader: Reader;
  readonly leases: ExpiryLeases;
  readonly overdue: (stored: StoredEntry) => void;
  /** So many operations go with one transaction, and so many bytes. */
  readonly operationsMax: number;
  readonly bytesMax: number;
}

interface Waiting {
  readonly changes: readonly KeyValueChange[];
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome =
  | {
      readonly result: CommitResult /** Among the commits of the transaction that change something. */;
      readonly place: number | undefined;
    }
  | { readonly error: unknown };

/** What becomes of a key, and of its end. */
interface Written {
  readonly effect: KeyEffect;
  readonly place: number;
  /** `undefined`: it has none; `"same"`: that of the key as it is. */
  readonly ttlMs: number | "same" | undefined;
}

interface Decision {
  readonly outcomes: readonly Outcome[];
  readonly written: ReadonlyMap<string, Written>;
}

/** How often a transaction is begun anew because others have changed what it rests on, and the pauses in between. */
const attemptsMax = 50;
const backoffMs = { first: 1, longest: 50 };
/** Stands for the version that a commit of the same transaction will get; greater than every version. */
const unborn = 1n << 64n;

/**
 * Commits in the order of the calls: one transaction is under way, and takes what gathered while the one before it was. Each commit is decided by itself, against
 * what those before it left; the transaction takes effect only if everything that was decided on is as it was read, else what there is now is decided on anew.
 */
export class CommitQueue {
  readonly #parts: CommitQueueParts;
  readonly #queue: Waiting[] = [];
  #draining = false;

  constructor(parts: CommitQueueParts) {
    this.#parts = parts;
  }

  commit(changes: readonly KeyValueChange[]): Promise<CommitResult> {
    return new Promise((resolve, reject) => {
      this.#queue.push({ changes, resolve, reject });
      if (!this.#draining) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    // What is committed within the same turn goes out together.
    await undefined;
    while (this.#queue.length > 0) {
      const taken = this.#take();
      try {
        await this.#carryOut(taken);
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#draining = false;
  }

  /** A delete has no value to hold its place, so a commit with one is the first of its transaction. */
  #take(): Waiting[] {
    const { operationsMax, bytesMax } = this.#parts;
    let count = 0;
    let operations = 0;
    let bytes = 0;
    for (; count < this.#queue.length && count < placesMax; count++) {
      const { changes } = this.#queue[count]!;
      operations += changes.length;
      for (const change of changes) bytes += change.key.length * 3 + (change.type === "put" ? change.value.length : 0);
      if (count === 0) continue;
      if (operations > operationsMax || bytes > bytesMax || changes.some(({ type }) => type === "delete")) break;
    }
    return this.#queue.splice(0, count);
  }

  async #carryOut(taken: readonly Waiting[]): Promise<void> {
    const { reader, connection, leases } = this.#parts;
    const needed = [...new Set(taken.flatMap(({ changes }) => changes.filter(restsOnKey).map(({ key }) => key)))];
    const isBlind = needed.length === 0 && taken.every(({ changes }) => changes.length > 0);
    let met: Snapshot = isBlind ? { revision: 0, entries: new Map() } : await reader.read(needed);
    for (let attempt = 1; ; attempt++) {
      const decision = this.#decide(taken, met);
      if (decision.written.size === 0) return settle(taken, decision.outcomes, met.revision);
      const request = await this.#requestOf(decision.written, needed, met);
      try {
        const reply = await connection.transact("a commit", request);
        const revision = revisionOf(reply.header);
        if (reply.succeeded === true) return settle(taken, decision.outcomes, revision);
        met = { revision, entries: reader.entriesOf(reply.responses ?? []) };
      } catch (error) {
        if (!isLeaseGone(error) || attempt >= attemptsMax) throw error;
        leases.forget();
      }
      if (attempt >= attemptsMax) throw contended(attempt);
      await this.#pause(attempt);
    }
  }

  async #pause(attempt: number): Promise<void> {
    // The first time others were a moment faster; then everybody draws, so that nobody is always the last.
    if (attempt === 1) return;
    const { random, timers } = this.#parts.world;
    await timers.sleep(random.float() * Math.min(backoffMs.longest, backoffMs.first * 2 ** attempt));
  }

  #decide(taken: readonly Waiting[], met: Snapshot): Decision {
    const now = this.#parts.world.clock.now();
    const entries = new Map<string, KeyValueEntry>();
    for (const [key, stored] of met.entries) {
      if (isOverdue(stored.entry, now)) this.#parts.overdue(stored);
      else entries.set(key, stored.entry);
    }
    const written = new Map<string, Written>();
    let places = 0;
    const outcomes = taken.map(({ changes }): Outcome => {
      try {
        const version = unborn + BigInt(places);
        const before = new Map(changes.map(({ key }) => [key, entries.get(key)]));
        const { result, effects } = decideCommit(changes, (key) => before.get(key), now, version);
        if (effects.length === 0) return { result, place: undefined };
        const place = places++;
        for (const effect of effects) {
          const { key, value, expiresAt } = effect;
          const change = changes.find((each) => each.key === key)!;
          const keepsEnd = change.type === "add" && before.get(key) !== undefined;
          const own = keepsEnd ? (written.get(key)?.ttlMs ?? "same") : expiresAt && expiresAt - now;
          written.delete(key);
          written.set(key, { effect, place, ttlMs: expiresAt === undefined ? undefined : own });
          if (value === undefined) entries.delete(key);
          else entries.set(key, { key, value, version, expiresAt });
        }
        return { result, place };
      } catch (error) {
        return { error };
      }
    });
    return { outcomes, written };
  }

  async #requestOf(
    written: ReadonlyMap<string, Written>,
    needed: readonly string[],
    met: Snapshot,
  ): Promise<TransactionRequest> {
    const { reader, leases } = this.#parts;
    const success: Operation[] = [];
    for (const [key, { effect, place, ttlMs }] of written) {
      const name = base64(reader.nameOf(key));
      if (effect.value === undefined) success.push({ request_delete_range: { key: name } });
      else {
        const put = { key: name, value: base64(encodeValue(effect.value, place, effect.expiresAt)) };
        if (ttlMs === "same") success.push({ request_put: { ...put, ignore_lease: true } });
        else if (ttlMs === undefined) success.push({ request_put: put });
        else success.push({ request_put: { ...put, lease: await leases.take(ttlMs) } });
      }
    }
    const compare = needed.map((key): Compare => {
      const revision = met.entries.get(key)?.revision ?? 0;
      return { key: base64(reader.nameOf(key)), target: "MOD", result: "EQUAL", mod_revision: String(revision) };
    });
    const failure = needed.map((key): Operation => ({ request_range: { key: base64(reader.nameOf(key)) } }));
    return { compare, success, failure };
  }
}

/** A put without condition rests on nothing. */
function restsOnKey({ type, condition }: KeyValueChange): boolean {
  return type !== "put" || condition !== undefined;
}

function settle(taken: readonly Waiting[], outcomes: readonly Outcome[], revision: number): void {
  for (const [index, outcome] of outcomes.entries()) {
    const { resolve, reject } = taken[index]!;
    if ("error" in outcome) reject(outcome.error);
    else resolve(withVersions(outcome.result, outcome.place, revision));
  }
}

/** What stood for versions that are known now. */
function withVersions(result: CommitResult, place: number | undefined, revision: number): CommitResult {
  if (result.committed) {
    return { ...result, version: BigInt(place === undefined ? lastVersionOf(revision) : versionOf(revision, place)) };
  }
  const { current } = result;
  if (current === undefined || current.version < unborn) return result;
  const version = BigInt(versionOf(revision, Number(current.version - unborn)));
  return { ...result, current: { ...current, version } };
}

function contended(attempts: number): TenonError {
  const text = `Others changed the keys of a commit each of the ${attempts} times that it was tried. It was not carried out; try again, or spread the counter over several keys.`;
  return new TenonError("overloaded", text, { fields: { attempts } });
}
