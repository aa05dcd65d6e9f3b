import { LeaseState } from "../../shared/leases/lease-state.ts";
import type { DatabaseConnection } from "../connection.ts";
import { type Keyed, KeyedBatches } from "../keyed-batches.ts";
import type { Transaction } from "../transaction.ts";
import type { LeaseCommands } from "./commands.ts";

/** What is done to a name under its lock. */
export type Operation<T> = (state: LeaseState, now: number, token: () => number) => T;

interface Asked {
  readonly grants: boolean;
  readonly operation: Operation<unknown>;
}

/** Operations on leased names. Names are locked in one order, so that nobody waits in a circle. */
export class LeaseOperations {
  readonly #commands: LeaseCommands;
  readonly #watchChannel: string;
  readonly #batches: KeyedBatches<Asked>;

  constructor(connection: DatabaseConnection, commands: LeaseCommands, watchChannel: string) {
    this.#commands = commands;
    this.#watchChannel = watchChannel;
    this.#batches = new KeyedBatches(connection, "an operation on leases", (transaction, taken) =>
      this.#operate(transaction, taken),
    );
  }

  run<T>(name: string, operation: Operation<T>): Promise<T> {
    return this.#batches.run(name, { grants: false, operation }) as Promise<T>;
  }

  /** The same for one that may take a token. */
  grant<T>(name: string, operation: Operation<T>): Promise<T> {
    return this.#batches.run(name, { grants: true, operation }) as Promise<T>;
  }

  async #operate(transaction: Transaction, taken: readonly Keyed<Asked>[]): Promise<readonly unknown[]> {
    const names = new Map(taken.map(({ key }) => [key, Buffer.from(key)]));
    const grants = taken.filter((each) => each.operation.grants).length;
    const { lock, draw } = this.#commands;
    const [rows, drawn] = await transaction.look([lock, [[...names.values()]]], [draw, [grants]]);
    const now = drawn[0]!.now as number;
    const tokens = drawn.map(({ token }) => Number(token));
    const before = new Map(rows.map(({ name, state }) => [(name as Buffer).toString(), state as Buffer]));
    const states = new Map([...names.keys()].map((name) => [name, LeaseState.decode(before.get(name)!)]));
    const answers = taken.map(({ key, operation: { operation } }) =>
      operation(states.get(key)!, now, () => tokens.shift()!),
    );
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
    await transaction.finish(this.#commands.write, [
      kept.map(([name]) => names.get(name)!),
      kept.map(([, state]) => state.encode()),
      kept.map(([, state]) => state.endsAt),
      unused.map(([name]) => names.get(name)!),
      notices.map(([channel]) => channel),
      notices.map(([, payload]) => payload),
    ]);
  }
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
