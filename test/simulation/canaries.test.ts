import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { test } from "node:test";
import { runCampaign } from "../../scripts/simulate/campaign.ts";
import type { SeedOutcome } from "../../scripts/simulate/seed-job.ts";
import { ownHost } from "../../scripts/simulate/seed-worker.ts";
import { canaries } from "./canaries/canaries.ts";
import { type Canary, CanaryDoesNotFit, withBug } from "./canaries/canary.ts";

const SEEDS_MAX = 300;
/** Those that are looked for in every run of the tests, for they are found soon. */
const quick = ["acknowledge before sync", "forget the held key on retry"];
const slow = process.env.TENON_SLOW === "1";

const root = new URL("../../", import.meta.url);
const sourceOf = ({ file }: Canary) => readFileSync(new URL(file, root), "utf8");

/** Runs seeds until one fails by the rule that the canary is to break, with the bug, or without it. */
async function run(canary: Canary, injected: boolean, from: number, seedsMax: number) {
  const found = new AbortController();
  let outcome: SeedOutcome | undefined;
  const bug = {
    preloads: [new URL("canaries/inject.ts", import.meta.url)],
    environment: { TENON_CANARY: canary.name },
  };
  const host = injected ? { ...ownHost, ...bug } : ownHost;
  const scenarios = [canary.scenario];
  const campaign = { scenarios, from, seedsMax, jobs: 2, twiceEvery: 0, seedTimeoutMs: 60_000, bail: false };
  const ended = (of: SeedOutcome) => {
    if (of.failure === undefined || !canary.rule.test(of.failure.rule)) return;
    outcome ??= of;
    found.abort();
  };
  await runCampaign(campaign, host, { ended }, found.signal);
  return { outcome };
}

test("canaries have names of their own, and there are at least ten", () => {
  assert.equal(new Set(canaries.map(({ name }) => name)).size, canaries.length);
  assert.ok(canaries.length >= 10, `${canaries.length}`);
});

for (const canary of canaries) {
  test(`"${canary.name}" fits the source, and stays a program`, () => {
    const source = withBug(canary, sourceOf(canary));
    assert.notEqual(source, sourceOf(canary));
    stripTypeScriptTypes(source);
  });

  test(`"${canary.name}" is found`, { skip: !slow && !quick.includes(canary.name) && "slow" }, async (context) => {
    const excused: number[] = [];
    for (let from = 1; from <= SEEDS_MAX; ) {
      const { outcome } = await run(canary, true, from, SEEDS_MAX - from + 1);
      if (outcome?.failure === undefined) break;
      const { seed } = outcome.job;
      // A seed that fails so without the bug, too, found something else.
      const without = await run(canary, false, seed, 1);
      if (without.outcome === undefined) return context.diagnostic(`found by seed ${seed}: ${outcome.failure.rule}`);
      excused.push(seed);
      from = seed + 1;
    }
    const also = excused.length === 0 ? "" : `; without the bug, too, these fail so: ${excused.join(", ")}`;
    assert.fail(`not found in ${SEEDS_MAX} seeds of ${canary.scenario}${also}`);
  });
}

test("a canary whose text is gone, or there twice, says that it does not fit any more", () => {
  const canary = { name: "any", file: "src/a.ts", find: "b()", replace: "c()", scenario: "any", rule: /./ };
  assert.equal(withBug(canary, "a(); b();"), "a(); c();");
  for (const source of ["a();", "b(); b();"]) assert.throws(() => withBug(canary, source), CanaryDoesNotFit);
});
