import type { Command } from "../sql.ts";

/** What leases ask of their table, which has a row for each name that somebody holds or waits for. */
export interface LeaseCommands {
  /** Names → name, state; locked, one after the other in the order of the names. A name without a row has an empty state, and is locked, too. */
  readonly lock: Command;
  /** How many → `now`, and a token each, greater than all that were given before to who held the same locks; none: one row with `now`. */
  readonly draw: Command;
  /** What is carried out in one go, where a row can be stamped as it is written; see `StampedWrites`. When left out, a row is its state. */
  readonly stamped?: StampedCommands | undefined;
  /** Names, states, ends; names that nobody holds or waits for; channels, and what to tell each. The names are locked. */
  readonly write: Command;
  /** A name → `now`, state or null. */
  readonly describe: Command;
  /** Takes names out that ended by themselves. */
  readonly sweep: Command;
}

/**
 * Writes of one name by themselves, if its row is the one that is expected. They answer a row then, and none when nothing was written. A row that is written lasts for no less than it is said to, and
 * may last for some minutes more.
 */
export interface StampedCommands {
  /** A name; makes its row if there is none, and then locks it. It has no bytes, and so no stamp. */
  readonly make: Command;
  /** A name whose row nobody needs: idle, or without bytes; what to write behind the new stamp, how long it lasts; channels, and what to tell each → `stamp`. */
  readonly occupy: Command;
  /** A name, its stamp, from which instant until which the write makes sense; what to write behind the new stamp, how long it lasts; channels, and what to tell each → `stamp`. */
  readonly replace: Command;
  /** A name, its stamp; leaves the row idle, for `keptMs`. */
  readonly vacate: Command;
  /** A name, its stamp. */
  readonly remove: Command;
}
