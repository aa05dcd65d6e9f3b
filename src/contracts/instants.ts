import { TenonError } from "./errors.ts";

/** Refuses what is no instant of a message. `name`: of the option that it was given as. */
export function checkInstant(name: "dueAt" | "expiresAt", topic: string, given: unknown): void {
  if (Number.isFinite(given)) return;
  const shown = typeof given === "string" ? JSON.stringify(given) : String(given);
  const text = `${name} of a message for topic ${topic} is ${shown}, not an instant in ms since the epoch`;
  throw new TenonError("invalid", text, { fields: { topic } });
}
