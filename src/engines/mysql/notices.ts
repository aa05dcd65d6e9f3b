import type { Ear, HearNotice } from "../relational/listener.ts";
import type { Session } from "../relational/session.ts";
import type { Sql } from "../relational/sql.ts";
import type { Tables } from "../relational/tables.ts";
import { ask } from "./commands.ts";
import { noticesOf } from "./tables.ts";

/** What is told stays so long. */
const keptMs = 60_000;
const trimEveryMs = 10_000;
/** Who has not looked for so long may have missed something. */
const missedMs = keptMs / 2;
/** Numbers are given in the order of asking, not of committing: one that was passed by is looked for so long. */
const gapMs = 2_000;
const gapsMax = 256;
const rowsMax = 1_000;
/** After something was told there is more to come, often. */
const firstMs = 5;

/** Tells, within transactions, what others look for. Sessions that did so are remembered until they have committed. */
export class Notices {
  readonly #tell: ReturnType<typeof ask>;
  readonly #told = new WeakSet<Sql>();

  constructor(tables: Tables) {
    this.#tell = ask(`INSERT INTO ${noticesOf(tables)} (channel, payload) VALUES $1`);
  }

  async tell(sql: Sql, notices: readonly (readonly [channel: string, payload: string])[]): Promise<void> {
    if (notices.length === 0) return;
    await this.#tell(sql, notices);
    this.note(sql);
  }

  /** The session changes something that can be seen without a notice. */
  note(sql: Sql): void {
    this.#told.add(sql);
  }

  hasTold(sql: Sql): boolean {
    return this.#told.delete(sql);
  }
}

export interface EarParts {
  readonly tables: Tables;
  /** Hears of every commit of key-values, which is seen by their last version. */
  readonly keyValueChannel: string;
  readonly monotonic: () => number;
  /** The longest pause between two looks. */
  readonly noticeMs: number;
}

/** Looks for what was told: soon after there was something, and less and less often while there is nothing. */
export class NoticeEar implements Ear {
  readonly #session: Session;
  readonly #hear: HearNotice;
  readonly #parts: EarParts;
  readonly #heads: ReturnType<typeof ask>;
  readonly #after: ReturnType<typeof ask>;
  readonly #among: ReturnType<typeof ask>;
  readonly #old: ReturnType<typeof ask>;
  readonly #forget: ReturnType<typeof ask>;
  /** Numbers below that were not there when they were passed by, and since when. */
  readonly #gaps = new Map<number, number>();
  #last: number | undefined;
  #version: number | undefined;
  #delayMs: number;
  #lookedAt: number;
  #trimmedAt: number;

  constructor(session: Session, hear: HearNotice, parts: EarParts) {
    const { meta } = parts.tables;
    const notices = noticesOf(parts.tables);
    this.#session = session;
    this.#hear = hear;
    this.#parts = parts;
    this.#delayMs = parts.noticeMs;
    this.#lookedAt = parts.monotonic();
    this.#trimmedAt = this.#lookedAt;
    this.#heads = ask(
      `SELECT value AS version, (SELECT MAX(id) FROM ${notices}) AS last FROM ${meta} WHERE name = 'version'`,
    );
    this.#after = ask(`SELECT id, channel, payload FROM ${notices} WHERE id > $1 ORDER BY id LIMIT ${rowsMax}`);
    this.#among = ask(`SELECT id, channel, payload FROM ${notices} WHERE id IN ($1)`);
    this.#old = ask(
      `SELECT MAX(id) AS id FROM (SELECT id, told_at FROM ${notices} ORDER BY id LIMIT ${5 * rowsMax}) o WHERE told_at < NOW(6) - INTERVAL ${keptMs / 1_000} SECOND`,
    );
    this.#forget = ask(`DELETE FROM ${notices} WHERE id <= $1`);
  }

  /** All channels are looked at together. From here on nothing is missed. */
  async listen(): Promise<void> {
    if (this.#last === undefined) await this.look();
  }

  async leave(): Promise<void> {}

  async look(): Promise<number> {
    const now = this.#parts.monotonic();
    const late = now - this.#lookedAt > missedMs;
    const [row] = await this.#heads(this.#session);
    this.#lookedAt = now;
    const version = Number(row!.version);
    const last = row!.last === null ? undefined : Number(row!.last);
    let found = this.#version !== undefined && version !== this.#version;
    this.#version = version;
    if (found) this.#hear(this.#parts.keyValueChannel, "");
    if (this.#last === undefined || late || (last !== undefined && last < this.#last)) {
      this.#last = last ?? this.#last ?? 0;
      if (late) this.#gaps.clear();
      this.#hear();
    } else {
      found = (await this.#lookForGaps(now)) || found;
      if (last !== undefined && last > this.#last) found = (await this.#read(now)) || found;
    }
    await this.#trimNowAndThen(now);
    this.#delayMs = found ? firstMs : Math.min(this.#parts.noticeMs, this.#delayMs * 2);
    return Math.min(this.#delayMs, this.#parts.noticeMs);
  }

  async #read(now: number): Promise<boolean> {
    const rows = await this.#after(this.#session, this.#last!);
    for (const row of rows) {
      const id = Number(row.id);
      for (let gap = Math.max(this.#last! + 1, id - gapsMax); gap < id; gap++) this.#gaps.set(gap, now);
      this.#last = id;
      this.#tell(row);
    }
    return rows.length > 0;
  }

  async #lookForGaps(now: number): Promise<boolean> {
    let left = this.#gaps.size;
    for (const [id, since] of this.#gaps) {
      if (left > gapsMax || now - since > gapMs) this.#gaps.delete(id);
      left -= 1;
    }
    if (this.#gaps.size === 0) return false;
    const rows = await this.#among(this.#session, [...this.#gaps.keys()]);
    for (const row of rows) {
      this.#gaps.delete(Number(row.id));
      this.#tell(row);
    }
    return rows.length > 0;
  }

  #tell({ channel, payload }: Readonly<Record<string, unknown>>): void {
    this.#hear((channel as Buffer).toString(), (payload as Buffer).toString());
  }

  async #trimNowAndThen(now: number): Promise<void> {
    if (now - this.#trimmedAt < trimEveryMs) return;
    this.#trimmedAt = now;
    const [row] = await this.#old(this.#session);
    if (row!.id === null) return;
    // Somebody else may be at it; a session that has ended tells so at the next look.
    await this.#forget(this.#session, Number(row!.id)).catch(() => undefined);
  }
}
