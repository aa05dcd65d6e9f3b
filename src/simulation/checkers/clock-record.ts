/** What a machine's wall clock showed in the course of a run, as the rules that go by an engine's clock need it. Instants are virtual ms. */
export interface ClockReadings {
  /** The least and the greatest that it may have shown between the two instants, both included. */
  between(fromMs: number, untilMs: number): { readonly min: number; readonly max: number };
  /**
   * By how much it went forward between the two instants, at least and at most. Setting it back counts as standing still: what an engine counted before stays for as long as if it had
   * just happened.
   */
  advanced(fromMs: number, untilMs: number): { readonly min: number; readonly max: number };
  /** How often it was set back between the two instants, at most. */
  setBacks(fromMs: number, untilMs: number): number;
  /** Whether it ran between the two instants without a step or a standstill, gaining or losing no more than that share. */
  steady(fromMs: number, untilMs: number, driftMax: number): boolean;
}

/** A clock that shows the virtual time itself: what is meant where nobody says otherwise. */
export const rightClock: ClockReadings = {
  between: (min, max) => ({ min, max }),
  advanced: (fromMs, untilMs) => ({ min: untilMs - fromMs, max: untilMs - fromMs }),
  setBacks: () => 0,
  steady: () => true,
};

/** Wall clocks show whole milliseconds, so a reading may be this far from what the clock would say. */
const slackMs = 1;
/** A piece gets another one when the clock has come apart from it by so much. */
const pieceMs = 1;

/** A stretch in which the clock stayed a constant ahead of virtual time, or nearly. */
interface Piece {
  /** Its first reading. */
  readonly fromMs: number;
  untilMs: number;
  readonly aheadMs: number;
  /** Whether the process was stopped, or its clock turned out to have stepped, just before it. */
  readonly disturbed: boolean;
}

/**
 * Takes readings of a clock and answers what it showed in between. The more readings, the less is uncertain: a step may have happened at any instant
 * between the readings around it. Take one after every event (as a condition of `until` that stays false does) and nothing is uncertain at all.
 */
export class ClockRecord implements ClockReadings {
  readonly #pieces: Piece[] = [];
  readonly #driftMax: number;
  #stopped = false;

  /** `driftMax`: what it gains or loses more than that (as a share) is a step. */
  constructor(driftMax = 0.02) {
    this.#driftMax = driftMax;
  }

  /** `running`: whether the machine's process runs, and is not paused. */
  read(atMs: number, wallMs: number, running = true): void {
    const aheadMs = wallMs - atMs;
    const last = this.#pieces.at(-1);
    const stopped = this.#stopped || !running;
    this.#stopped = !running;
    if (last !== undefined && Math.abs(aheadMs - last.aheadMs) <= pieceMs && !stopped) {
      last.untilMs = atMs;
      return;
    }
    const stepped =
      last !== undefined && Math.abs(aheadMs - last.aheadMs) > (atMs - last.untilMs + 100) * this.#driftMax + 2 * slackMs;
    this.#pieces.push({ fromMs: atMs, untilMs: atMs, aheadMs, disturbed: stopped || stepped });
  }

  between(fromMs: number, untilMs: number): { readonly min: number; readonly max: number } {
    let min = Number.POSITIVE_INFINITY;
    let max = Number.NEGATIVE_INFINITY;
    for (const [piece, earliestMs, latestMs] of this.#within(fromMs, untilMs)) {
      min = Math.min(min, Math.max(fromMs, earliestMs) + piece.aheadMs);
      max = Math.max(max, Math.min(untilMs, latestMs) + piece.aheadMs);
    }
    return { min: min - slackMs - pieceMs, max: max + slackMs + pieceMs };
  }

  advanced(fromMs: number, untilMs: number): { readonly min: number; readonly max: number } {
    let forwardMs = untilMs - fromMs;
    let last: Piece | undefined;
    for (const [piece] of this.#within(fromMs, untilMs)) {
      if (last !== undefined) {
        const step = piece.aheadMs - last.aheadMs;
        // Set back by less than what has passed since, it only went forward by less.
        forwardMs += piece.disturbed && step < 0 ? Math.max(step, -(piece.fromMs - last.untilMs)) : step;
      }
      last = piece;
    }
    const uncertainMs = 2 * (slackMs + pieceMs) + this.#uncertainMs(fromMs, untilMs);
    return { min: Math.max(0, forwardMs - uncertainMs), max: Math.max(0, forwardMs) + uncertainMs };
  }

  setBacks(fromMs: number, untilMs: number): number {
    let count = 0;
    let last: Piece | undefined;
    for (const [piece] of this.#within(fromMs, untilMs)) {
      if (last !== undefined && piece.disturbed && piece.aheadMs < last.aheadMs - 2 * slackMs) count += 1;
      last = piece;
    }
    return count;
  }

  steady(fromMs: number, untilMs: number, driftMax: number): boolean {
    let first: Piece | undefined;
    let last: Piece | undefined;
    for (const [piece] of this.#within(fromMs, untilMs)) {
      if (first !== undefined && piece.disturbed) return false;
      first ??= piece;
      last = piece;
    }
    if (first === undefined || last === undefined) return false;
    return Math.abs(last.aheadMs - first.aheadMs) <= (untilMs - fromMs) * driftMax + 2 * (slackMs + pieceMs);
  }

  /** Steps at the edges may lie inside or outside of what is asked for: that much is uncertain. */
  #uncertainMs(fromMs: number, untilMs: number): number {
    let uncertainMs = 0;
    let last: Piece | undefined;
    for (const [piece] of this.#within(fromMs, untilMs)) {
      if (last !== undefined && piece.disturbed && (last.untilMs < fromMs || piece.fromMs > untilMs)) {
        uncertainMs += Math.abs(piece.aheadMs - last.aheadMs);
      }
      last = piece;
    }
    return uncertainMs;
  }

  /** The pieces that may hold at some instant between the two, and from when and until when each may. */
  *#within(fromMs: number, untilMs: number): Generator<readonly [Piece, number, number]> {
    const pieces = this.#pieces;
    for (let index = this.#firstAt(fromMs); index < pieces.length; index++) {
      const piece = pieces[index]!;
      const earliestMs = index === 0 ? Number.NEGATIVE_INFINITY : pieces[index - 1]!.untilMs;
      const latestMs = index === pieces.length - 1 ? Number.POSITIVE_INFINITY : pieces[index + 1]!.fromMs;
      if (earliestMs > untilMs) return;
      if (latestMs >= fromMs) yield [piece, earliestMs, latestMs];
    }
  }

  /** An index from which on pieces may reach to the instant. */
  #firstAt(atMs: number): number {
    let from = 0;
    let to = this.#pieces.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#pieces[middle]!.untilMs < atMs) from = middle + 1;
      else to = middle;
    }
    return Math.max(0, from - 1);
  }
}
