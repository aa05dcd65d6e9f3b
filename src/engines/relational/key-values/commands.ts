import type { Command } from "../sql.ts";

/** What key-values ask of their table. A deleted key keeps its row, without a value, until its delete is forgotten. */
export interface KeyValueCommands {
  /** Keys → key, value, version, expires_at of those that are there and have not ended. */
  readonly get: Command;
  /** The last version, locked until the end of the transaction: so versions are in the order of the commits. */
  readonly lock: Command;
  /** Keys → `now`, with key, value, version, expires_at of those that are there, ended or not; one row without them when none is. */
  readonly met: Command;
  /** Keys, values (null: deleted), versions, ends; the instant; the last version; whom to tell. */
  readonly write: Command;
  /** Deletes keys whose time has passed by an instant, under the version that comes next, and tells a channel; the last version is locked. */
  readonly end: Command;
  /** Forgets deletes from before an instant. */
  readonly forget: Command;
  /** Locks the last version as `lock` does, and answers `now`; nothing when somebody else has it. */
  readonly trySweep: Command;
  /**
   * From a key on, to below another (null: all), so many rows, including the first or not → `at`, the last version at that instant, and key, value, version, expires_at of those that are there,
   * ascending, as far as one answer can be large; `count` is higher than their number when there are more. One row without a key when there is none.
   */
  readonly page: Command;
  /**
   * Changes since a version of keys with one of some prefixes, ascending by version and only whole versions → `at`, `forgotten`, `now`, `ends`, when the next key ends, `server`, how the server names itself for as long as it
   * lives, and key, value, version, expires_at, count as `page`.
   */
  readonly changes: Command;
  /** After how many rows an answer ends. */
  readonly rowsMax: number;
}
