import { TenonError } from "../../contracts/errors.ts";

/** `invalid` for a duration that is none; timers cannot wait for 2^31 ms. */
export function checkMs(durations: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(durations)) {
    if (typeof value === "number" && value > 0 && value < 2 ** 31) continue;
    throw new TenonError("invalid", `${name} must be a number of milliseconds above 0, not ${value}`);
  }
}

/** `invalid` for a word that the option does not know. */
export function checkWord(option: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new TenonError("invalid", `${option} is one of ${allowed.join(", ")}, not ${JSON.stringify(value)}`);
}
