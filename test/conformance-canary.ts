/** An engine with a fault has to fail the case that holds it to what it breaks, and to fail it for that reason: without the fault it does not. */
import assert from "node:assert/strict";
import { type ConformanceCase, type RunningEngine, runCase } from "tenon/conformance";
import { simulatedWorld } from "tenon/simulation";
import type { World } from "tenon/world";

export interface Canary<Engine> {
  readonly cases: readonly ConformanceCase<Engine>[];
  /** The case's name. */
  readonly caughtBy: string;
  readonly sound: (world: World) => Promise<Engine>;
  readonly broken: (world: World) => Promise<Engine>;
}

export async function mustBeFound<Engine>({ cases, caughtBy, sound, broken }: Canary<Engine>): Promise<void> {
  const found = cases.find((each) => each.name === caughtBy);
  assert.ok(found !== undefined, `there is no case "${caughtBy}"`);
  assert.notEqual(await outcomeOf(found, sound), "failed");
  assert.equal(await outcomeOf(found, broken), "failed");
}

async function outcomeOf<Engine>(
  found: ConformanceCase<Engine>,
  open: (world: World) => Promise<Engine>,
): Promise<"passed" | "skipped" | "failed"> {
  const simulation = simulatedWorld({ seed: 1 });
  const start = async (): Promise<RunningEngine<Engine>> => {
    let engine = await open(simulation.world);
    return {
      exactTime: true,
      get engine() {
        return engine;
      },
      async crash() {
        simulation.crash("lost");
        engine = await open(simulation.restart());
      },
      stop: async () => undefined,
    };
  };
  try {
    return (await simulation.run(() => runCase(found, { patienceMs: Number.POSITIVE_INFINITY, start }))).outcome;
  } catch (error) {
    assert.ok(error instanceof Error);
    return "failed";
  }
}
