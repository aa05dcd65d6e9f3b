import { deepEqual, equal, ok } from "node:assert/strict";
import type { NewMessage } from "../../contracts/index.ts";
import type { MessageCase } from "../conformance-case.ts";
import { bytesOf, eventually, refused, textOf } from "../expectations.ts";
import {
  append,
  batch,
  declared,
  fetched,
  fetchedTexts,
  laneOf,
  needsAll,
  needsCrash,
  needsDelay,
  needsSequences,
  soleLane,
} from "./fixtures.ts";

/** So soon nothing is due that has been asked for just now, however busy the machine is that the engine is on. */
const notYetMs = 2_000;

export const delayCases: readonly MessageCase[] = [
  {
    name: "a delayed message is never early, and no later than declared",
    rule: "Delay to any instant by the engine's clock, never early, lateness declared.",
    needs: needsDelay,
    async run({ engine, exactTime }) {
      const { messages, world } = engine;
      await declared(engine);
      const { lane } = await soleLane(engine, "orders");
      for (const delayMs of [1, 30, 250]) {
        const dueAt = world.clock.now() + delayMs;
        const positions = await append(engine, "orders", {
          body: bytesOf("later"),
          key: "k",
          headers: { h: "1" },
          dueAt,
        });
        // On a slow machine the instant may have passed before the engine was asked.
        if (positions[0] !== undefined) ok(world.clock.now() >= dueAt, "it was stored at once, before it was due");
        const [message] = await fetched(world, lane, 1);
        const lateMs = world.clock.now() - dueAt;
        ok(lateMs >= 0, `seen ${-lateMs} ms early`);
        ok(message!.publishedAt >= dueAt, "it was stored when it became due");
        deepEqual([textOf(message!.body), message!.key, { ...message!.headers }], ["later", "k", { h: "1" }]);
        if (exactTime) {
          ok(lateMs <= messages.capabilities.delayLatenessMs + 50, `${lateMs} ms late on an idle engine`);
        }
        await lane.commit({ settled: [message!.position] });
      }
    },
  },
  {
    name: "a delayed message joins the end of its partition when it is due",
    rule: "Invisible before this instant; then appended at its partition's end.",
    needs: needsDelay,
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine);
      await append(engine, "orders", { body: bytesOf("delayed"), dueAt: world.clock.now() + notYetMs });
      const [now] = (await append(engine, "orders", "now")) as bigint[];
      const { lane } = await soleLane(engine, "orders");
      const stored = await fetched(world, lane, 2);
      deepEqual(
        stored.map((message) => textOf(message.body)),
        ["now", "delayed"],
      );
      ok(stored[1]!.position > now!);
      equal((await messages.describe("orders")).delayedCount, 0);
    },
  },
  {
    name: "delayed messages arrive by due instant, whatever the order of publishing",
    rule: "Delay to any instant by the engine's clock.",
    needs: needsDelay,
    async run({ engine }) {
      const { world } = engine;
      await declared(engine);
      const { lane } = await soleLane(engine, "orders");
      const delays = [120, 40, 160, 0, 80];
      // All of them have to be there before the first is due, behind a network and on a busy machine, too.
      for (let leadMs = 500; ; leadMs *= 2) {
        const start = world.clock.now() + leadMs;
        for (const delay of delays)
          await append(engine, "orders", { body: bytesOf(String(delay)), dueAt: start + delay });
        const wasInTime = world.clock.now() < start;
        const texts = await fetchedTexts(world, lane, 5);
        if (wasInTime) return deepEqual(texts, ["0", "40", "80", "120", "160"]);
      }
    },
  },
  {
    name: "a message that is due in the past is visible at once",
    rule: "Invisible before this instant of the engine's clock.",
    needs: needsDelay,
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", { body: bytesOf("overdue"), dueAt: engine.world.clock.now() - 60_000 });
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["overdue"]);
    },
  },
  {
    name: "waiting messages are counted as delayed, not as lag",
    rule: "`delayedCount`: messages waiting for their due instant.",
    needs: needsDelay,
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine);
      const dueAt = world.clock.now() + notYetMs;
      await append(engine, "orders", { body: bytesOf("a"), dueAt }, { body: bytesOf("b"), dueAt: dueAt + 3_600_000 });
      equal((await messages.describe("orders")).delayedCount, 2);
      equal((await laneOf(engine, "orders")).lag, 0);
      await eventually(world, "one becomes due", async () => (await laneOf(engine, "orders")).lag === 1);
      equal((await messages.describe("orders")).delayedCount, 1);
    },
  },
  {
    name: "a group declared before a delayed message is due receives it",
    rule: "A group receives every message appended after its declaration; a delayed one is appended when it is due.",
    needs: needsDelay,
    async run({ engine }) {
      await declared(engine);
      await append(engine, "orders", { body: bytesOf("delayed"), dueAt: engine.world.clock.now() + notYetMs });
      const { lane } = await soleLane(engine, "orders", "late");
      deepEqual(await fetchedTexts(engine.world, lane, 1), ["delayed"]);
    },
  },
  {
    name: "a batch may mix delayed messages with others",
    rule: "Answers positions in the same order; a delayed message has none yet.",
    needs: needsDelay,
    async run({ engine }) {
      await declared(engine);
      const dueAt = engine.world.clock.now() + notYetMs;
      const positions = await append(engine, "orders", "a", { body: bytesOf("later"), dueAt }, "b");
      equal(positions.length, 3);
      equal(positions[1], undefined);
      ok(positions[2]! > positions[0]!);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 3), ["a", "b", "later"]);
    },
  },
  {
    name: "a repeated batch of which some messages are delayed is stored once, and its sequence counts them all",
    rule: "A sequence that is already stored is stored no second time; the sequence counts the batch's messages.",
    needs: needsAll(needsDelay, needsSequences),
    async run({ engine }) {
      const { messages, world } = engine;
      await declared(engine);
      const dueAt = world.clock.now() + notYetMs;
      const marked = (sequence: number, ...of: readonly (string | NewMessage)[]) =>
        messages.append(batch("orders", of, { producer: { id: "p", epoch: 0, sequence } }));
      const mixed = ["a", { body: bytesOf("later"), dueAt }, "b"];
      const stored = await marked(0, ...mixed);
      equal(stored[1], undefined);
      deepEqual(await marked(0, ...mixed), stored);
      await marked(3, { body: bytesOf("latest"), dueAt: dueAt + 1 });
      await marked(3, { body: bytesOf("latest"), dueAt: dueAt + 1 });
      await refused("conflict", "a gap", () => marked(5, "gap", { body: bytesOf("gap"), dueAt }));
      await marked(4, "c");
      await eventually(world, "three are to be settled", async () => (await laneOf(engine, "orders")).lag === 3);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(world, lane, 5), ["a", "b", "c", "later", "latest"]);
      await append(engine, "orders", "end");
      deepEqual(await fetchedTexts(world, lane, 1), ["end"]);
      equal((await messages.describe("orders")).delayedCount, 0);
    },
  },
  {
    name: "a producer that was fenced delays nothing",
    rule: "One of an older epoch is refused.",
    needs: needsAll(needsDelay, needsSequences),
    async run({ engine }) {
      await declared(engine);
      const dueAt = engine.world.clock.now() + 60_000;
      const marked = (epoch: number) => {
        const producer = { id: "p", epoch, sequence: 0 };
        return engine.messages.append(batch("orders", [{ body: bytesOf("m"), dueAt }], { producer }));
      };
      await marked(2);
      await refused("lost", "an older epoch", () => marked(1));
      equal((await engine.messages.describe("orders")).delayedCount, 1);
    },
  },
  {
    name: "a delayed message survives a crash, is not early after it, and comes once",
    rule: "Durable: a delayed message is kept like any other.",
    needs: needsAll(needsDelay, needsCrash),
    async run(subject) {
      await declared(subject.engine);
      const dueAt = subject.engine.world.clock.now() + 400;
      await append(
        subject.engine,
        "orders",
        { body: bytesOf("soon"), dueAt },
        { body: bytesOf("due"), dueAt: dueAt - 390 },
      );
      await subject.crash!();
      const { engine } = subject;
      const { lane } = await soleLane(engine, "orders");
      const [first, second] = await fetched(engine.world, lane, 2);
      deepEqual([textOf(first!.body), textOf(second!.body)], ["due", "soon"]);
      ok(engine.world.clock.now() >= dueAt);
      ok(second!.publishedAt >= dueAt);
      await subject.crash!();
      equal((await laneOf(subject.engine, "orders")).lag, 2);
      equal((await subject.engine.messages.describe("orders")).delayedCount, 0);
    },
  },
  {
    name: "an instant that is not a number is invalid",
    rule: "`invalid`: the argument is wrong.",
    needs: needsDelay,
    async run({ engine }) {
      await declared(engine);
      for (const dueAt of [Number.NaN, Number.POSITIVE_INFINITY]) {
        await refused("invalid", `dueAt ${dueAt}`, () => append(engine, "orders", { body: bytesOf("m"), dueAt }));
      }
    },
  },
  {
    name: "an engine without delay refuses a delayed message",
    rule: "What a capability does not declare is refused with `unsupported`.",
    needs: ({ engine }) => !engine.messages.capabilities.delay || "the engine declares delay",
    async run({ engine }) {
      await declared(engine);
      const dueAt = engine.world.clock.now() + 1_000;
      await refused("unsupported", "a delayed message", () => append(engine, "orders", { body: bytesOf("m"), dueAt }));
      equal((await laneOf(engine, "orders")).lag, 0);
    },
  },
];
