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
    const failed = tally.failures.map(({ job, failure }) => `${failure!.rule}\n  ${replayCommand(job, failure!)}`);
    assert.deepEqual(failed, []);
    assert.equal(tally.passed, seedsMax);
    assert.ok([...tally.faults.values()].length > 0, "no fault struck in any run");
  });
}
