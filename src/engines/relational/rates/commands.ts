import type { Command } from "../sql.ts";

/** What rates ask of their table, which has a row for each key of a rule. */
export interface RateCommands {
  /** Keys → key, state, ends_at; locked, one after the other in the order of the keys. A key without a row has an empty state, and is locked, too. */
  readonly lock: Command;
  /** → `now`. */
  readonly now: Command;
  /** Keys, states, ends; keys that go. The keys are locked. */
  readonly write: Command;
  /** Takes keys out that are as good as unused. */
  readonly sweep: Command;
}
