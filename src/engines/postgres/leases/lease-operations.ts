import { LeaseState } from "../../shared/leases/lease-state.ts";
import type { PostgresConnection, Transaction } from "../connection.ts";
import type { Statement } from "../session.ts";
import { clock, type Tables } from "../tables.ts";

/** What is done to a name under its lock. */
export type Operation<T> = (state: LeaseState, now: number, token: () => number) => T;

interface Waiting {
  readonly name: string;
  readonly operation: Operation<unknown>;
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** What one transaction carries out at most, so that it keeps nobody waiting for long. */
const countMax = 64;
/** At most so many transactions at once. */
const transactionsMax = 4;

/**
 * Operations on leased names, those of one name in the order of the calls: what is asked for in the same turn, or while a transaction is at work on the name, goes with one
 * transaction. Names are locked in one order, so that nobody waits in a circle.
 */
export class LeaseOperations {
  readonly #connection: PostgresConnection;
  readonly #statements: ReturnType<typeof statementsOf>;
  readonly #watchChannel: string;
  readonly #queue = new Map<string, Waiting[]>();
  readonly #underWay = new Set<string>();
  #transactions = 0;
  #scheduled = false;

  constructor(connection: PostgresConnection, tables: Tables, watchChannel: string) {
    this.#connection = connection;
    this.#statements = statementsOf(tables);
    this.#watchChannel = watchChannel;
  }

  run<T>(name: string, operation: Operation<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const waiting: Waiting = { name, operation, resolve: resolve as (answer: unknown) => void, reject };
      const queue = this.#queue.get(name);
      if (queue === undefined) this.#queue.set(name, [waiting]);
      else queue.push(waiting);
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      while (this.#transactions < transactionsMax) {
        const taken = this.#take();
        if (taken.length === 0) return;
        void this.#carryOut(taken);
      }
    });
  }

  #take(): Waiting[] {
    const taken: Waiting[] = [];
    for (const [name, queue] of this.#queue) {
      if (this.#underWay.has(name)) continue;
      taken.push(...queue.splice(0, countMax - taken.length));
      this.#underWay.add(name);
      if (queue.length === 0) this.#queue.delete(name);
      if (taken.length === countMax) break;
    }
    return taken;
  }

  async #carryOut(taken: readonly Waiting[]): Promise<void> {
    this.#transactions += 1;
    try {
      const answers = await this.#connection.transaction("an operation on leases", (transaction) =>
        this.#operate(transaction, taken),
      );
      for (const [index, answer] of answers.entries()) taken[index]!.resolve(answer);
    } catch (error) {
      for (const { reject } of taken) reject(error);
    } finally {
      this.#transactions -= 1;
      for (const { name } of taken) this.#underWay.delete(name);
      if (this.#queue.size > 0) this.#schedule();
    }
  }

  async #operate(transaction: Transaction, taken: readonly Waiting[]): Promise<readonly unknown[]> {
    const names = new Map(taken.map(({ name }) => [name, Buffer.from(name)]));
    const rows = await transaction.run(this.#statements.lock, [[...names.values()]]);
    const drawn = await transaction.run(this.#statements.draw, [taken.length]);
    const now = drawn[0]!.now as number;
    const tokens = drawn.map(({ token }) => Number(token));
    const before = new Map(rows.map(({ name, state }) => [(name as Buffer).toString(), state as Buffer]));
    const states = new Map([...names.keys()].map((name) => [name, LeaseState.decode(before.get(name)!)]));
    const answers = taken.map(({ name, operation }) => operation(states.get(name)!, now, () => tokens.shift()!));
    await this.#write(transaction, states, names);
    return answers;
  }

  async #write(
    transaction: Transaction,
    states: ReadonlyMap<string, LeaseState>,
    names: ReadonlyMap<string, Buffer>,
  ): Promise<void> {
    const kept = [...states].filter(([, state]) => !state.unused);
    const unused = [...states].filter(([, state]) => state.unused);
    const notices = [...states].flatMap(([name, state]) => {
      const turns = state.turns.map(({ channel, holder }) => [channel, turnNotice(name, holder)] as const);
      return state.holdersChanged ? [...turns, [this.#watchChannel, base64(name)] as const] : turns;
    });
    await transaction.run(this.#statements.write, [
      kept.map(([name]) => names.get(name)!),
      kept.map(([, state]) => state.encode()),
      kept.map(([, state]) => state.endsAt),
      unused.map(([name]) => names.get(name)!),
      notices.map(([channel]) => channel),
      notices.map(([, payload]) => payload),
    ]);
  }
}

function statementsOf({ prefix, leases, tokens }: Tables) {
  const statement = (name: string, text: string): Statement => ({ name: `${prefix}_lease_${name}`, text });
  return {
    /** Makes rows where there are none, so that there is something to lock; one after the other in the order of the names. */
    lock: statement(
      "lock",
      `INSERT INTO ${leases} AS l (name, state, ends_at) SELECT n, ''::bytea, 0 FROM unnest($1::bytea[]) n ORDER BY n
       ON CONFLICT (name) DO UPDATE SET ends_at = l.ends_at RETURNING name, state`,
    ),
    /** Under the locks, so that tokens of a name grow. */
    draw: statement("draw", `SELECT ${clock} AS now, nextval('${tokens}') AS token FROM generate_series(1, $1)`),
    write: statement(
      "write",
      `WITH kept AS (
         UPDATE ${leases} l SET state = u.state, ends_at = u.ends_at
         FROM unnest($1::bytea[], $2::bytea[], $3::float8[]) AS u (name, state, ends_at) WHERE l.name = u.name
       ), unused AS (DELETE FROM ${leases} WHERE name = ANY($4::bytea[]))
       SELECT pg_notify(channel, payload) FROM unnest($5::text[], $6::text[]) AS n (channel, payload)`,
    ),
  };
}

/** Names may hold what the server's text cannot. */
export function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function turnNotice(name: string, holder: string): string {
  return `${base64(name)} ${base64(holder)}`;
}

export function readTurnNotice(payload: string): { readonly name: string; readonly holder: string } {
  const [name = "", holder = ""] = payload.split(" ").map((part) => Buffer.from(part, "base64").toString());
  return { name, holder };
}
