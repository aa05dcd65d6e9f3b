import { parseArgs } from "node:util";
import { numbersFrom } from "./fault-numbers.ts";

export const faultWords = ["lite", "performance", "swarm"] as const;
export type FaultWord = (typeof faultWords)[number];

export interface SimulateCommand {
  readonly scenarios: readonly string[];
  /** How many seeds each scenario gets; `undefined`: as many as the time allows. */
  readonly seedsMax: number | undefined;
  readonly from: number | "random";
  readonly jobs: number;
  readonly timeMs: number | undefined;
  /** `undefined`: what the scenario says. */
  readonly faults: FaultWord | undefined;
  readonly without: readonly number[];
  readonly twiceEvery: number;
  readonly seedTimeoutMs: number;
  readonly bail: boolean;
  readonly shrink: boolean;
  /** Where the timeline goes; `"-"`: standard output. */
  readonly trace: string | undefined;
  readonly json: boolean;
}

/** What the machine and the repository decide. */
export interface Surroundings {
  readonly scenarios: readonly string[];
  readonly cores: number;
}

export const usage = `Usage: npm run simulate -- --scenario NAME|all [--seeds N] [--from SEED|random] [--time S] [--jobs N]
                            [--faults ${faultWords.join("|")}] [--without 3,5-9] [--twice-every N] [--seed-timeout S]
                            [--bail] [--no-shrink] [--trace [FILE]] [--json]

  --scenario NAME    a file of test/simulation/scenarios; may be given several times; all: every one of them
  --seeds N          how many seeds each scenario runs (default 100; with --time as many as it allows)
  --from SEED        the first seed (default 1); random: a fresh one, which is printed
  --time S           no seed is begun after so many seconds; those under way get 20 more
  --jobs N           how many processes run seeds (default: the cores, at most 2)
  --faults WORD      what befalls the runs (default: what the scenario says, else swarm)
  --without N,N-N    leaves planned faults out, by number; for one seed
  --twice-every N    each N-th seed runs twice and must go the same way (default 50; 0: none)
  --seed-timeout S   a process that lets no event happen for so long is ended, and its seed fails (default 60)
  --bail             stops at the first failure
  --no-shrink        does not look for the faults that a failure needs
  --trace [FILE]     writes a timeline of one seed, to standard output when no file is named
  --json             one JSON document on standard output
  --help             this text

Exit code 0: every seed passed. 1: some failed. 2: the arguments are wrong, or a scenario cannot be loaded.`;

/** More than any time allows. */
const SEEDS_IN_TIME_MAX = 2 ** 40;

/** A mistake in the command line; its message is one line for the person who typed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What is asked for, or `"help"`. Throws `UsageError`. */
export function parseCommand(commandLine: readonly string[], surroundings: Surroundings): SimulateCommand | "help" {
  const values = parse(withTraceTarget(commandLine));
  if (values.help) return "help";
  const without = faultNumbers(values.without);
  const single = values.trace !== undefined || without.length > 0;
  const seedsMax = wholeNumber("--seeds", values.seeds, 1, Number.MAX_SAFE_INTEGER);
  const timeMs = seconds("--time", values.time);
  const scenarios = chosen(values.scenario ?? [], surroundings.scenarios);
  if (single && ((seedsMax ?? 1) !== 1 || scenarios.length !== 1)) {
    throw new UsageError(
      `--${values.trace === undefined ? "without" : "trace"} is for one seed of one scenario: say --seeds 1 and --from`,
    );
  }
  if (values.trace === "") throw new UsageError("--trace needs the name of a file, or nothing after it");
  if (values.trace === "-" && values.json) {
    throw new UsageError("--trace and --json both write to standard output: name a file after --trace");
  }
  const seedsChosen = single ? 1 : (seedsMax ?? (timeMs === undefined ? 100 : undefined));
  return {
    scenarios,
    seedsMax: seedsChosen,
    from: firstSeed(values.from, seedsChosen ?? SEEDS_IN_TIME_MAX),
    jobs: wholeNumber("--jobs", values.jobs, 1, 256) ?? Math.max(1, Math.min(2, surroundings.cores)),
    timeMs,
    faults: faultWord(values.faults),
    without,
    twiceEvery: wholeNumber("--twice-every", values["twice-every"], 0, Number.MAX_SAFE_INTEGER) ?? 50,
    seedTimeoutMs: seconds("--seed-timeout", values["seed-timeout"]) ?? 60_000,
    bail: values.bail,
    shrink: !values["no-shrink"],
    trace: values.trace,
    json: values.json,
  };
}

