import type { Scenario, SimulateOptions } from "../../src/simulation/index.ts";

/**
 * What a module in scenarios/ exports as `scenario`. `npm run simulate -- --scenario NAME` and the tests find it by the name of its file,
 * which is its name.
 */
export interface ScenarioDefinition {
  readonly name: string;
  /** What the scenario needs to differ from the defaults. Faults are `"swarm"` unless it says otherwise. */
  readonly options?: Partial<Omit<SimulateOptions, "seed">> | undefined;
  readonly run: Scenario;
}
