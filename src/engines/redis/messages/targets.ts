import { TenonError } from "../../../contracts/errors.ts";
import type { SeekTarget } from "../../../contracts/messages.ts";
import type { Argument } from "../connection.ts";

/** The target as `positions.part.lua` reads it. `invalid` when it is none. */
export function targetArguments(topic: string, target: SeekTarget): readonly Argument[] {
  if (target === "now" || target === "earliest") return [target];
  if (typeof target === "object" && target !== null) {
    if ("at" in target && Number.isFinite(target.at)) return ["at", target.at];
    if ("positions" in target && target.positions instanceof Map) {
      const pairs = [...(target.positions as ReadonlyMap<number, bigint>)];
      return ["positions", pairs.length, ...pairs.flatMap(([partition, position]) => [partition, Number(position)])];
    }
  }
  const allowed = '"now", "earliest", { at: an instant in ms } or { positions: a Map by partition }';
  throw new TenonError("invalid", `a group of topic ${topic} cannot start there; give ${allowed}`);
}
