import { deepEqual, equal, ok } from "node:assert/strict";
import { type Interceptor, type Loss, text } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { eventually, Observations } from "../expectations.ts";
import { altered, numbered } from "../messages/fixtures.ts";
import { keyed, orders, type Publishing, quick, settled } from "./fixtures.ts";

/** Says that it stored what it threw away. */
function dropping({ messages, world }: Publishing, dropped: readonly string[]): Publishing {
  const codec = text();
  return {
    world,
    messages: altered(messages, {
      async append(batch) {
        const kept = batch.messages.filter(({ body }) => !dropped.includes(codec.decode(body)));
        const stored =
          kept.length === 0 ? [] : await messages.append({ ...batch, messages: kept, producer: undefined });
        return batch.messages.map((message) => stored[kept.indexOf(message)] ?? 0n);
      },
    }),
  };
}

export const lossCases: readonly MessageCase[] = [
  {
    name: "the loss detector names exactly the messages that an engine lost",
    rule: "Interceptors number messages per producer and partition; consumers check continuity.",
    async run({ engine }) {
      const losses = new Observations<Loss>(engine.world);
      const lossDetection = { graceMs: 20, onLoss: (loss: Loss) => losses.add(loss) };
      const lossy = dropping(engine, ["m3", "m4", "m11"]);
      const target = orders(lossy, { lossDetection });
      const consumer = await target.consume("group", () => undefined, { filter: { not: { tags: ["out"] } } });
      // An engine whose positions have gaps cannot say what of a backlog was settled before: checking begins with what comes now.
      await target.publish("first");
      await settled(engine);
      await target.publishMany(numbered(8).map((value) => ({ value })));
      for (const value of numbered(16).slice(8)) {
        await target.publish(value, value === "m9" ? { tag: "out" } : { key: "k" });
      }
      await losses.atLeast(2);
      await settled(engine);
      await consumer.close();
      // Each gap is told when it has not closed for its grace; no order among them is promised.
      deepEqual(
        losses.items
          .map(({ partition, first, last, count }) => [partition, first, last, count])
          .sort(([, one], [, other]) => one! - other!),
        [
          [0, 4, 5, 2],
          [0, 12, 12, 1],
        ],
      );
    },
  },
  {
    name: "retries, dead letters, takeovers and seeks raise no false alarm of a loss",
    rule: "Redeliveries are ignored; it survives rebalancing.",
    async run({ engine }) {
      const { random, timers } = engine.world;
      const losses: Loss[] = [];
      const lossDetection = { graceMs: 20, onLoss: (loss: Loss) => void losses.push(loss) };
      const target = orders(engine, { partitions: 4, lossDetection });
      const entries = keyed(16, 15);
      const handler = async (): Promise<void> => {
        await timers.sleep(Math.floor(random.float() * 3));
        if (random.float() < 0.2) throw new Error("bad luck");
      };
      const options = { retry: { ...quick.retry, attemptsMax: 2 } };
      const first = await target.consume("group", handler, options);
      for (let start = 0; start < entries.length; start += 16) {
        await target.publishMany(entries.slice(start, start + 16));
        if (start % 64 !== 0) continue;
        const second = await target.consume("group", handler, options);
        await timers.sleep(5);
        await second.close();
      }
      await settled(engine);
      if (engine.messages.capabilities.replay) await target.seek("group", "earliest");
      await settled(engine);
      await eventually(engine.world, "it owns all", () => first.partitions.length === 4);
      await target.publishMany(entries);
      await settled(engine);
      await first.close();
      deepEqual(losses, []);
    },
  },
  {
    name: "interceptors see the partition that is chosen, and what they add arrives",
    rule: "Interceptors around publishing and delivery, the first outermost.",
    async run({ engine }) {
      const trace: string[] = [];
      const partitions: number[] = [];
      const interceptor = (name: string): Interceptor<string> => ({
        publish(message, next) {
          trace.push(`${name} publishes`);
          partitions.push(message.partition);
          message.headers[name] = String(message.partition);
          return next();
        },
        async deliver(_value, _context, next) {
          trace.push(`${name} delivers`);
          await next();
        },
      });
      const target = orders(engine, { partitions: 4, interceptors: [interceptor("outer"), interceptor("inner")] });
      const receipt = await target.publish("m");
      const seen = new Observations<Readonly<Record<string, string>>>(engine.world);
      const consumer = await target.consume("group", (_, { headers }) => seen.add({ ...headers }));
      await settled(engine);
      await consumer.close();
      const partition = String(receipt.partition);
      deepEqual(seen.items, [{ outer: partition, inner: partition }]);
      deepEqual(trace, ["outer publishes", "inner publishes", "outer delivers", "inner delivers"]);
      equal(new Set(partitions).size, 1);
      ok(partitions.every((each) => each === receipt.partition));
    },
  },
];
