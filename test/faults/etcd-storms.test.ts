import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { etcdMissing } from "../own-servers.ts";
import { etcdSite } from "./coordination-sites.ts";
import { drawPlan } from "./plan.ts";
import { runStorm } from "./run.ts";

const slow = process.env.TENON_SLOW === "1";
const given = process.env.TENON_SEED?.split(",").map(Number);
const seeds = given ?? Array.from({ length: slow ? 20 : 2 }, (_, index) => index + 1);

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

describe("in a storm on etcd", { skip: etcdMissing, concurrency: 2 }, () => {
  for (const seed of seeds) {
    test(`nothing acknowledged is lost, and no two believe to hold a lock (seed ${seed})`, async (t) => {
      const plan = drawPlan({ seed, steps: 10, outageMsMax: 2_500 });
      const { faults, summary, least } = await runStorm({ seed, site: etcdSite(), plan });
      t.diagnostic(`seed ${seed}: ${summary}`);
      const steps = plan.map((step) => JSON.stringify(step)).join("\n");
      const command = `TENON_SEED=${seed} npm test -- faults/etcd-storms`;
      assert.deepEqual(faults, [], `replay with: ${command}\n${faults.join("\n")}\nplan:\n${steps}`);
      // How much happens is the machine's business; that nothing did would be a run that tests nothing.
      assert.ok(least >= 1, `too little happened to test anything: ${summary}`);
    });
  }
});
