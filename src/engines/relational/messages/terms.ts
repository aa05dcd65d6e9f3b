import type { BatchRefusal } from "../../lanes/batches.ts";
import type { Row } from "../sql.ts";
import type { Tables } from "../tables.ts";

/*
 * On what terms a topic takes a batch, beside what its producer's sequence says. Where it is appended under the lock of the partition's row, they are asked for here; where one request appends by itself, they are its condition. What is
 * added to one belongs to the other.
 */

export function refusedBySeal(partition: Row): BatchRefusal | undefined {
  const sealed = (partition.sealed as Buffer).toString();
  return sealed === "" ? undefined : { refused: "sealed", sealed };
}

export interface Limit {
  readonly countMax: number;
  readonly evicts: boolean;
}

export function limitOf(partition: Row): Limit | undefined {
  if (partition.count_max === null) return undefined;
  return { countMax: Number(partition.count_max), evicts: String(partition.when_full) === "evict" };
}

/** Whether a batch without ids and delays can be appended as it is to the partition `p`: no term has to be looked at, and nothing is due that comes first. In the SQL of every server. */
export function takesAtOnce(t: Tables, now: string): string {
  return `p.sealed = '' AND EXISTS (SELECT 1 FROM ${t.topics} t WHERE t.id = p.topic AND t.count_max IS NULL) AND (p.due_at IS NULL OR p.due_at > ${now})`;
}
