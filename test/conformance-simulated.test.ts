/**
 * Every call of the world is an event of one virtual time line: a seed gives the same run each time, and waiting takes no
 * time. `TENON_SEED=7` repeats the runs of one seed.
 */
import { type ConformanceCase, type ConformanceHost, type RunningEngine, runCase } from "tenon/conformance";
import { type EmbeddedEngine, embedded, memory } from "tenon/embedded";
import { type Simulation, simulatedWorld } from "tenon/simulation";
import { conformanceSuite } from "./conformance-suite.ts";

const seedCount = process.env.TENON_SLOW === "1" ? 8 : 1;
const seeds =
  process.env.TENON_SEED !== undefined
    ? [Number(process.env.TENON_SEED)]
    : Array.from({ length: seedCount }, (_, index) => index + 1);

function simulated(seed: number, start: (simulation: Simulation) => Promise<RunningEngine<EmbeddedEngine>>) {
  return (each: ConformanceCase<EmbeddedEngine>) => {
    const simulation = simulatedWorld({ seed });
    const host: ConformanceHost<EmbeddedEngine> = {
      patienceMs: Number.POSITIVE_INFINITY,
      start: () => start(simulation),
    };
    return simulation.run(() => runCase(each, host));
  };
}

async function startMemory({ world }: Simulation): Promise<RunningEngine<EmbeddedEngine>> {
  const engine = await memory({ world });
  return { engine, exactTime: true, stop: () => engine.close() };
}

async function startEmbedded(
  simulation: Simulation,
  segmentBytes: number | undefined,
): Promise<RunningEngine<EmbeddedEngine>> {
  const options = { directory: "/data", segmentBytes };
  let engine = await embedded({ ...options, world: simulation.world });
  return {
    exactTime: true,
    get engine() {
      return engine;
    },
    async crash() {
      simulation.crash();
      engine = await embedded({ ...options, world: simulation.restart() });
    },
    stop: () => engine.close(),
  };
}

for (const seed of seeds) {
  conformanceSuite(`memory() in simulated time, seed ${seed}`, 1, simulated(seed, startMemory));

  // With small segments every case goes through sealing, snapshots and cleaning as well.
  for (const segmentBytes of [undefined, 64 * 1024]) {
    const segments = segmentBytes === undefined ? "" : ` in segments of ${segmentBytes} bytes`;
    conformanceSuite(
      `embedded() on a simulated disk that loses and tears what was not synced${segments}, seed ${seed}`,
      1,
      simulated(seed, (simulation) => startEmbedded(simulation, segmentBytes)),
    );
  }
}