function parse(commandLine: readonly string[]) {
  try {
    const { values } = parseArgs({
      args: [...commandLine],
      options: {
        scenario: { type: "string", multiple: true },
        seeds: { type: "string" },
        from: { type: "string" },
        time: { type: "string" },
        jobs: { type: "string" },
        faults: { type: "string" },
        without: { type: "string" },
        "twice-every": { type: "string" },
        "seed-timeout": { type: "string" },
        bail: { type: "boolean", default: false },
        "no-shrink": { type: "boolean", default: false },
        trace: { type: "string" },
        json: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
    return values;
  } catch (error) {
    throw new UsageError((error as Error).message.split(/\. |\n/)[0]!, { cause: error });
  }
}

/** `--trace` may stand without a file; the parser knows no option whose value may be left out. */
function withTraceTarget(commandLine: readonly string[]): string[] {
  return commandLine.map((word, index) => {
    const next = commandLine[index + 1];
    return word === "--trace" && (next === undefined || next.startsWith("--")) ? "--trace=-" : word;
  });
}

function chosen(asked: readonly string[], known: readonly string[]): readonly string[] {
  const choices = [...known, "all"].join(", ");
  if (asked.length === 0) throw new UsageError(`say which --scenario to run: ${choices}`);
  const unknown = asked.find((name) => name !== "all" && !known.includes(name));
  if (unknown !== undefined) throw new UsageError(`there is no scenario "${unknown}"; choose among: ${choices}`);
  if (known.length === 0) throw new UsageError("there are no scenarios");
  return asked.includes("all") ? known : [...new Set(asked)];
}

function firstSeed(text: string | undefined, seeds: number): number | "random" {
  if (text === "random") return "random";
  const seed = Number(text ?? 1);
  if (text === "" || !Number.isSafeInteger(seed)) {
    throw new UsageError(`--from must be a whole number or "random", not "${text}"`);
  }
  if (seed > Number.MAX_SAFE_INTEGER - (seeds - 1)) {
    throw new UsageError(
      `--from ${text ?? 1} leaves no room for the seeds: the last one may be ${Number.MAX_SAFE_INTEGER}`,
    );
  }
  return seed;
}

function faultWord(text: string | undefined): FaultWord | undefined {
  const word = faultWords.find((candidate) => candidate === text);
  if (text !== undefined && word === undefined) {
    throw new UsageError(`--faults must be one of ${faultWords.join(", ")}, not "${text}"`);
  }
  return word;
}

function faultNumbers(text: string | undefined): readonly number[] {
  if (text === undefined) return [];
  const numbers = numbersFrom(text);
  if (numbers === undefined) throw new UsageError(`--without must be numbers such as 3,5-9, not "${text}"`);
  return numbers;
}

function wholeNumber(name: string, text: string | undefined, min: number, max: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === "" || !Number.isInteger(value) || value < min || value > max) {
    throw new UsageError(`${name} must be a whole number from ${min}${bounded(max)}, not "${text}"`);
  }
  return value;
}

function bounded(max: number): string {
  return max === Number.MAX_SAFE_INTEGER ? "" : ` to ${max}`;
}

function seconds(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() === "" || !(value > 0) || value > 1_000_000) {
    throw new UsageError(`${name} must be a number of seconds above 0, not "${text}"`);
  }
  return value * 1_000;
}
