import type { Command } from "../sql.ts";

/** What leases ask of their table, which has a row for each name that somebody holds or waits for. */
export interface LeaseCommands {
  /** Names → name, state; locked, one after the other in the order of the names. A name without a row has an empty state, and is locked, too. */
  readonly lock: Command;
  /** How many → `now`, and a token each, greater than all that were given before to who held the same locks; none: one row with `now`. */
  readonly draw: Command;
  /** Names, states, ends; names that nobody holds or waits for; channels, and what to tell each. The names are locked. */
  readonly write: Command;
  /** A name → `now`, state or null. */
  readonly describe: Command;
  /** Takes names out that ended by themselves. */
  readonly sweep: Command;
}
