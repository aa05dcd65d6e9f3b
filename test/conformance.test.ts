import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import {
  type ConformanceHost,
  keyValueCases,
  leaseCases,
  logCases,
  messageCases,
  rateCases,
  runCase,
} from "tenon/conformance";
import { type EmbeddedEngine, embedded, memory } from "tenon/embedded";
import { systemWorld } from "tenon/world";
import { conformanceSuite } from "./conformance-suite.ts";
import { mortalWorld } from "./mortal-world.ts";

type Host = ConformanceHost<EmbeddedEngine>;

/** Real time passes while cases wait, so several wait at once. */
const concurrency = 6;

// The timers of an engine do not keep the process alive while a case waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

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

conformanceSuite("memory()", concurrency, (each) => runCase(each, realMemory));

conformanceSuite("embedded() on a real disk", concurrency, (each) => runCase(each, realDisk));

test("the names of the cases are unique sentences, and every case names its rule", () => {
  for (const cases of [messageCases, keyValueCases, leaseCases, logCases, rateCases]) {
    const names = cases.map((each) => each.name);
    assert.equal(new Set(names).size, names.length);
    for (const { name, rule } of cases) assert.ok(name.includes(" ") && rule.includes(" ") && !name.endsWith("."));
  }
});
