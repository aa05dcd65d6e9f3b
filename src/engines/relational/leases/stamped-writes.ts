import type { LeaseInstant } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import type { Stamp } from "../../shared/leases/lease-entries.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Command, Parameter, Row } from "../sql.ts";
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
  /** Its own, unless it is idle: such a one will do whoever wrote it. */
  readonly stamp: Stamp;
  /** A guess. */
  readonly now: number;
  readonly until: number;
}

/** What is to be written. */
interface Change {
  readonly answers: readonly unknown[];
  readonly row: LeaseRow;
  readonly removes: boolean;
  readonly command: Command;
  readonly values: readonly Parameter[];
  /** What it was when it was sent, as far as it is known. */
  readonly now: number;
}

/**
 * Writes a name without looking at it first, in one go, if its row is still the one that this process wrote last, or if nobody needs the name. The server stamps what it writes with its clock and with
 * a number, from which instants and the token count: the number is drawn when the row is locked, or drawn anew when the row had changed until it was. No two rows have the same stamp. What cannot be written so is
 * left to who looks at it under a lock. A name that is taken while nobody needs it, and given back when nobody else does, needs no more said than that.
 */
export class StampedWrites {
  readonly #parts: StampedParts;
  readonly known: KnownRows;

  constructor(parts: StampedParts) {
    this.#parts = parts;
    this.known = new KnownRows(parts.world.clock);
  }

  /** Whether it is worth while to try `begin`: somebody wants a name of which nothing is known, and nobody needs to know what time it is. */
  canBegin(name: string, asked: readonly Asked[]): boolean {
    if (!this.known.isUnheardOf(name) || !asked[0]!.grants) return false;
    return asked.every(({ grants, givesUp }) => grants || givesUp);
  }

  /**
   * For a name that nobody needs; in a transaction that pipelines, which is committed next. Answers how to learn what came of it then: answers, or `undefined` when nothing was done. `undefined` when nothing
   * was sent.
   */
  begin(transaction: Transaction, job: Job): (() => Promise<readonly unknown[] | undefined>) | undefined {
    const row = LeaseRow.idle();
    const expected = { row, stamp: { now: 0, number: 0 }, now: 0, until: Number.POSITIVE_INFINITY };
    const change = this.#apply(job, expected);
    if (change === undefined || row.isIdle) return undefined;
    void transaction.send(this.#parts.commands.make, [Buffer.from(job.name)]);
    const answer = transaction.send(change.command, change.values);
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
    const { row, stamp, heardAt } = known;
    // As good a guess as there is; where it matters, the server sees to it that nothing has ended before its own.
    const now = stamp.now + Math.max(0, job.since.monotonic - heardAt);
    const until = row.state.nextEndAt;
    if (now >= until) return undefined;
    const change = this.#apply(job, { row, stamp, now, until });
    if (change === undefined) return undefined;
    const { connection } = this.#parts;
    const stored = await connection.write("an operation on leases", change.command, change.values);
    const answers = this.#written(job, change, stored);
    if (answers === undefined) this.known.doubt(job.name);
    return answers;
  }

  #apply({ name, asked, offers }: Job, { row, stamp, now, until }: Expected): Change | undefined {
    const { channel, watchChannel, commands } = this.#parts;
    const wasIdle = row.isIdle;
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
    if (isUnused) row.watchedUntil = 0;
    const change = { answers, row, removes: false, now };
    const key = Buffer.from(name);
    if (isUnused && !wasIdle && asked.every(({ givesUp }) => givesUp)) {
      // Those who have a row were its last ones, so that nobody is to be told.
      const removes = !this.known.isFrequent(name);
      const command = removes ? commands.remove : commands.vacate;
      return { ...change, removes, command, values: [key, encodeStamp(stamp)] };
    }
    const from = wasIdle ? now : stamp.now;
    // It lasts for no less than that from the write on, whatever has passed since then.
    const lastsMs = isUnused ? keptMs : Math.ceil(row.endsAt - from);
    const notices = noticesOf(name, row, now, watchChannel);
    const written: Parameter[] = [
      row.encodeUnstamped(),
      lastsMs,
      notices.map(([to]) => to!),
      notices.map(([, payload]) => payload!),
    ];
    if (wasIdle) return { ...change, command: commands.occupy, values: [key, ...written] };
    return { ...change, command: commands.replace, values: [key, encodeStamp(stamp), from, until, ...written] };
  }

  #written(
    { name, offers, since }: Job,
    { answers, row, removes, now }: Change,
    [stored]: readonly Row[],
  ): readonly unknown[] | undefined {
    if (stored === undefined) return undefined;
    if (removes) return answers;
    const granted = [...row.state.handedOver];
    const stamp = stored.stamp === undefined ? { now, number: 0 } : decodeStamp(stored.stamp as Buffer);
    this.known.note(name, row, stamp);
    offers.grant(name, granted, since);
    return answers;
  }
}
