import { parseArgs } from "node:util";

export const BENCHMARKS = [
  "journal",
  "messaging",
  "flash-sale",
  "backlog",
  "topics",
  "limiters",
  "redis",
  "engines",
] as const;
export type BenchmarkName = (typeof BENCHMARKS)[number];

export interface BenchmarkOptions {
  readonly name: BenchmarkName;
  /** How many times everything is measured; medians are taken over the rounds. */
  readonly rounds: number;
  /** One round and shorter measurements: a smoke test of the figures, not the figures. */
  readonly quick: boolean;
  /** Where the JSON goes; `bench/results/<name>.json` when left out. */
  readonly jsonPath: string | undefined;
  /** Only the scenarios whose names contain this are measured; all when left out. */
  readonly only: string | undefined;
}

/** Whose scenarios can be told apart by name. */
const WITH_SCENARIOS: readonly BenchmarkName[] = ["redis", "engines"];

export const USAGE = `Usage: npm run bench -- ${BENCHMARKS.join(" | ")} [--rounds N] [--json FILE] [--quick] [--only TEXT]

  journal      group commit: the bare loop in Node and Tenon's journal, with and without fdatasync
  messaging    publish, consume + settle and latency: Tenon embedded, BullMQ, Redis Streams, NATS JetStream
  flash-sale   the example over HTTP against a bare node:http server
  backlog      ten million messages: resident memory, size on disk, time to reopen
  limiters     decisions per second: Tenon's limiters and rate-limiter-flexible
  redis        Tenon on Redis: its scripts bare, BullMQ, redlock, redis-semaphore
  engines      Tenon on each server that it runs on, and a bare client of the same server
  topics       10,000 topics with 8 partitions: files, descriptors, time to open

  --rounds N   rounds to take medians over (default 5; 1 with --quick)
  --json FILE  where to write the figures (default bench/results/<name>.json)
  --quick      one round of short measurements
  --only TEXT  redis, engines: only the scenarios whose names contain it, such as locks, decisions, "publish, 64", kafka
  --help       this text

Exit code 0: every required ratio and limit holds. 1: one is broken. 2: the arguments are wrong.`;

/** A mistake in the command line; its message is one line for the person who typed it. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The options asked for, or `"help"`. Throws `UsageError`. */
export function parseOptions(commandLine: readonly string[]): BenchmarkOptions | "help" {
  const { values, positionals } = parse(commandLine);
  if (values.help) return "help";
  const [name, ...extra] = positionals;
  if (name === undefined) throw new UsageError(`say which benchmark to run: ${BENCHMARKS.join(", ")}`);
  if (!isBenchmark(name))
    throw new UsageError(`there is no benchmark "${name}"; choose one of: ${BENCHMARKS.join(", ")}`);
  if (extra.length > 0) throw new UsageError(`one benchmark at a time; "${extra[0]}" is one too many`);
  const rounds = values.rounds === undefined ? (values.quick ? 1 : 5) : Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 100) {
    throw new UsageError(`--rounds must be a whole number from 1 to 100, not "${values.rounds}"`);
  }
  if (values.json === "") throw new UsageError("--json needs the name of a file");
  if (values.only === "") throw new UsageError("--only needs a part of a scenario's name");
  if (values.only !== undefined && !WITH_SCENARIOS.includes(name)) {
    throw new UsageError(`--only is for ${WITH_SCENARIOS.join(", ")}; "${name}" is measured as a whole`);
  }
  return { name, rounds, quick: values.quick, jsonPath: values.json, only: values.only };
}

function parse(commandLine: readonly string[]) {
  try {
    return parseArgs({
      args: [...commandLine],
      allowPositionals: true,
      options: {
        rounds: { type: "string" },
        json: { type: "string" },
        only: { type: "string" },
        quick: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message.split(/\. |\n/)[0]!, { cause: error });
  }
}

function isBenchmark(name: string): name is BenchmarkName {
  return (BENCHMARKS as readonly string[]).includes(name);
}
