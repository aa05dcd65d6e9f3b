import type { LeaseInstant } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import { LeaseState } from "../../shared/leases/lease-state.ts";
import type { DatabaseConnection } from "../connection.ts";
import { type Keyed, KeyedBatches } from "../keyed-batches.ts";
import type { Row } from "../sql.ts";
import type { Transaction } from "../transaction.ts";
import type { LeaseCommands } from "./commands.ts";
import { LeaseRow } from "./lease-row.ts";
import { type Offer, Offers } from "./offers.ts";
import { type Asked, noticesOf, type Operation, OutOfTokens } from "./operation.ts";
import { StampedWrites } from "./stamped-writes.ts";

export interface OperationsParts {
  readonly connection: DatabaseConnection;
  readonly world: World;
  readonly commands: LeaseCommands;
  /** Where those of this process who wait hear of their turn. */
  readonly channel: string;
  readonly watchChannel: string;
  readonly offer: Offer;
}

type Taken = readonly Keyed<Asked>[];

/** A name under its lock, changed. */
interface Changed {
  readonly name: string;
  readonly row: LeaseRow;
  /** There was no row. */
  readonly isMade: boolean;
  /** Of the write; see `StampedWrites`. */
  readonly number: number;
}

interface Done {
  readonly answers: readonly unknown[];
  /** Once it is durable. */
  readonly conclude: () => void;
}

const what = "an operation on leases";

/** Operations on leased names. Names are locked in one order, so that nobody waits in a circle. */
export class LeaseOperations {
  readonly #parts: OperationsParts;
  readonly #stamped: StampedWrites | undefined;
  readonly #batches: KeyedBatches<Asked>;

  constructor(parts: OperationsParts) {
    const { stamped } = parts.commands;
    this.#parts = parts;
    this.#stamped = stamped && new StampedWrites({ ...parts, commands: stamped });
    this.#batches = new KeyedBatches((taken) => this.#carryOut(taken));
  }

  run<T>(name: string, operation: Operation<T>): Promise<T> {
    return this.#batches.run(name, { grants: false, givesUp: false, operation }) as Promise<T>;
  }

  /** The same for one that may take a token. */
  grant<T>(name: string, operation: Operation<T>): Promise<T> {
    return this.#batches.run(name, { grants: true, givesUp: false, operation }) as Promise<T>;
  }

  /** The same for one that gives up what a holder has. */
  giveUp(name: string, operation: Operation<void>): Promise<void> {
    return this.#batches.run(name, { grants: false, givesUp: true, operation }) as Promise<void>;
  }

  /** When nothing is under way any more. */
  idle(): Promise<void> {
    return this.#batches.idle();
  }

  async #carryOut(taken: Taken): Promise<readonly unknown[]> {
    const offers = new Offers(this.#parts.offer);
    try {
      return (await this.#withoutLooking(taken, offers)) ?? (await this.#looking(taken, offers));
    } finally {
      offers.settle();
    }
  }

  /** `undefined`: nothing was done, and it is to be looked at. */
  #withoutLooking(taken: Taken, offers: Offers): Promise<readonly unknown[] | undefined> | undefined {
    const stamped = this.#stamped;
    const name = taken[0]!.key;
    if (stamped === undefined || taken.some(({ key }) => key !== name)) return undefined;
    const asked = taken.map(({ operation }) => operation);
    if (stamped.canBegin(name, asked)) return this.#beginning(stamped, taken, asked, offers);
    return stamped.change({ name, asked, offers, since: this.#now() });
  }

  async #beginning(
    stamped: StampedWrites,
    taken: Taken,
    asked: readonly Asked[],
    offers: Offers,
  ): Promise<readonly unknown[] | undefined> {
    const answers = await this.#parts.connection.transaction(what, async (transaction) => {
      const job = { name: taken[0]!.key, asked, offers, since: this.#now() };
      // Without pipelining it takes no fewer round trips than looking does.
      const begun = transaction.pipelines && stamped.begin(transaction, job);
      return begun || this.#look(transaction, taken, offers);
    });
    return typeof answers === "function" ? answers() : conclude(answers);
  }

