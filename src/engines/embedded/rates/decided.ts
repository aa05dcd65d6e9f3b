import type { RateDecision } from "../../../contracts/rates.ts";

/** A decision that is taken. */
export interface Decided {
  readonly decision: RateDecision;
  /** The journal's batch with which everything that it goes by is durable. */
  readonly batch: number;
}
