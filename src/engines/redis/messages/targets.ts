import type { SeekTarget } from "../../../contracts/messages.ts";
import type { Argument } from "../connection.ts";

/** A target that has been checked, as `positions.part.lua` reads it. */
export function targetArguments(target: SeekTarget): readonly Argument[] {
  if (typeof target === "string") return [target];
  if ("at" in target) return ["at", target.at];
  const pairs = [...target.positions];
  return ["positions", pairs.length, ...pairs.flatMap(([partition, position]) => [partition, Number(position)])];
}
