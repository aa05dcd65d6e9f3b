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
  /** Its last reading. */
  untilMs: number;
  readonly aheadMs: number;
  /** Whether the clock was set when it began, or stood still before. */
  readonly set: boolean;
  /** Whether the process stood still when it began, or before. */
  readonly stopped: boolean;
  /** How often the clock was set back until it began. */
  readonly setBacks: number;
}

/** What lies between two pieces. */
interface Change {
  readonly step: number;
  /** Between the readings around it. */
  readonly gapMs: number;
  readonly set: boolean;
  readonly stopped: boolean;
  /** Whether it surely lies in the stretch that was asked for. */
  readonly certain: boolean;
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
    const gapMs = last === undefined ? 0 : atMs - last.untilMs;
    const set =
      last !== undefined && Math.abs(aheadMs - last.aheadMs) > gapMs * this.#driftMax + 2 * (slackMs + pieceMs);
    const setBack = set && aheadMs - last!.aheadMs < -2 * slackMs;
    const setBacks = (last?.setBacks ?? 0) + (setBack ? 1 : 0);
    this.#pieces.push({ fromMs: atMs, untilMs: atMs, aheadMs, set, stopped, setBacks });
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
    let min = untilMs - fromMs;
    let max = min;
    for (const { step, gapMs, set, certain } of this.#changes(fromMs, untilMs)) {
      // What was set back between two readings may have gone forward in the whole gap, or in a part of it.
      const least = set && step < 0 ? Math.max(step, -gapMs) : step;
      const most = set && step < 0 ? 0 : step;
      min += certain ? least : Math.min(least, 0);
      max += certain ? most : Math.max(most, 0);
    }
    const uncertainMs = 2 * (slackMs + pieceMs);
    return { min: Math.max(0, min - uncertainMs), max: Math.max(0, max) + uncertainMs };
  }

  setBacks(fromMs: number, untilMs: number): number {
    const pieces = this.#pieces;
    let first = this.#firstAt(fromMs);
    while (first + 1 < pieces.length && pieces[first + 1]!.fromMs < fromMs) first += 1;
    // A piece may have begun as soon as the one before it was read last.
    let last = Math.max(first, this.#firstAt(untilMs));
    while (last + 1 < pieces.length && pieces[last]!.untilMs <= untilMs) last += 1;
    return last === first ? 0 : pieces[last]!.setBacks - pieces[first]!.setBacks;
  }

  steady(fromMs: number, untilMs: number, driftMax: number): boolean {
    let aheadMs = 0;
    for (const { step, set, stopped } of this.#changes(fromMs, untilMs)) {
      if (set || stopped) return false;
      aheadMs += step;
    }
    return Math.abs(aheadMs) <= (untilMs - fromMs) * driftMax + 2 * (slackMs + pieceMs);
  }

  *#changes(fromMs: number, untilMs: number): Generator<Change> {
    let last: Piece | undefined;
    for (const [piece] of this.#within(fromMs, untilMs)) {
      if (last !== undefined) {
        yield {
          step: piece.aheadMs - last.aheadMs,
          gapMs: piece.fromMs - last.untilMs,
          set: piece.set,
          stopped: piece.stopped,
          certain: last.untilMs >= fromMs && piece.fromMs <= untilMs,
        };
      }
      last = piece;
    }
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
