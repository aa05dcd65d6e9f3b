import type { CommitResult, KeyValueChange, KeyValueEntry } from "../../../contracts/key-value.ts";
import { decideCommit, type KeyEffect } from "../../shared/key-values/decide.ts";
import { nameBytes } from "../../shared/key-values/names.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Transaction } from "../transaction.ts";
import type { KeyValueCommands } from "./commands.ts";
import { entryOf } from "./entries.ts";

export interface CommitQueueParts {
  readonly channel: string;
  /** Keys that have ended may be deleted now. */
  readonly sweepDue: () => unknown;
  readonly monotonic: () => number;
}

interface Waiting {
  readonly changes: readonly KeyValueChange[];
  readonly resolve: (result: CommitResult) => void;
  readonly reject: (error: unknown) => void;
}

type Outcome = { readonly result: CommitResult } | { readonly error: unknown };

/** So many changes go with one transaction, and about so many bytes. */
const changesMax = 1_000;
const bytesMax = 8 * 1024 * 1024;
const sweepEveryMs = 1_000;

/**
 * Commits in the order of the calls: one transaction is under way, and takes what gathered while the one before it was. Each commit is decided
 * by itself, against what those before it left.
 */
export class CommitQueue {
  readonly #connection: DatabaseConnection;
  readonly #commands: KeyValueCommands;
  readonly #parts: CommitQueueParts;
  readonly #queue: Waiting[] = [];
  #draining = false;
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(connection: DatabaseConnection, commands: KeyValueCommands, parts: CommitQueueParts) {
    this.#connection = connection;
    this.#commands = commands;
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
        const outcomes = await this.#connection.transaction("a commit", (transaction) =>
          this.#write(transaction, taken),
        );
        for (const [index, outcome] of outcomes.entries()) {
          if ("error" in outcome) taken[index]!.reject(outcome.error);
          else taken[index]!.resolve(outcome.result);
        }
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
      this.#sweepNowAndThen();
    }
    this.#draining = false;
  }

  #take(): Waiting[] {
    let count = 0;
    let changes = 0;
    let bytes = 0;
    for (; count < this.#queue.length; count++) {
      const next = this.#queue[count]!.changes;
      changes += next.length;
      for (const change of next) bytes += change.type === "put" ? change.value.length : 0;
      if (count > 0 && (changes > changesMax || bytes > bytesMax)) break;
    }
    return this.#queue.splice(0, count);
  }

  async #write(transaction: Transaction, taken: readonly Waiting[]): Promise<readonly Outcome[]> {
    const names = new Map<string, Buffer>();
    for (const { changes } of taken) for (const { key } of changes) names.set(key, nameBytes(key));
    const [[locked], rows] = await transaction.look([this.#commands.lock], [this.#commands.met, [[...names.values()]]]);
    const now = rows[0]!.now as number;
    const met = new Map(
      rows.filter(({ key }) => key !== null).map((row) => [(row.key as Buffer).toString("latin1"), row]),
    );
    const entries = new Map<string, KeyValueEntry>();
    for (const [key, name] of names) {
      const row = met.get(name.toString("latin1"));
      if (row !== undefined) entries.set(key, entryOf(key, row));
    }
    return this.#decide(transaction, taken, { now, entries, names, version: BigInt(locked!.version as number) });
  }

  async #decide(transaction: Transaction, taken: readonly Waiting[], met: Met): Promise<readonly Outcome[]> {
    const { now, entries, names } = met;
    let { version } = met;
    const written = new Map<string, KeyEffect & { readonly version: bigint }>();
    const find = (key: string) => {
      const entry = entries.get(key);
      return entry === undefined || (entry.expiresAt !== undefined && entry.expiresAt <= now) ? undefined : entry;
    };
    const outcomes = taken.map(({ changes }): Outcome => {
      try {
        const { result, effects } = decideCommit(changes, find, now, version + 1n);
        if (effects.length === 0) return { result: result.committed ? { ...result, version } : result };
        version += 1n;
        for (const effect of effects) {
          written.set(effect.key, { ...effect, version });
          const { key, value, expiresAt } = effect;
          if (value === undefined) entries.delete(key);
          else entries.set(key, { key, value, version, expiresAt });
        }
        return { result };
      } catch (error) {
        return { error };
      }
    });
    const all = [...written.values()];
    if (all.length > 0) {
      await transaction.finish(this.#commands.write, [
        all.map(({ key }) => names.get(key)!),
        all.map(({ value }) => value ?? null),
        all.map((effect) => effect.version),
        all.map(({ expiresAt }) => expiresAt ?? null),
        now,
        version,
        this.#parts.channel,
      ]);
    }
    return outcomes;
  }

  #sweepNowAndThen(): void {
    const now = this.#parts.monotonic();
    if (now - this.#sweptAt < sweepEveryMs) return;
    this.#sweptAt = now;
    this.#parts.sweepDue();
  }
}

/** What a transaction found under its lock. */
interface Met {
  readonly now: number;
  readonly entries: Map<string, KeyValueEntry>;
  readonly names: ReadonlyMap<string, Buffer>;
  readonly version: bigint;
}
