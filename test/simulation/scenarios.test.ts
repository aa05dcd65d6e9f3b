import assert from "node:assert/strict";
import { test } from "node:test";
import { runCampaign } from "../../scripts/simulate/campaign.ts";
import { replayCommand } from "../../scripts/simulate/failure-report.ts";
import { scenariosIn } from "../../scripts/simulate/scenarios.ts";
import { ownHost } from "../../scripts/simulate/seed-worker.ts";
import { Tally } from "../../scripts/simulate/tally.ts";

const slow = process.env.TENON_SLOW === "1";
const seedsMax = slow ? 200 : 4;

const scenarios = scenariosIn(ownHost.scenarios);
assert.ok(scenarios.length > 0);

/** Seeds that found something once: docs/simulation-findings.md. */
const unlucky: Readonly<Record<string, readonly number[]>> = {
  "embedded-crashes": [264],
  "flash-sale": [58, 743],
  "key-value": [26, 3597],
  leases: [938],
  limiters: [112, 100_067],
  messaging: [98, 3064, 4716],
  "messaging-embedded": [100_026],
  moving: [33, 132, 182, 1_208_406_182],
};

test("seeds that were unlucky once hold", async () => {
  const tally = new Tally();
  let count = 0;
  for (const [scenario, seeds] of Object.entries(unlucky)) {
    for (const from of seeds) {
      await runCampaign(
        { scenarios: [scenario], from, seedsMax: 1, jobs: 1, twiceEvery: 0, seedTimeoutMs: 60_000, bail: false },
        ownHost,
        tally,
      );
      count += 1;
    }
  }
  assert.deepEqual(failuresOf(tally), []);
  assert.equal(tally.passed, count);
});

function failuresOf({ failures }: Tally): readonly string[] {
  return failures.map(({ job, failure }) => `${failure!.rule}\n  ${replayCommand(job, failure!)}`);
}

for (const scenario of scenarios) {
  test(`${scenario} holds under its first ${seedsMax} seeds, and repeats itself`, async () => {
    const tally = new Tally();
    const campaign = {
      scenarios: [scenario],
      from: 1,
      seedsMax,
      jobs: 2,
      twiceEvery: slow ? 20 : 4,
      seedTimeoutMs: 60_000,
    };
    await runCampaign({ ...campaign, bail: false }, ownHost, tally);
    assert.deepEqual(failuresOf(tally), []);
    assert.equal(tally.passed, seedsMax);
    assert.ok([...tally.faults.values()].length > 0, "no fault struck in any run");
  });
}
