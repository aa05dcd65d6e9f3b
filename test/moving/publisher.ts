/** Publishes until it is told to stop: each key's messages one after the other, some without a key, and some delayed where that is possible. */
import { json, topic } from "tenon/messaging";
import { moving } from "tenon/moving";
import { type Numbered, stopped, tell } from "./reports.ts";
import { open, ownSite } from "./site.ts";

const [name, delays] = process.argv.slice(2) as [string, string];
const stop = stopped();
let isOver = false;
void stop.then(() => {
  isOver = true;
});
const site = ownSite();
const [from, to] = [await open(site.from), await open(site.to)];
const engine = moving(from, to, { pollMs: 100 });
// A move that was killed while publishers wait goes on when its session has ended.
const orders = topic(engine, "orders", { codec: json<Numbered>(), partitions: 4, publishTimeoutMs: 60_000 });

async function publishAll(key: string, options: { key?: string; delayMs?: number }): Promise<void> {
  for (let value = 0; !isOver; value++) {
    await orders.publish({ key, value }, options);
    await tell({ did: "publish", key, value });
    // The pace, which decides nothing.
    await engine.world.timers.sleep(40);
  }
}

await tell({ did: "ready" });
const loops = ["a", "b", "c", "d"].map((each) => publishAll(`${name}${each}`, { key: `${name}${each}` }));
loops.push(publishAll(`none ${name}`, {}));
if (delays === "delays") loops.push(publishAll(`later ${name}`, { key: `later ${name}`, delayMs: 400 }));
await Promise.all(loops);
await orders[Symbol.asyncDispose]();
await Promise.all([from, to].map((each) => each[Symbol.asyncDispose]()));
process.exit(0);
