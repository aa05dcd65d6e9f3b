import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { engine } from "../engines.ts";
import { drawPlan } from "./plan.ts";
import { rabbitmqSite } from "./rabbitmq-site.ts";
import { runStorm } from "./run.ts";

const slow = process.env.TENON_SLOW === "1";
const given = process.env.TENON_SEED?.split(",").map(Number);
const seeds = given ?? Array.from({ length: slow ? 20 : 2 }, (_, index) => index + 1);

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await engine("rabbitmq");

describe("in a storm on RabbitMQ", { skip: server.skip, concurrency: 2 }, () => {
  for (const seed of seeds) {
    test(`nothing acknowledged is lost, doubled or out of order (seed ${seed})`, async (t) => {
      const plan = drawPlan({ seed, steps: 10, outageMsMax: 2_500 });
      const { faults, summary, least } = await runStorm({
        seed,
        stuckMs: 60_000,
        site: rabbitmqSite(server.url),
        plan,
      });
      t.diagnostic(`seed ${seed}: ${summary}`);
      const steps = plan.map((step) => JSON.stringify(step)).join("\n");
      const command = `TENON_SEED=${seed} npm test -- faults/rabbitmq-storms`;
      assert.deepEqual(faults, [], `replay with: ${command}\n${faults.join("\n")}\nplan:\n${steps}`);
      // How much happens is the machine's business; that nothing did would be a run that tests nothing.
      assert.ok(least >= 1, `too little happened to test anything: ${summary}`);
    });
  }
});
