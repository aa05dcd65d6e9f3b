import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { SeedOutcome } from "./seed-job.ts";
import { shrink } from "./shrinking.ts";

const limits = { runsMax: 1_000, timeMs: 60_000 };

/** A run in which these faults strike, as far as they are not left out; it fails with the rule that `fails` answers. */
function simulated(planned: readonly number[], fails: (struck: readonly number[]) => string | undefined) {
  const run = (without: readonly number[]): SeedOutcome => {
    const struck = planned.filter((number) => !without.includes(number));
    const rule = fails(struck);
    return {
      job: { scenario: "any", seed: 1, without, twice: false },
      failure: rule === undefined ? undefined : { kind: "rule", rule, lastEvents: [] },
      hash: "",
      events: 0,
      virtualMs: 0,
      planned: 41,
      faults: struck.map((number) => ({ number, atMs: number, kind: "crash", text: `crash ${number}` })),
    };
  };
  return { first: run([]), run: async (without: readonly number[]) => run(without) };
}

const struckIn = (outcome: SeedOutcome) => outcome.faults.map((fault) => fault.number);

test("a failure that needs no fault is found so in one run", async () => {
  const { first, run } = simulated([1, 2, 3], () => "lost");
  const shrunk = await shrink(first, run, limits);
  assert.deepEqual([struckIn(shrunk.outcome), shrunk.runs, shrunk.minimal], [[], 1, true]);
});

test("exactly the needed faults are left, whichever they are", async () => {
  const plans = fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 25 });
  await fc.assert(
    fc.asyncProperty(plans, fc.integer({ min: 0, max: 2 ** 25 }), async (planned, mask) => {
      const needed = planned.filter((_, index) => (mask >> index) & 1);
      const holds = (struck: readonly number[]) => needed.every((number) => struck.includes(number));
      const { first, run } = simulated(planned, (struck) => (holds(struck) ? "lost" : undefined));
      const shrunk = await shrink(first, run, limits);
      assert.deepEqual(struckIn(shrunk.outcome), needed);
      assert.ok(shrunk.minimal);
    }),
  );
});

test("either of two faults suffices, and one is left", async () => {
  const { first, run } = simulated([4, 8], (struck) => (struck.length > 0 ? "lost" : undefined));
  const shrunk = await shrink(first, run, limits);
  assert.equal(struckIn(shrunk.outcome).length, 1);
  assert.ok(shrunk.minimal);
});

test("a run that fails by another rule is not taken for the same", async () => {
  const { first, run } = simulated([1, 2], (struck) =>
    struck.includes(1) ? "message 12 was lost" : "a lock had two owners",
  );
  assert.deepEqual(struckIn((await shrink(first, run, limits)).outcome), [1]);
});

test("figures and names in quotes may differ in the same rule", async () => {
  const { first, run } = simulated([1, 2], (struck) => `message ${struck.length} of "q${struck.join()}" was lost`);
  assert.deepEqual(struckIn((await shrink(first, run, limits)).outcome), []);
});

test("what the run ended too early for takes no part", async () => {
  // Without the first fault the run is longer, and the third one would make it fail just so.
  const strikes = (number: number, without: readonly number[]) =>
    !without.includes(number) && (number < 2 || without.includes(0));
  const run = (without: readonly number[]) =>
    simulated(
      [0, 1, 2].filter((number) => strikes(number, without)),
      (struck) => (struck.includes(0) || struck.includes(2) ? "lost" : undefined),
    ).run(without);
  assert.deepEqual(struckIn((await shrink(await run([]), run, limits)).outcome), [0]);
});

test("the limits end the search, and it says so", async () => {
  const { first, run } = simulated([1, 2, 3, 4, 5, 6], (struck) => (struck.length > 4 ? "lost" : undefined));
  const shrunk = await shrink(first, run, { runsMax: 3, timeMs: 60_000 });
  assert.deepEqual([shrunk.runs, shrunk.minimal], [3, false]);
  assert.ok(struckIn(shrunk.outcome).length > 4);
});
