import { TenonError } from "../../contracts/errors.ts";

/** The names of one engine's tables. */
export interface Tables {
  readonly prefix: string;
  readonly meta: string;
  readonly fences: string;
  readonly keyValues: string;
  readonly leases: string;
  readonly tokens: string;
  readonly rates: string;
  readonly topics: string;
  readonly partitions: string;
  readonly runs: string;
  readonly delayed: string;
  readonly groups: string;
  readonly lanes: string;
  readonly producers: string;
  readonly ids: string;
}

/** What brings tables of an earlier version up to date. `steps`: from version 1 to 2, from 2 to 3, … */
export function stepsFrom<T>(from: number, steps: readonly T[]): readonly T[] {
  if (Number.isInteger(from) && from >= 1 && from <= steps.length + 1) return steps.slice(from - 1);
  const text = `from is the version of the tables that are there, 1 to ${steps.length + 1}, not ${from}. Leave it out where there are none.`;
  throw new TenonError("invalid", text);
}

export function tablesOf(prefix: string): Tables {
  if (typeof prefix !== "string" || !/^[a-z_][a-z0-9_]{0,29}$/.test(prefix)) {
    throw new TenonError(
      "invalid",
      `prefix must be 1 to 30 lower-case letters, digits and underscores, not ${JSON.stringify(prefix)}`,
    );
  }
  return {
    prefix,
    meta: `${prefix}_meta`,
    fences: `${prefix}_fences`,
    keyValues: `${prefix}_key_values`,
    leases: `${prefix}_leases`,
    tokens: `${prefix}_lease_tokens`,
    rates: `${prefix}_rates`,
    topics: `${prefix}_topics`,
    partitions: `${prefix}_partitions`,
    runs: `${prefix}_runs`,
    delayed: `${prefix}_delayed`,
    groups: `${prefix}_groups`,
    lanes: `${prefix}_lanes`,
    producers: `${prefix}_producers`,
    ids: `${prefix}_message_ids`,
  };
}
