import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { contestantsOf, ENGINE_BENCHMARKS, scenariosOf } from "./engine-contestants.ts";
import { engines } from "./engines.ts";
import { UsageError } from "./options.ts";

const place = { url: "test://127.0.0.1:1", directory: "", prefix: "bench0", quick: true };
const messaging = ["postgres", "mariadb", "redis", "rabbitmq", "nats", "kafka"];
const locks = ["postgres", "etcd", "zookeeper"];

test("every engine is judged by rate and p99, with 64 and with 1,024 at once", () => {
  const figures = (part: string) =>
    ENGINE_BENCHMARKS.flatMap((engine) => {
      const required = scenariosOf(engine, false).flatMap((each) => each.required);
      const judged = required.filter(
        ({ scenario }) => scenario.startsWith(`${engine.name}: `) && scenario.includes(part),
      );
      return judged.length === 0 ? [] : [[engine.name, judged.length] as const];
    });
  const each = (names: readonly string[], count: number) => names.map((name) => [name, count] as const);
  assert.deepEqual(figures(": publish, 64 in flight"), each(messaging, 2));
  assert.deepEqual(figures(": publish, 1,024 in flight"), each(messaging, 2));
  assert.deepEqual(figures(": consume + settle, "), each(messaging, 2));
  assert.deepEqual(figures(": publish to handler, "), each(messaging, 2));
  assert.deepEqual(figures(": locks, "), each(locks, 4));
});

test("what is required compares two that take part in the scenario, of which one is ours", () => {
  for (const engine of ENGINE_BENCHMARKS) {
    for (const { scenario, required } of scenariosOf(engine, false)) {
      for (const { ours, theirs } of required) {
        assert.deepEqual([theirs, ours], scenario.peers);
        assert.match(ours, /^tenon/);
        assert.match(theirs, /^bare/);
      }
    }
  }
});

test("whoever takes part in a scenario can be started, and stores under names of its own", () => {
  for (const engine of ENGINE_BENCHMARKS) {
    const contestants = contestantsOf(engine, place);
    const names = new Set(scenariosOf(engine, false).flatMap(({ scenario }) => scenario.peers));
    assert.deepEqual(new Set(contestants.map(({ name }) => name)), names);
    assert.equal(new Set(contestants.map(({ options }) => options.server!.prefix)).size, contestants.length);
    for (const { module } of contestants) {
      assert.ok(existsSync(new URL(`./peers/${module}.ts`, import.meta.url)), module);
    }
  }
});

test("a part of a name that no scenario has is refused, with the names that there are", async () => {
  const options = { name: "engines", rounds: 1, quick: true, jsonPath: undefined, only: "oracle" } as const;
  await assert.rejects(engines(options), (error) => {
    assert.ok(error instanceof UsageError);
    assert.match(error.message, /"oracle".*"kafka: publish, 64 in flight"/);
    return true;
  });
});
