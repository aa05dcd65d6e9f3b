import { runSystem } from "./simulated-system.ts";
import type { Scenario, SimulateOptions, SimulationReport } from "./system.ts";

/**
 * Runs a scenario in a world made from the seed: named processes on machines of their own, the network between them, and one
 * virtual time. Faults strike for `safetyMs`; then everything heals, and the scenario has to resolve within `livenessMs`. Rejects with a
 * `SimulationFailure` that says which rule was broken.
 */
export function simulate(options: SimulateOptions, scenario: Scenario): Promise<SimulationReport> {
  return runSystem(options, scenario);
}
