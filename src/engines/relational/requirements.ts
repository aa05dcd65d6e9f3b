import { TenonError } from "../../contracts/errors.ts";

export type Survives = "nothing" | "process" | "machine" | "replicas";

/** A setting of the server that the engine's promises rest on. */
export interface Requirement {
  /** As the server names it. */
  readonly setting: string;
  readonly value: string;
  /** Whether it is as it should be. */
  readonly ok: boolean;
  /** What follows from it, and what to do where it is not as it should be. */
  readonly meaning: string;
}

export interface ServerState {
  readonly requirements: readonly Requirement[];
  readonly survives: Survives;
}

const levels: readonly Survives[] = ["nothing", "process", "machine", "replicas"];

/** Refuses a server that promises less than what was stated. `but`: what it promises, and what to set. */
export function checkStated(stated: Survives | undefined, survives: Survives, but: string): void {
  if (stated === undefined || levels.indexOf(stated) <= levels.indexOf(survives)) return;
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
