import { deepEqual, equal, ok } from "node:assert/strict";
import type { MessageCase } from "../conformance-case.ts";
import { eventually, Gate, Observations, within } from "../expectations.ts";
import { needsAll, needsCrash, needsFence, numbered } from "../messages/fixtures.ts";
import { KeyOrderCheck, keyed, Lives, lag, orders, quick, settled } from "./fixtures.ts";

export const messagingCrashCases: readonly MessageCase[] = [
  {
    name: "what was published survives a crash, and what was settled is not handled again",
    rule: "`publish` and settling resolve when the change survives what `capabilities.survives` says.",
    needs: needsCrash,
    async run(subject) {
      const lives = new Lives(subject);
      const before = orders(subject.engine, { partitions: 2 });
      await before.publishMany(keyed(10, 5));
      const seen = new Observations<string>(subject.engine.world);
      const first = await before.consume(
        "group",
        lives.handler((value) => seen.add(value)),
      );
      await seen.atLeast(50);
      // Closing waits until what was settled is durable.
      await first.close();
      await Promise.all(keyed(10, 5).map(({ key, value }) => before.publish(`late ${value}`, { key: `late ${key}` })));
      await lives.crash();
      const after = orders(subject.engine, { partitions: 2 });
      const again = new Observations<string>(subject.engine.world);
      const consumer = await after.consume("group", (value) => again.add(value));
      await settled(subject.engine);
      const both = [...seen.items, ...again.items];
      for (const { value } of keyed(10, 5)) {
        ok(both.includes(`late ${value}`), `late ${value} is lost`);
        equal(both.filter((each) => each === value).length, 1, `${value} was settled`);
      }
      await consumer.close();
    },
  },
  {
    name: "the order of every key holds across crashes, and nothing is lost",
    rule: "Messages with the same key are handled in publish order, one at a time, also across retries and crashes.",
    needs: needsAll(
      needsCrash,
      ({ engine }) => engine.messages.capabilities.orderAfterCrash || "the engine declares no order after a crash",
    ),
    async run(subject) {
      const lives = new Lives(subject);
      const check = new KeyOrderCheck("never");
      const entries = keyed(12, 30);
      await orders(subject.engine, { partitions: 3 }).publishMany(entries);
      for (let life = 0; life < 6; life++) {
        const { random } = subject.engine.world;
        const target = orders(subject.engine, { partitions: 3 });
        const goal = Math.min(entries.length, 60 * (life + 1));
        await target.consume(
          "group",
          lives.handler(async (value, { fence }, pause) => {
            check.begins(value, fence);
            await pause(Math.floor(random.float() * 3));
            if (random.float() < 0.1) {
              check.fails(value, fence);
              throw new Error("bad luck");
            }
            check.done(value, fence);
          }),
          { concurrency: 6, retry: { delayMs: 1, delayMsMax: 4, attemptsMax: 1_000 } },
        );
        await eventually(subject.engine.world, "some are done", () => check.doneCount >= goal);
        if (goal === entries.length) break;
        await lives.crash();
        check.died();
      }
      await settled(subject.engine);
      equal(check.doneCount, entries.length);
      deepEqual(check.faults, []);
    },
  },
  {
    name: "recorded failures are remembered across a crash; a message that was merely prefetched is not blamed",
    rule: "`attempt` counts recorded failures, not deliveries: messages merely prefetched by a crashing neighbour are not blamed.",
    needs: needsCrash,
    async run(subject) {
      const lives = new Lives(subject);
      const before = orders(subject.engine);
      await before.publish("failed", { key: "failed" });
      await before.publishMany(numbered(20).map((value) => ({ value, key: "neighbour" })));
      const begun = new Observations<string>(subject.engine.world);
      await before.consume(
        "group",
        lives.handler(async (value) => {
          begun.add(value);
          if (value === "failed") throw new Error("bad luck");
          await new Promise<void>(() => undefined);
        }),
        { retry: { delayMs: 1, delayMsMax: 1, attemptsMax: 1_000_000 } },
      );
      await eventually(subject.engine.world, "it failed a few times", () => begun.items.length >= 6);
      await lives.crash();
      const { engine } = subject;
      const attempts = new Map<string, number>();
      const after = orders(engine);
      const consumer = await after.consume("group", (value, { attempt }) => {
        attempts.set(value, attempt);
      });
      await settled(engine);
      // "failed" and "m0" began; the failure that the crash cut off may not have been recorded.
      ok(
        attempts.get("failed")! >= begun.items.length - 2,
        `attempt ${attempts.get("failed")} of ${begun.items.length}`,
      );
      for (const value of numbered(20)) equal(attempts.get(value), 1, `${value} is not blamed`);
      await consumer.close();
    },
  },
  {
    name: "a message that kills its process again and again is delivered alone, then it is a dead letter, and nothing else is",
    rule: "A message that was delivered three times without any outcome is delivered alone; if the process dies then, it is a dead letter.",
    needs: needsCrash,
    async run(subject) {
      const lives = new Lives(subject);
      const others = new Set<string>();
      let deliveries = 0;
      let companions: readonly string[] = [];
      let expected = 0;
      await orders(subject.engine, { partitions: 2 }).publish("deadly", { key: "deadly", partition: 1 });
      for (let life = 0; life < 8; life++) {
        const target = orders(subject.engine, { partitions: 2 });
        for (const partition of [0, 1]) {
          const values = numbered(10, `life${life}.partition${partition}.`);
          await target.publishMany(values.map((value) => ({ value, key: value, partition })));
        }
        expected += 20;
        const deadly = new Gate();
        const running = new Set<string>();
        await target.consume(
          "group",
          lives.handler(async (value, _, pause) => {
            running.add(value);
            if (value === "deadly") {
              deliveries++;
              const beside = new Set(running);
              for (let step = 0; step < 20; step++) {
                await pause(1);
                for (const each of running) beside.add(each);
              }
              companions = [...beside].filter((each) => each !== "deadly");
              deadly.open();
              await new Promise<void>(() => undefined);
            }
            await pause(5);
            running.delete(value);
            others.add(value);
          }),
          quick,
        );
        const letters = target.deadLetters("group");
        const dead = eventually(subject.engine.world, "a dead letter", async () => (await letters.count()) === 1);
        dead.catch(() => undefined);
        await within(subject.engine.world, "it kills or is dead", Promise.race([deadly.opened, dead]));
        if ((await letters.count()) === 1) break;
        await lives.crash();
      }
      const { engine } = subject;
      const target = orders(engine, { partitions: 2 });
      await eventually(engine.world, "all others are handled", () => others.size === expected);
      await settled(engine);
      const letters = await target.deadLetters("group").peek(10);
      equal(letters.length, 1, "nothing else became a dead letter");
      equal(letters[0]!.value, "deadly");
      ok(deliveries >= 4 && deliveries <= 6, `it was delivered ${deliveries} times`);
      deepEqual(companions, [], "the last time it was alone");
    },
  },
  {
    name: "a message that was under way in some crashes, but succeeds, is an ordinary one",
    rule: "Messages of a crashing neighbour are not blamed.",
    needs: needsCrash,
    async run(subject) {
      const lives = new Lives(subject);
      await orders(subject.engine).publishMany(numbered(5).map((value) => ({ value, key: value })));
      for (let life = 0; life < 4; life++) {
        const begun = new Observations<string>(subject.engine.world);
        await orders(subject.engine).consume(
          "group",
          lives.handler(async (value) => {
            begun.add(value);
            await new Promise<void>(() => undefined);
          }),
        );
        await begun.atLeast(1);
        await lives.crash();
      }
      const { engine } = subject;
      const target = orders(engine);
      const attempts = new Observations<string>(engine.world);
      const consumer = await target.consume("group", (value, { attempt }) => attempts.add(`${value} ${attempt}`));
      await attempts.atLeast(5);
      await settled(engine);
      deepEqual(
        [...attempts.items].sort(),
        numbered(5).map((value) => `${value} 1`),
      );
      equal(await target.deadLetters("group").count(), 0);
      await consumer.close();
    },
  },
  {
    name: "the fence of deliveries grows across crashes",
    rule: "`context.fence` grows with every delivery in a lane.",
    needs: needsAll(needsCrash, needsFence),
    async run(subject) {
      const lives = new Lives(subject);
      const fences: bigint[] = [];
      for (let life = 0; life < 3; life++) {
        const target = orders(subject.engine);
        const seen = new Observations<string>(subject.engine.world);
        await target.publishMany(keyed(3, 3));
        await target.consume(
          "group",
          lives.handler((value, { fence }) => {
            fences.push(fence);
            seen.add(value);
          }),
        );
        await seen.atLeast(9);
        await lives.crash();
      }
      for (let index = 1; index < fences.length; index++) ok(fences[index]! > fences[index - 1]!);
    },
  },
  {
    name: "dead letters survive a crash and can be redriven after it",
    rule: "Dead letters are durable.",
    needs: needsCrash,
    async run(subject) {
      const lives = new Lives(subject);
      const before = orders(subject.engine);
      await before.publish("bad", { key: "k" });
      const first = await before.consume(
        "group",
        lives.handler(() => {
          throw new Error("bad luck");
        }),
        { retry: { attemptsMax: 0 } },
      );
      await settled(subject.engine);
      await first.close();
      await lives.crash();
      const { engine } = subject;
      const after = orders(engine);
      equal(await after.deadLetters("group").count(), 1);
      const seen = new Observations<string>(engine.world);
      const consumer = await after.consume("group", (value) => seen.add(value));
      equal(await after.deadLetters("group").redrive(), 1);
      deepEqual([...(await seen.atLeast(1))], ["bad"]);
      await settled(engine);
      equal(await lag(engine), 0);
      await consumer.close();
    },
  },
];
