import { TenonError } from "../../contracts/errors.ts";
import { type Requirement, type Survives, survivalLevels } from "../shared/requirements.ts";

export type { Requirement, ServerState, Survives } from "../shared/requirements.ts";

/** Refuses a server that promises less than what was stated. `but`: what it promises, and what to set. */
export function checkStated(stated: Survives | undefined, survives: Survives, but: string): void {
  if (stated === undefined || survivalLevels.indexOf(stated) <= survivalLevels.indexOf(survives)) return;
  throw new TenonError("invalid", `survives is "${stated}", but ${but}; or leave survives out.`, {
    fields: { stated, survives },
  });
}

/** How many processes have room, each with so many connections and one that listens. */
export function connectionsOf(value: string, free: number, connectionsMax: number): Requirement {
  const processes = Math.floor(free / (connectionsMax + 1));
  const ok = processes >= 4;
  const meaning = `With connectionsMax ${connectionsMax}, ${processes} processes have room${ok ? "." : "; raise max_connections, or lower connectionsMax."}`;
  return { setting: "max_connections", value, ok, meaning };
}
