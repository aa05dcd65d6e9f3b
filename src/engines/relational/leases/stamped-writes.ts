import type { LeaseInstant } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Parameter, Row } from "../sql.ts";
import type { Transaction } from "../transaction.ts";
import type { StampedCommands } from "./commands.ts";
import { KnownRows, keptMs } from "./known-rows.ts";
import { decodeStamp, encodeStamp, LeaseRow } from "./lease-row.ts";
import type { Offers } from "./offers.ts";
import { type Asked, noticesOf, OutOfTokens } from "./operation.ts";

export interface StampedParts {
  readonly connection: DatabaseConnection;
  readonly world: World;
  readonly commands: StampedCommands;
  readonly channel: string;
  readonly watchChannel: string;
}

/** Operations on one name. */
interface Job {
  readonly name: string;
  readonly asked: readonly Asked[];
  readonly offers: Offers;
  /** Taken before anything is sent. */
  readonly since: LeaseInstant;
}

/** The row as it is expected, and the span of the server's time for which it means what it is taken for. */
interface Expected {
  readonly row: LeaseRow;
  readonly stamp: Uint8Array;
  /** One that nobody needs will do, whoever wrote it. */
  readonly isIdle: boolean;
  readonly from: number;
  readonly until: number;
}

/** What is to be written. */
interface Change {
  readonly answers: readonly unknown[];
  readonly row: LeaseRow;
  readonly removes: boolean;
  readonly values: readonly Parameter[];
}

const idleBytes = LeaseRow.idle().encodeUnstamped();

/**
 * Writes a name without looking at it first, in one go, if its row is still the one that this process wrote last, or if nobody needs the name. The server stamps what it writes with its clock and with
 * a number, from which instants and the token count: the number is drawn when the row is locked, or drawn anew when the row had changed until it was. No two rows have the same stamp. What cannot be written so is
 * left to who looks at it under a lock.
 */
export class StampedWrites {
  readonly #parts: StampedParts;
  readonly known: KnownRows;

  constructor(parts: StampedParts) {
    this.#parts = parts;
    this.known = new KnownRows(parts.world.clock);
  }

  /** Whether it is worth while to try `begin`: somebody wants a name of which nothing is known. */
  canBegin(name: string, asked: readonly Asked[]): boolean {
    return this.known.isUnheardOf(name) && asked[0]!.grants;
  }

  /**
   * For a name that nobody needs; in a transaction that pipelines, which is committed next. Answers how to learn what came of it then: answers, or `undefined` when nothing was done. `undefined` when nothing
   * was sent.
   */
  begin(transaction: Transaction, job: Job): (() => Promise<readonly unknown[] | undefined>) | undefined {
    const { make, replace } = this.#parts.commands;
    const row = LeaseRow.idle();
    const expected = { row, stamp: new Uint8Array(), isIdle: true, from: 0, until: Number.POSITIVE_INFINITY };
    const change = this.#apply(job, expected, 0);
    if (change === undefined || change.removes) return undefined;
    void transaction.send(make, [Buffer.from(job.name)]);
    const answer = transaction.send(replace, change.values);
    return async () => {
      const answers = this.#written(job, change, await answer);
      if (answers !== undefined) this.known.made(job.name);
      return answers;
    };
  }

  /** `undefined`: nothing was done. */
  async change(job: Job): Promise<readonly unknown[] | undefined> {
    // It is changed as if it were written, and is nothing to go by until it is.
    const known = this.known.take(job.name);
    if (known === undefined) return undefined;
    const { row, stamp, heardAt, isIdle } = known;
    // As good a guess as there is; the server sees to it that nothing has ended before its own.
    const now = stamp.now + Math.max(0, job.since.monotonic - heardAt);
    const until = row.state.nextEndAt;
    if (now >= until) return undefined;
    const expected = { row, stamp: encodeStamp(stamp), isIdle, from: stamp.now, until };
    const change = this.#apply(job, expected, now);
    if (change === undefined) return undefined;
    const { connection, commands } = this.#parts;
    const command = change.removes ? commands.remove : commands.replace;
    const answers = this.#written(
      job,
      change,
      await connection.write("an operation on leases", command, change.values),
    );
    if (answers === undefined) this.known.doubt(job.name);
    return answers;
  }

  #apply({ name, asked, offers }: Job, expected: Expected, now: number): Change | undefined {
    const { channel, watchChannel } = this.#parts;
    const { row, stamp, isIdle, from, until } = expected;
    let isTaken = false;
    const token = (): number => {
      if (isTaken) throw new OutOfTokens();
      isTaken = true;
      return 0;
    };
    const handing = { channel, wanted: (holder: string) => offers.wanted(name, holder), token };
    let answers: readonly unknown[];
    try {
      answers = asked.map(({ operation }) => operation(row, now, handing));
    } catch (error) {
      if (error instanceof OutOfTokens) return undefined;
      throw error;
    }
    const isUnused = row.isUnused(now);
    const removes = isUnused && !this.known.isFrequent(name);
    const values: Parameter[] = [Buffer.from(name), stamp, isIdle ? idleBytes : null, from, until];
    // It lasts for no less than that from the write on, whatever has passed since then.
    if (!removes) values.push(row.encodeUnstamped(), isUnused ? keptMs : row.endsAt - from);
    const notices = noticesOf(name, row, now, watchChannel);
    values.push(
      notices.map(([to]) => to!),
      notices.map(([, payload]) => payload!),
    );
    return { answers, row, removes, values };
  }

  #written(
    { name, offers, since }: Job,
    { answers, row, removes }: Change,
    [stored]: readonly Row[],
  ): readonly unknown[] | undefined {
    if (stored === undefined) return undefined;
    if (removes) return answers;
    const granted = [...row.state.handedOver];
    this.known.note(name, row, decodeStamp(stored.stamp as Buffer));
    offers.grant(name, granted, since);
    return answers;
  }
}
