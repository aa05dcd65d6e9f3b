import type { Scenario, SimulateOptions, SimulationReport } from "./system.ts";

/**
 * Runs a scenario in a world made from the seed: named processes on machines of their own, the network between them, and one
 * virtual time. Rejects with a `SimulationFailure` when something is wrong.
 */
export async function simulate(_options: SimulateOptions, _scenario: Scenario): Promise<SimulationReport> {
  throw new Error("not there yet");
}
