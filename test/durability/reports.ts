import type { Operation } from "./history.ts";

/** What the process that is going to be killed is told. */
export interface WorkOrder {
  readonly directory: string;
  readonly round: number;
  readonly seed: number;
  readonly segmentBytes: number;
  /** Whether messages are published with ids. Their segments must stay for two minutes, and then nothing is cleaned. */
  readonly ids: boolean;
}

/** What it says: each call before it makes it, and what became of it; a line of JSON each, written before anything else happens. */
export type Report =
  | { readonly type: "opened" }
  | { readonly type: "calls"; readonly call: number; readonly operation: Operation; readonly mark?: PublishMark }
  | {
      readonly type: "answered";
      readonly call: number;
      readonly committed?: boolean;
      readonly positions?: readonly string[];
    }
  | { readonly type: "refused"; readonly call: number; readonly outcome: string; readonly message: string }
  | {
      readonly type: "granted";
      readonly topic: string;
      readonly group: string;
      readonly partition: number;
      readonly fence: string;
    };

/** With what an append can be repeated. */
export interface PublishMark {
  readonly producer?: { readonly id: string; readonly epoch: number; readonly sequence: number } | undefined;
  readonly ids?: readonly string[] | undefined;
}

/** A generator of whole numbers below a bound, from a seed (mulberry32). */
export function below(seed: number): (bound: number) => number {
  let state = seed >>> 0;
  return (bound) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * bound);
  };
}

export const topicsOfRound = ["orders", "events", "later", "invoices"] as const;
export const partitionsOfTopic = 2;
