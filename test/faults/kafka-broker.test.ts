/** A broker of the test's own that dies and stands still in mid-run. Starting one takes seconds, so the ordinary suite has one run of it. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { kafkaServerMissing } from "../../scripts/engines/kafka-server.ts";
import { ownKafkaSite } from "./kafka-site.ts";
import { drawPlan, type Step } from "./plan.ts";
import { runStorm } from "./run.ts";

const slow = process.env.TENON_SLOW === "1";
const given = process.env.TENON_SEED?.split(",").map(Number);
const seeds = given ?? Array.from({ length: slow ? 20 : 1 }, (_, index) => index + 1);

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

/** Whatever else the seed draws, the broker is killed and paused. */
function planOf(seed: number): readonly Step[] {
  const drawn = drawPlan({ seed, steps: 4, outageMsMax: 2_500 });
  const kill: Step = { afterMs: 500, fault: { type: "kill", ms: 200 } };
  const pause: Step = { afterMs: 200, fault: { type: "pause", ms: 1_800 } };
  // A start takes a Java machine many seconds where others are at work.
  return slow ? [kill, ...drawn.slice(0, 2), pause, ...drawn.slice(2), kill] : [pause, ...drawn, kill];
}

describe("with a Kafka broker that is killed and paused", { skip: kafkaServerMissing }, () => {
  for (const seed of seeds) {
    test(`nothing acknowledged is lost, doubled or out of order (seed ${seed})`, { timeout: 400_000 }, async (t) => {
      const plan = planOf(seed);
      const site = ownKafkaSite();
      const { faults, summary, least } = await runStorm({ seed, site, plan, stuckMs: 150_000 });
      t.diagnostic(`seed ${seed}: ${summary}`);
      const steps = plan.map((step) => JSON.stringify(step)).join("\n");
      const command = `TENON_SEED=${seed} npm test -- faults/kafka-broker`;
      assert.deepEqual(faults, [], `replay with: ${command}\n${faults.join("\n")}\nplan:\n${steps}`);
      assert.ok(least >= 1, `too little happened to test anything: ${summary}`);
    });
  }
});
