import { TenonError } from "../contracts/errors.ts";

/** An option that counts something: an integer from `min` to `max`. */
export function countOption(
  name: string,
  value: number | undefined,
  fallback: number,
  min = 1,
  max = Number.MAX_SAFE_INTEGER,
): number {
  const chosen = value ?? fallback;
  if (Number.isSafeInteger(chosen) && chosen >= min && chosen <= max) return chosen;
  const bounds = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
  throw new TenonError("invalid", `${name} is ${chosen}; it must be an integer ${bounds}.`);
}

/** Timers of JavaScript cannot wait longer than this. */
export const durationMsMax = 2 ** 31 - 1;

/** An option that is a time in milliseconds, greater than 0. */
export function durationOption(name: string, value: number | undefined, fallback: number): number {
  const chosen = value ?? fallback;
  if (typeof chosen === "number" && chosen > 0 && chosen <= durationMsMax) return chosen;
  throw new TenonError(
    "invalid",
    `${name} is ${chosen}; it must be a number of milliseconds from 1 to ${durationMsMax}.`,
  );
}
