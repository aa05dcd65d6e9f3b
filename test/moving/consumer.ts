/** Handles the messages of its groups until it is told to stop. */
import { DeadLetter, json, topic } from "tenon/messaging";
import { moving } from "tenon/moving";
import { fails, isPoison } from "./failing.ts";
import { type Numbered, stopped, tell } from "./reports.ts";
import { open, ownSite } from "./site.ts";

const groups = process.argv.slice(2);
const stop = stopped();
const site = ownSite();
const [from, to] = [await open(site.from), await open(site.to)];
const engine = moving(from, to, { pollMs: 100 });
const orders = topic(engine, "orders", { codec: json<Numbered>(), partitions: 4 });
const consumers = groups.map((group) =>
  orders.consume(
    group,
    async (message, { attempt }) => {
      const told = { group, key: message.key, value: message.value };
      if (isPoison(group, message)) {
        await tell({ did: "give up", ...told });
        throw new DeadLetter("nobody can bill this");
      }
      if (attempt === 1 && fails(group, message)) throw new Error("not now");
      await tell({ did: "handle", ...told });
    },
    { retry: { delayMs: 50, delayMsMax: 100 } },
  ),
);
await Promise.all(consumers);
await tell({ did: "ready" });
await stop;
await orders[Symbol.asyncDispose]();
await Promise.all([from, to].map((each) => each[Symbol.asyncDispose]()));
process.exit(0);
