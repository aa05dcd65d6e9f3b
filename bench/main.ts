/** `npm run bench -- <name>`: see `--help`. */
import { backlog } from "./backlog.ts";
import { engines } from "./engines.ts";
import { flashSale } from "./flash-sale.ts";
import { journal } from "./journal.ts";
import { limiters } from "./limiters.ts";
import { messaging } from "./messaging.ts";
import { type BenchmarkName, type BenchmarkOptions, parseOptions, USAGE, UsageError } from "./options.ts";
import { redis } from "./redis.ts";
import { topics } from "./topics.ts";

const benchmarks: Record<BenchmarkName, (options: BenchmarkOptions) => Promise<number>> = {
  journal,
  messaging,
  "flash-sale": flashSale,
  backlog,
  topics,
  limiters,
  redis,
  engines,
};

process.exitCode = await main(process.argv.slice(2));

async function main(commandLine: readonly string[]): Promise<number> {
  try {
    const options = parseOptions(commandLine);
    if (options !== "help") return await benchmarks[options.name](options);
    console.log(USAGE);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`bench: ${error.message} (see --help)`);
    return 2;
  }
}
