import type { Clock } from "../../../world/world.ts";
import type { Stamp } from "../../shared/leases/lease-entries.ts";
import { LastKept } from "./last-kept.ts";
import type { LeaseRow } from "./lease-row.ts";

/** What a row was when this process wrote it. */
export interface Known {
  readonly row: LeaseRow;
  readonly stamp: Stamp;
  /** When the answer came, by this process's clock. */
  readonly heardAt: number;
}

/** A row was not what it was known as: others write it, too. `looked`: it was looked at since, and so it is once more before it is taken for known again. */
type Doubt = "changed" | "looked";

/** About eight thousand names that one holder has each; a name that thousands share or wait for takes as much as hundreds of them. */
const rowsBytesMax = 8 * 1024 * 1024;
const madeBytesMax = 1024 * 1024;
/** What a row takes in memory: its own objects, and those for each holder and each that waits, which are several times as large as what is written of them. */
const rowBytes = 500;
const memoryPerWritten = 4;

/** A row that nobody needs is kept for so long where that saves making it again. */
export const keptMs = 10_000;

/** The rows that this process wrote last, as far as it knows, and which of them it uses again and again. */
export class KnownRows {
  readonly #clock: Clock;
  readonly #rows = new LastKept<Known | Doubt>(rowsBytesMax);
  /** How often a row had to be made for a name, or would have had to; the names that were counted last. */
  readonly #made = new LastKept<number>(madeBytesMax);

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How much memory they take, about. */
  get bytes(): number {
    return this.#rows.bytes + this.#made.bytes;
  }

  /** Nothing at all is known of it, also not that others use it. */
  isUnheardOf(name: string): boolean {
    const known = this.#rows.get(name);
    if (known === undefined) return true;
    if (typeof known === "string" || !known.row.isIdle) return false;
    // It may be about to be deleted.
    const isLeft = this.#clock.monotonic() - known.heardAt > keptMs / 2;
    if (isLeft) this.#rows.delete(name);
    return isLeft;
  }

  /** From now on it is not known any more. */
  take(name: string): Known | undefined {
    const known = this.#rows.get(name);
    if (known === undefined || typeof known === "string") return undefined;
    this.#rows.delete(name);
    return known;
  }

  /** It was written like this, and the answer came just now. The stamp of an idle row need not be its own: it says what time it is there. */
  note(name: string, row: LeaseRow, stamp: Stamp): void {
    const before = this.#rows.get(name);
    row.state.stamp(stamp);
    const known = { row, stamp, heardAt: this.#clock.monotonic() };
    if (before === "changed") this.#rows.keep(name, "looked", 0);
    else this.#rows.keep(name, known, rowBytes + memoryPerWritten * row.writtenBytes);
  }

  /** It was not as it was known. */
  doubt(name: string): void {
    this.#rows.keep(name, "changed", 0);
  }

  forget(name: string): void {
    this.#rows.delete(name);
  }

  /** A row was made for it, or would have been if none had been there. */
  made(name: string): void {
    this.#made.keep(name, (this.#made.get(name) ?? 0) + 1, 0);
  }

  /** Whether it is made again and again. */
  isFrequent(name: string): boolean {
    return (this.#made.get(name) ?? 0) > 1;
  }
}
