import { engine } from "../engines.ts";
import { mysqlSite } from "./mysql-site.ts";
import { drawPlan } from "./plan.ts";
import { storms } from "./storms.ts";

const { url, skip } = await engine("mariadb");

storms({
  name: "in a storm on MariaDB",
  skip,
  file: "faults/mysql-storms",
  seeds: { ordinary: [1, 2, 3], slow: 50 },
  site: () => mysqlSite(url),
  plan: (seed) => drawPlan({ seed, steps: 10, outageMsMax: 2_500 }),
});
