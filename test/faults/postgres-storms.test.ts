import { engine } from "../engines.ts";
import { drawPlan } from "./plan.ts";
import { postgresSite } from "./postgres-site.ts";
import { storms } from "./storms.ts";

const { url, skip } = await engine("postgres");

storms({
  name: "in a storm on PostgreSQL",
  skip,
  file: "faults/postgres-storms",
  seeds: { ordinary: [1, 2, 3], slow: 50 },
  site: () => postgresSite(url),
  plan: (seed) => drawPlan({ seed, steps: 10, outageMsMax: 2_500 }),
});
