/** A process that runs seeds, one after the other, for the parent that started it: `seed-worker.ts`. */
import type { ScenarioDefinition } from "../../test/simulation/scenario.ts";
import type { ChildMessage, SeedJob } from "./seed-job.ts";
import { runSeed } from "./seed-run.ts";

const [scenarioDirectory] = process.argv.slice(2) as [string];
const scenarios = new Map<string, ScenarioDefinition>();

// The loop turns between two events: while this is heard, events happen. A run that goes on for ever with events is stopped by the simulator.
setInterval(() => say({ type: "alive" }), 500);

process.on("message", async (job: SeedJob) => {
  let scenario: ScenarioDefinition;
  try {
    scenario = await scenarioCalled(job.scenario);
  } catch (error) {
    say({ type: "not loaded", error: String(error) });
    return;
  }
  say({ type: "alive" });
  say({ type: "done", outcome: await runSeed(scenario, job) });
});
process.on("disconnect", () => process.exit(0));

async function scenarioCalled(name: string): Promise<ScenarioDefinition> {
  const known = scenarios.get(name);
  if (known !== undefined) return known;
  const file = new URL(`${name}.ts`, scenarioDirectory);
  const { scenario } = (await import(file.href)) as { scenario?: ScenarioDefinition };
  if (scenario === undefined) throw new Error(`${name}.ts exports no \`scenario\``);
  if (scenario.name !== name) throw new Error(`${name}.ts exports a scenario called "${scenario.name}"`);
  scenarios.set(name, scenario);
  return scenario;
}

function say(message: ChildMessage): void {
  process.send?.(message);
}
