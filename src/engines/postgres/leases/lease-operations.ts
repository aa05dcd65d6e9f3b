import { LeaseState } from "../../shared/leases/lease-state.ts";
import type { PostgresConnection, Transaction } from "../connection.ts";
import { type Keyed, KeyedBatches } from "../keyed-batches.ts";
import type { Statement } from "../session.ts";
import { clock, type Tables } from "../tables.ts";

/** What is done to a name under its lock. */
export type Operation<T> = (state: LeaseState, now: number, token: () => number) => T;

/** Operations on leased names. Names are locked in one order, so that nobody waits in a circle. */
export class LeaseOperations {
  readonly #statements: ReturnType<typeof statementsOf>;
  readonly #watchChannel: string;
  readonly #batches: KeyedBatches<Operation<unknown>>;

  constructor(connection: PostgresConnection, tables: Tables, watchChannel: string) {
    this.#statements = statementsOf(tables);
    this.#watchChannel = watchChannel;
    this.#batches = new KeyedBatches(connection, "an operation on leases", (transaction, taken) =>
      this.#operate(transaction, taken),
    );
  }

  run<T>(name: string, operation: Operation<T>): Promise<T> {
    return this.#batches.run(name, operation) as Promise<T>;
  }

  async #operate(transaction: Transaction, taken: readonly Keyed<Operation<unknown>>[]): Promise<readonly unknown[]> {
    const names = new Map(taken.map(({ key }) => [key, Buffer.from(key)]));
    const rows = await transaction.run(this.#statements.lock, [[...names.values()]]);
    const drawn = await transaction.run(this.#statements.draw, [taken.length]);
    const now = drawn[0]!.now as number;
    const tokens = drawn.map(({ token }) => Number(token));
    const before = new Map(rows.map(({ name, state }) => [(name as Buffer).toString(), state as Buffer]));
    const states = new Map([...names.keys()].map((name) => [name, LeaseState.decode(before.get(name)!)]));
    const answers = taken.map(({ key, operation }) => operation(states.get(key)!, now, () => tokens.shift()!));
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
