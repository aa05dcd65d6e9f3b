import { TenonError } from "../../contracts/errors.ts";
import type { SeekTarget } from "../../contracts/messages.ts";

/** `invalid` when it is no target. */
export function checkTarget(topic: string, target: SeekTarget): void {
  if (target === "now" || target === "earliest") return;
  if (typeof target === "object" && target !== null) {
    if ("at" in target && Number.isFinite(target.at)) return;
    if ("positions" in target && target.positions instanceof Map) return;
  }
  const allowed = '"now", "earliest", { at: an instant in ms } or { positions: a Map by partition }';
  throw new TenonError("invalid", `a group of topic ${topic} cannot start there; give ${allowed}`);
}
