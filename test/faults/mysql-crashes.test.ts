/** Storms over a server of their own, so that it is the server that dies and stands still, and not only its connections. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { mariadbMissing } from "../mariadb-server.ts";
import { ownMysqlSite } from "./mysql-site.ts";
import { drawPlan } from "./plan.ts";
import { runStorm } from "./run.ts";

const slow = process.env.TENON_SLOW === "1";
const given = process.env.TENON_SEED?.split(",").map(Number);
const seeds = given ?? Array.from({ length: slow ? 20 : 1 }, (_, index) => index + 101);

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

describe("in a storm on MariaDB that is killed", { skip: mariadbMissing }, () => {
  for (const seed of seeds) {
    test(`nothing acknowledged is lost, doubled or out of order (seed ${seed})`, async (t) => {
      // It is killed and stands still at least once each; a server that starts takes its time, so there are few steps.
      const types = ["kill", "pause", "loseReplies", "cutAll"] as const;
      const drawn = drawPlan({ seed, steps: 4, outageMsMax: 2_000, types });
      const certain = (["kill", "pause"] as const).map((type) => ({ afterMs: 200, fault: { type, ms: 1_200 } }));
      const plan = [...drawn, ...certain];
      const { faults, summary, least } = await runStorm({ seed, site: ownMysqlSite(), plan });
      t.diagnostic(`seed ${seed}: ${summary}`);
      const command = `TENON_SEED=${seed} npm test -- faults/mysql-crashes`;
      assert.deepEqual(faults, [], `replay with: ${command}\n${faults.join("\n")}`);
      assert.ok(least >= 1, `too little happened to test anything: ${summary}`);
    });
  }
});
