import {
  type FaultChoice,
  type FaultKind,
  type FaultSettings,
  faultKinds,
  type Span,
} from "./faults/fault-settings.ts";
import type { ProcessOptions, SimulateOptions } from "./system.ts";

/** Whoever misspells a fault must not get a green test without faults. */
export function checkOptions(options: SimulateOptions): void {
  if (typeof options !== "object" || options === null) throw new TypeError("simulate() needs options with a seed");
  const { seed, faults, safetyMs, livenessMs, startsAt, eventsMax, without } = options;
  if (!Number.isSafeInteger(seed)) throw new RangeError(`seed is a safe integer, not ${String(seed)}`);
  checkNumber("safetyMs", safetyMs, 0, Number.MAX_SAFE_INTEGER);
  checkNumber("livenessMs", livenessMs, 0, Number.MAX_SAFE_INTEGER);
  checkNumber("startsAt", startsAt, 0, 8.64e15);
  checkNumber("eventsMax", eventsMax, 1, Number.MAX_SAFE_INTEGER);
  for (const number of without ?? []) {
    if (!Number.isSafeInteger(number) || number < 0) {
      throw new RangeError(`without holds the numbers of planned faults, from 0, not ${String(number)}`);
    }
  }
  if (faults !== undefined) checkFaults(faults);
}

function checkFaults(choice: FaultChoice): void {
  if (choice === "lite" || choice === "performance" || choice === "swarm") return;
  if (typeof choice !== "object" || choice === null) {
    throw new TypeError(`faults are "lite", "performance", "swarm" or an object, not ${JSON.stringify(choice)}`);
  }
  if ("swarm" in choice) {
    if (!Array.isArray(choice.swarm)) throw new TypeError("faults.swarm is a list of kinds");
    for (const kind of choice.swarm) checkKind(kind);
    checkSpans(choice.settings ?? {});
    return;
  }
  if (typeof choice.perMinute !== "object" || choice.perMinute === null) {
    throw new TypeError("faults say perMinute how often each kind strikes, or swarm: a list of kinds");
  }
  for (const [kind, rate] of Object.entries(choice.perMinute)) {
    checkKind(kind);
    checkNumber(`faults.perMinute["${kind}"]`, rate, 0, 100_000);
  }
  const { perMinute: _, ...spans } = choice;
  checkSpans(spans);
}

function checkKind(kind: unknown): void {
  if (faultKinds.includes(kind as FaultKind)) return;
  throw new RangeError(`there is no fault ${JSON.stringify(kind)}; there are ${faultKinds.join(", ")}`);
}

const spanNames = ["downMs", "pauseMs", "partitionMs", "slowMs", "outageMs", "clockStepMs", "clockDrift"];

function checkSpans(spans: Omit<FaultSettings, "perMinute">): void {
  for (const [name, span] of Object.entries(spans) as [string, Span | undefined][]) {
    if (!spanNames.includes(name)) throw new RangeError(`faults have no ${name}; there are ${spanNames.join(", ")}`);
    if (span === undefined) continue;
    const { min, max } = span;
    const limit = name === "clockDrift" ? 0.99 : Number.MAX_SAFE_INTEGER;
    if (!(min > 0 && max >= min && max <= limit)) {
      throw new RangeError(`${name} needs 0 < min <= max <= ${limit}, not ${String(min)} and ${String(max)}`);
    }
  }
}

export function checkProcess(name: unknown, main: unknown, options: ProcessOptions): void {
  if (typeof name !== "string" || !/^[^\s/:]+$/.test(name)) {
    throw new TypeError(`a process has a name that can be its host's, not ${JSON.stringify(name)}`);
  }
  if (typeof main !== "function") throw new TypeError(`the main of ${name} is a function`);
  const { faults = {}, restart, whenMainFails, capacityBytes } = options;
  for (const protection of Object.keys(faults)) {
    checkWord(`faults of process ${name}`, protection, ["crash", "pause", "clock", "disk"]);
  }
  if (restart !== undefined) checkWord("restart", restart, ["supervised", "by hand"]);
  if (whenMainFails !== undefined) checkWord("whenMainFails", whenMainFails, ["fail", "restart"]);
  checkNumber("capacityBytes", capacityBytes, 0, Number.MAX_SAFE_INTEGER);
}

export function checkWord(what: string, word: unknown, words: readonly string[]): void {
  if (words.includes(word as string)) return;
  throw new RangeError(`${what}: ${words.join(", ")}, not ${JSON.stringify(word)}`);
}

export function checkNumber(what: string, value: unknown, min: number, max: number): void {
  if (value === undefined || (typeof value === "number" && value >= min && value <= max)) return;
  throw new RangeError(`${what} is a number from ${min} to ${max}, not ${String(value)}`);
}