  async #looking(taken: Taken, offers: Offers): Promise<readonly unknown[]> {
    const done = await this.#parts.connection.transaction(what, (transaction) =>
      this.#look(transaction, taken, offers),
    );
    return conclude(done);
  }

  async #look(transaction: Transaction, taken: Taken, offers: Offers): Promise<Done> {
    const { lock, draw } = this.#parts.commands;
    const since = this.#now();
    const names = [...new Set(taken.map(({ key }) => key))];
    const numbersCount = this.#stamped === undefined ? 0 : names.length;
    const grantsCount = taken.filter((each) => each.operation.grants).length;
    const [locked, drawn] = await transaction.look(
      [lock, [names.map((name) => Buffer.from(name))]],
      [draw, [numbersCount + grantsCount]],
    );
    const now = drawn[0]!.now as number;
    const tokens = tokensOf(drawn);
    const before = new Map(locked.map(({ name, state }) => [(name as Buffer).toString(), state as Buffer]));
    for (;;) {
      try {
        const rows = new Map(names.map((name) => [name, this.#decode(before.get(name)!)]));
        const answers = this.#apply(taken, rows, now, tokens.slice(numbersCount), offers);
        const changed = names.map((name, index) => {
          return { name, row: rows.get(name)!, isMade: before.get(name)!.length === 0, number: tokens[index] ?? 0 };
        });
        await this.#write(transaction, changed, now);
        return { answers, conclude: () => this.#conclude(changed, now, offers, since) };
      } catch (error) {
        if (!(error instanceof OutOfTokens)) throw error;
      }
      // More is handed over than was asked for.
      const [more] = await transaction.look([draw, [tokens.length + 1]]);
      tokens.push(...tokensOf(more));
    }
  }

  #apply(
    taken: Taken,
    rows: ReadonlyMap<string, LeaseRow>,
    now: number,
    tokens: readonly number[],
    offers: Offers,
  ): readonly unknown[] {
    const { channel } = this.#parts;
    let next = 0;
    const token = (): number => {
      const drawn = tokens[next++];
      if (drawn === undefined) throw new OutOfTokens();
      return drawn;
    };
    return taken.map(({ key, operation: { operation } }) =>
      operation(rows.get(key)!, now, { channel, wanted: (holder) => offers.wanted(key, holder), token }),
    );
  }

  async #write(transaction: Transaction, changed: readonly Changed[], now: number): Promise<void> {
    const { commands, watchChannel } = this.#parts;
    const kept = changed.filter(({ row }) => !row.isUnused(now));
    const unused = changed.filter(({ row }) => row.isUnused(now));
    const notices = changed.flatMap(({ name, row }) => noticesOf(name, row, now, watchChannel));
    await transaction.finish(commands.write, [
      kept.map(({ name }) => Buffer.from(name)),
      kept.map((each) => this.#bytesOf(each, now)),
      kept.map(({ row }) => row.endsAt),
      unused.map(({ name }) => Buffer.from(name)),
      notices.map(([channel]) => channel!),
      notices.map(([, payload]) => payload!),
    ]);
  }

  #decode(bytes: Buffer): LeaseRow {
    return this.#stamped === undefined ? new LeaseRow(LeaseState.decode(bytes), undefined) : LeaseRow.decode(bytes);
  }

  #bytesOf({ row, number }: Changed, now: number): Buffer {
    return this.#stamped === undefined ? row.state.encode() : row.encode({ now, number });
  }

  #conclude(changed: readonly Changed[], now: number, offers: Offers, since: LeaseInstant): void {
    const known = this.#stamped?.known;
    for (const { name, row, isMade, number } of changed) {
      offers.grant(name, row.state.handedOver, since);
      if (isMade) known?.made(name);
      if (row.isUnused(now)) known?.forget(name);
      else known?.note(name, row, { now, number });
    }
  }

  #now(): LeaseInstant {
    const { clock } = this.#parts.world;
    return { monotonic: clock.monotonic(), wall: clock.now() };
  }
}

function conclude({ answers, conclude: concluded }: Done): readonly unknown[] {
  concluded();
  return answers;
}

/** None were drawn: the row has the clock alone. */
function tokensOf(rows: readonly Row[]): number[] {
  return rows.flatMap(({ token }) => (token === undefined ? [] : [Number(token)]));
}
