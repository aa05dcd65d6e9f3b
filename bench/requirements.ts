import type { Row } from "./harness.ts";
import { median, pairedRatios } from "./statistics.ts";

/** `ours` must be at least `atLeast` times `theirs` in this scenario, or at most `atMost` times. */
export type RequiredRatio = {
  readonly scenario: string;
  readonly ours: string;
  readonly theirs: string;
} & ({ readonly atLeast: number } | { readonly atMost: number });

/** A figure that must stay below a bound. */
export interface RequiredLimit {
  readonly what: string;
  readonly value: number;
  readonly below: number;
  readonly unit: string;
}

export interface Verdict {
  readonly text: string;
  /** `undefined`: could not be compared, because a side was not measured. */
  readonly holds: boolean | undefined;
}

/** What must be found again, at least. */
export interface RequiredContent {
  readonly what: string;
  readonly found: number;
  readonly atLeast: number;
}

/** The median, over the rounds, of ours divided by theirs. */
export function judgeRatio(required: RequiredRatio, rows: readonly Row[]): Verdict {
  const { scenario, ours, theirs } = required;
  const find = (peer: string) => rows.find((row) => row.scenario === scenario && row.peer === peer);
  const [left, right] = [find(ours), find(theirs)];
  const bound = "atLeast" in required ? `≥ ${required.atLeast}` : `≤ ${required.atMost}`;
  const claim = `${scenario}: ${ours} ${bound} × ${theirs}`;
  if (left === undefined || right === undefined) {
    return { text: `${claim} – not measured: ${left === undefined ? ours : theirs}`, holds: undefined };
  }
  const ratios = pairedRatios(left.rounds, right.rounds);
  const ratio = median(ratios);
  const holds = "atLeast" in required ? ratio >= required.atLeast : ratio <= required.atMost;
  return { text: `${claim} – is ${ratio.toFixed(2)} ×${spreadOf(ratios)}`, holds };
}

/** From the round with the smallest ratio to that with the greatest one. */
function spreadOf(ratios: readonly number[]): string {
  if (ratios.length < 2) return "";
  return ` (${Math.min(...ratios).toFixed(2)} – ${Math.max(...ratios).toFixed(2)})`;
}

export function judgeLimit({ what, value, below, unit }: RequiredLimit): Verdict {
  const digits = Number.isInteger(value) ? 0 : 2;
  return { text: `${what} < ${below} ${unit} – is ${value.toFixed(digits)} ${unit}`, holds: value < below };
}

export function judgeContent({ what, found, atLeast }: RequiredContent): Verdict {
  return { text: `${what} ≥ ${atLeast} – is ${found}`, holds: found >= atLeast };
}
