import { isCode, TenonError } from "../contracts/errors.ts";

export function countOption(name: string, value: number, min: number): number {
  if (Number.isSafeInteger(value) && value >= min) return value;
  throw new TenonError("invalid", `${name} is ${value}; it must be a whole number from ${min}.`);
}

export function durationOption(name: string, value: number): number {
  if (typeof value === "number" && value >= 0) return value;
  throw new TenonError("invalid", `${name} is ${value}; it must be a number of milliseconds from 0.`);
}

const pattern = /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*$/;
/** Three names and some digits make the name of a writer, which engines take up to 255 bytes of. */
const lengthMax = 100;

export function checkName(kind: "log" | "pipe", name: string): void {
  if (typeof name === "string" && name.length <= lengthMax && pattern.test(name)) return;
  throw new TenonError(
    "invalid",
    `The name of a ${kind} is 1 to ${lengthMax} letters, digits, "_" and "-", in parts joined by single dots; ${JSON.stringify(name)} is none.`,
  );
}

/** The wait before an engine that failed is asked again; `attempt` counts from 0, `random` is uniform in [0, 1). */
export function engineBackoffMs(attempt: number, random: number): number {
  const ceiling = Math.min(2_000, 25 * 2 ** attempt);
  return ceiling / 2 + random * (ceiling / 2);
}

/** An outage, or a limit that is reached: who can wait tries again. */
export function isPassing(error: unknown): boolean {
  return isCode(error, "unavailable", "overloaded");
}
