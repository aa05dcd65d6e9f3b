import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import {
  type ConformanceCase,
  type ConformanceHost,
  keyValueCases,
  messageCases,
  type RunningEngine,
  runCase,
} from "tenon/conformance";
import { type EmbeddedEngine, embedded, memory } from "tenon/embedded";
import { simulatedWorld } from "tenon/simulation";
import { systemWorld } from "tenon/world";
import { mortalWorld } from "./mortal-world.ts";

type Host = ConformanceHost<EmbeddedEngine>;

/** Real time passes while cases wait, so several wait at once. */
const concurrentCases = 6;
/** `TENON_SEED=7` repeats the runs of one seed. */
const seeds =
  process.env.TENON_SEED !== undefined
    ? [Number(process.env.TENON_SEED)]
    : Array.from({ length: process.env.TENON_SLOW === "1" ? 20 : 1 }, (_, index) => index + 1);

// A host's timers may be such that do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

function suite(name: string, runs: number, run: (each: ConformanceCase<EmbeddedEngine>) => ReturnType<typeof runCase>) {
  const cases = [...messageCases, ...keyValueCases.map((each) => ({ ...each, name: `key-values: ${each.name}` }))];
  describe(name, { concurrency: runs }, () => {
    for (const each of cases) {
      test(`${each.name}`, async (context) => {
        const outcome = await run(each);
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}

const realMemory: Host = {
  async start() {
    const engine = await memory();
    return { engine, stop: () => engine.close() };
  },
};

const realDisk: Host = {
  async start() {
    const directory = await mkdtemp(join(tmpdir(), "tenon-conformance-"));
    let world = mortalWorld(systemWorld());
    let engine = await embedded({ directory, world });
    return {
      get engine() {
        return engine;
      },
      async crash() {
        await world.die();
        world = mortalWorld(systemWorld());
        engine = await embedded({ directory, world });
      },
      async stop() {
        await engine.close();
        await rm(directory, { recursive: true });
      },
    };
  },
};

/** Every call of the world is an event of one virtual time line: the same seed gives the same run. */
function simulated(
  seed: number,
  start: (simulation: ReturnType<typeof simulatedWorld>) => Promise<RunningEngine<EmbeddedEngine>>,
) {
  return (each: ConformanceCase<EmbeddedEngine>) => {
    const simulation = simulatedWorld({ seed });
    const host: Host = { patienceMs: Number.POSITIVE_INFINITY, start: () => start(simulation) };
    return simulation.run(() => runCase(each, host));
  };
}

suite("memory()", concurrentCases, (each) => runCase(each, realMemory));

suite("embedded() on a real disk", concurrentCases, (each) => runCase(each, realDisk));

for (const seed of seeds) {
  suite(
    `memory() in simulated time, seed ${seed}`,
    1,
    simulated(seed, async ({ world }) => {
      const engine = await memory({ world });
      return { engine, exactTime: true, stop: () => engine.close() };
    }),
  );

  // With small segments every case goes through sealing, snapshots and cleaning as well.
  for (const segmentBytes of [undefined, 64 * 1024]) {
    const segments = segmentBytes === undefined ? "" : ` in segments of ${segmentBytes} bytes`;
    suite(
      `embedded() on a simulated disk that loses and tears what was not synced${segments}, seed ${seed}`,
      1,
      simulated(seed, async (simulation) => {
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
      }),
    );
  }
}

test("the names of the cases are unique sentences, and every case names its rule", () => {
  for (const cases of [messageCases, keyValueCases]) {
    const names = cases.map((each) => each.name);
    assert.equal(new Set(names).size, names.length);
    for (const { name, rule } of cases) assert.ok(name.includes(" ") && rule.includes(" ") && !name.endsWith("."));
  }
});
