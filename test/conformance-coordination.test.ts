/** The coordination block's cases, in real and in simulated time. `TENON_SEED=7` repeats the simulated runs of one seed. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { type ConformanceHost, type CoordinatingEngine, coordinationCases, runCase } from "tenon/conformance";
import { embedded, memory } from "tenon/embedded";
import { simulatedWorld } from "tenon/simulation";

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const realMemory: ConformanceHost<CoordinatingEngine> = {
  async start() {
    const engine = await memory();
    return { engine, stop: () => engine.close() };
  },
};

describe("coordination on memory()", { concurrency: 6 }, () => {
  for (const each of coordinationCases) {
    test(each.name, async (context) => {
      const outcome = await runCase(each, realMemory);
      if (outcome.outcome === "skipped") context.skip(outcome.reason);
    });
  }
});

const seedCount = process.env.TENON_SLOW === "1" ? 8 : 2;
const seeds =
  process.env.TENON_SEED !== undefined
    ? [Number(process.env.TENON_SEED)]
    : Array.from({ length: seedCount }, (_, index) => index + 1);

for (const seed of seeds) {
  describe(`coordination on embedded() on a simulated disk, seed ${seed}`, () => {
    for (const each of coordinationCases) {
      test(each.name, async (context) => {
        const simulation = simulatedWorld({ seed });
        const host: ConformanceHost<CoordinatingEngine> = {
          patienceMs: Number.POSITIVE_INFINITY,
          async start() {
            let engine = await embedded({ directory: "/data", world: simulation.world });
            return {
              exactTime: true,
              get engine() {
                return engine;
              },
              async crash() {
                simulation.crash();
                engine = await embedded({ directory: "/data", world: simulation.restart() });
              },
              stop: () => engine.close(),
            };
          },
        };
        const outcome = await simulation.run(() => runCase(each, host));
        if (outcome.outcome === "skipped") context.skip(outcome.reason);
      });
    }
  });
}

test("the names of the coordination cases are unique sentences, and every case names its rule", () => {
  const names = coordinationCases.map((each) => each.name);
  assert.equal(new Set(names).size, names.length);
  for (const { name, rule } of coordinationCases) {
    assert.ok(name.includes(" ") && rule.includes(" ") && !name.endsWith("."));
  }
});
