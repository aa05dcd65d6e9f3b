import { deepEqual, equal, ok } from "node:assert/strict";
import type { Consumer } from "../../messaging/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { eventually, Gate, Observations, staysPending, within } from "../expectations.ts";
import { needsFence, numbered } from "../messages/fixtures.ts";
import { type Handler, KeyOrderCheck, keyed, lag, orders, quick, settled } from "./fixtures.ts";

export const memberCases: readonly MessageCase[] = [
  {
    name: "members that join and leave under load lose nothing and keep the order of every key",
    rule: "One member at a time owns a lane; order holds across takeovers while other keys flow.",
    takesMs: 3_000,
    async run({ engine }) {
      const { random, timers } = engine.world;
      const target = orders(engine, { partitions: 6 });
      await target.declare();
      const check = new KeyOrderCheck("under distinct fences");
      const handler: Handler = async (value, { fence }) => {
        check.begins(value, fence);
        await timers.sleep(Math.floor(random.float() * 3));
        if (random.float() < 0.05) {
          check.fails(value, fence);
          throw new Error("bad luck");
        }
        check.done(value, fence);
      };
      const options = { retry: { delayMs: 1, delayMsMax: 4, attemptsMax: 1_000 }, concurrency: 8 };
      const entries = keyed(24, 40);
      let published = false;
      const publishing = (async () => {
        for (let start = 0; start < entries.length; start += 24) {
          await target.publishMany(entries.slice(start, start + 24));
          await timers.sleep(3);
        }
        published = true;
      })();
      const members: Consumer[] = [await target.consume("group", handler, options)];
      let changes = 0;
      while (!published || changes < 6) {
        await timers.sleep(10);
        changes++;
        const join = members.length < 2 || (members.length < 4 && random.float() < 0.5);
        if (join) members.push(await target.consume("group", handler, options));
        else
          await within(
            engine.world,
            "a member leaves",
            members.splice(Math.floor(random.float() * members.length), 1)[0]!.close(),
          );
      }
      await publishing;
      await eventually(engine.world, "all are done", () => check.doneCount === entries.length);
      await settled(engine);
      deepEqual(check.faults, []);
      for (const member of members) await member.close();
    },
  },
  {
    name: "several members share the work, and each message is handled once when all is orderly",
    rule: "Lanes are spread over the members; a group receives every message once per group.",
    async run({ engine }) {
      const target = orders(engine, { partitions: 8 });
      const seen = new Observations<string>(engine.world);
      const counts = [0, 0, 0, 0];
      const members: Consumer[] = [];
      for (let member = 0; member < 4; member++) {
        members.push(
          await target.consume("group", (value) => {
            counts[member]!++;
            seen.add(value);
          }),
        );
      }
      await eventually(engine.world, "everybody works", async () => {
        await target.publishMany(Array.from({ length: 8 }, (_, partition) => ({ value: "warm up", partition })));
        return counts.every((count) => count > 0);
      });
      await settled(engine);
      const before = seen.items.length;
      const entries = keyed(100, 5);
      await target.publishMany(entries);
      await seen.atLeast(before + entries.length);
      await settled(engine);
      deepEqual(seen.items.slice(before).sort(), entries.map((entry) => entry.value).sort());
      for (const member of members) await member.close();
      equal(await lag(engine), 0);
    },
  },
  {
    name: "the fence grows with every delivery of a lane: over messages, retries and members",
    rule: "`context.fence` (grant and delivery) grows with every delivery in a lane.",
    needs: needsFence,
    async run({ engine }) {
      const target = orders(engine, { partitions: 2 });
      const fences: bigint[][] = [[], []];
      for (let round = 0; round < 3; round++) {
        const seen = new Observations<string>(engine.world);
        const consumer = await target.consume(
          "group",
          (value, { fence, partition, attempt }) => {
            fences[partition]!.push(fence);
            seen.add(value);
            if (attempt === 1 && value.endsWith("/1")) throw new Error("bad luck");
          },
          quick,
        );
        await target.publishMany(keyed(6, 2));
        await seen.atLeast(18);
        await consumer.close();
      }
      equal(fences[0]!.length + fences[1]!.length, 54);
      for (const lane of fences) {
        for (let index = 1; index < lane.length; index++) {
          ok(lane[index]! > lane[index - 1]!, `fence ${lane[index]} after ${lane[index - 1]}`);
        }
        ok(
          lane.every((fence) => fence >= 0n && fence < 2n ** 63n),
          "a fence fits a signed 64-bit integer",
        );
      }
    },
  },
  {
    name: "a handler that outlives its lane runs beside its successor only under a smaller fence, and its outcome counts for nothing",
    rule: "The resource can refuse a zombie; a commit under a superseded grant is refused.",
    needs: needsFence,
    async run({ engine }) {
      const target = orders(engine, { partitions: 2 });
      await target.publishMany([0, 1].map((partition) => ({ value: `p${partition}`, key: "k", partition })));
      const gate = new Gate();
      const zombies = new Observations<{ value: string; fence: bigint; signal: AbortSignal }>(engine.world);
      const first = await target.consume(
        "group",
        async (value, { fence, signal }) => {
          zombies.add({ value, fence, signal });
          await gate.opened;
        },
        { ...quick, drainTimeoutMs: 40 },
      );
      await zombies.atLeast(2);
      const successes = new Observations<{ value: string; fence: bigint; attempt: number }>(engine.world);
      const second = await target.consume(
        "group",
        async (value, { fence, attempt }) => {
          successes.add({ value, fence, attempt });
          if (attempt === 1) {
            gate.open();
            throw new Error("bad luck, although the zombie succeeds");
          }
        },
        quick,
      );
      const [failed, again] = await successes.atLeast(2);
      const zombie = zombies.items.find((each) => each.value === failed!.value)!;
      ok(zombie.signal.aborted, "the zombie was told");
      ok(failed!.fence > zombie.fence, "the successor has the greater fence");
      deepEqual([again!.value, again!.attempt], [failed!.value, 2], "the zombie's success settled nothing");
      await settled(engine);
      await first.close();
      await second.close();
    },
  },
  {
    name: "closing a consumer drains it: what runs ends and is settled, nothing new begins, the rest is left untouched",
    rule: "Close drains: no new deliveries, handlers finish, the rest is released at once.",
    async run({ engine }) {
      const target = orders(engine);
      await target.publishMany(numbered(20).map((value) => ({ value })));
      const gate = new Gate();
      const begun = new Observations<string>(engine.world);
      const first = await target.consume(
        "group",
        async (value) => {
          begun.add(value);
          await gate.opened;
        },
        { concurrency: 4 },
      );
      await begun.atLeast(4);
      const closing = first.close();
      await staysPending(engine.world, "closing while handlers run", closing);
      gate.open();
      await within(engine.world, "closed", closing);
      await within(engine.world, "closed says so", first.closed);
      equal(begun.items.length, 4, "nothing began after close");
      equal(await lag(engine), 16);
      const rest = new Observations<string>(engine.world);
      const second = await target.consume("group", (value, { attempt }) => rest.add(`${value} ${attempt}`));
      await rest.atLeast(16);
      await settled(engine);
      const expected = numbered(20).filter((value) => !begun.items.includes(value));
      deepEqual([...rest.items].sort(), expected.map((value) => `${value} 1`).sort());
      await second.close();
    },
  },
  {
    name: "a handler that does not end within drainTimeoutMs is given up, and its message is left to the next",
    rule: "Handlers finish within `drainTimeoutMs`, the rest is released.",
    async run({ engine }) {
      const target = orders(engine);
      await target.publish("stuck", { key: "k" });
      const begun = new Observations<AbortSignal>(engine.world);
      const never = new Promise<void>(() => undefined);
      const first = await target.consume(
        "group",
        async (_, { signal }) => {
          begun.add(signal);
          await never;
        },
        { ...quick, drainTimeoutMs: 30 },
      );
      const [signal] = await begun.atLeast(1);
      await within(engine.world, "closing in spite of a stuck handler", first.close());
      ok(signal!.aborted);
      const next = new Observations<string>(engine.world);
      const second = await target.consume("group", (value) => next.add(value), quick);
      deepEqual([...(await next.atLeast(1))], ["stuck"]);
      await settled(engine);
      await second.close();
    },
  },
  {
    name: "a consumer learns that its engine was closed",
    rule: "Everything after close: `closed`.",
    async run({ engine }) {
      const target = orders(engine);
      const consumer = await target.consume("group", () => undefined);
      const ended = consumer.closed.then(
        () => undefined,
        () => undefined,
      );
      await engine.close();
      await within(engine.world, "the consumer ends", ended);
      await within(engine.world, "closing it is harmless", consumer.close());
    },
  },
];
