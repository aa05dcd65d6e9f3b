/** Storms over a server of their own, so that it is the server that dies and stands still, and not only its connections. */
import { mariadbMissing } from "../mariadb-server.ts";
import { ownMysqlSite } from "./mysql-site.ts";
import { drawPlan } from "./plan.ts";
import { storms } from "./storms.ts";

storms({
  name: "in a storm on MariaDB that is killed",
  skip: mariadbMissing,
  file: "faults/mysql-crashes",
  seeds: { ordinary: [101], slow: 20 },
  site: ownMysqlSite,
  plan(seed) {
    // It is killed and stands still at least once each; a server that starts takes its time, so there are few steps.
    const types = ["kill", "pause", "loseReplies", "cutAll"] as const;
    const certain = (["kill", "pause"] as const).map((type) => ({ afterMs: 200, fault: { type, ms: 1_200 } }));
    return [...drawPlan({ seed, steps: 4, outageMsMax: 2_000, types }), ...certain];
  },
});
