/** Runs scenarios under many seeds: `npm run simulate -- --scenario NAME`. See `--help` and docs/simulation.md. */
import { availableParallelism } from "node:os";
import { parseCommand, UsageError, usage } from "./options.ts";
import { scenariosIn } from "./scenarios.ts";
import { ScenarioError } from "./seed-job.ts";
import { ownHost, type SeedHost } from "./seed-worker.ts";
import { ENDED_BY_SIGNAL, simulateSeeds } from "./simulate-seeds.ts";

/** Tests of this program let it run scenarios of their own. */
const { TENON_SCENARIOS } = process.env;
const host: SeedHost = TENON_SCENARIOS === undefined ? ownHost : { ...ownHost, scenarios: new URL(TENON_SCENARIOS) };

const code = await main(process.argv.slice(2));
if (code === ENDED_BY_SIGNAL) process.exit(code);
process.exitCode = code;

async function main(commandLine: readonly string[]): Promise<number> {
  try {
    const surroundings = { scenarios: scenariosIn(host.scenarios), cores: availableParallelism() };
    const command = parseCommand(commandLine, surroundings);
    if (command !== "help") return await simulateSeeds(command, host);
    console.log(`${usage}\n\nScenarios: ${surroundings.scenarios.join(", ")}`);
    return 0;
  } catch (error) {
    if (error instanceof ScenarioError) console.error(error.message);
    else if (error instanceof UsageError) console.error(`simulate: ${error.message} (see --help)`);
    else throw error;
    return 2;
  }
}
