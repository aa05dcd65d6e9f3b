import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import type { ProducerMark } from "../../contracts/index.ts";
import type { MessageCase, MessagesEngine } from "../conformance-case.ts";
import { bytesOf, refused } from "../expectations.ts";
import {
  append,
  batch,
  declared,
  fetchedTexts,
  laneOf,
  needsAll,
  needsCrash,
  needsDelay,
  needsIds,
  needsSequences,
  soleLane,
} from "./fixtures.ts";

function produce(engine: MessagesEngine, texts: readonly string[], mark: Partial<ProducerMark>, partition = 0) {
  const producer = { id: "producer", epoch: 0, sequence: 0, ...mark };
  return engine.messages.append(batch("orders", texts, { producer, partition }));
}

export const duplicateCases: readonly MessageCase[] = [
  {
    name: "a batch repeated with its sequence is answered with its positions and stored once",
    rule: "A known sequence is answered with its original position.",
    needs: needsSequences,
    async run({ engine }) {
      await declared(engine);
      const original = await produce(engine, ["a", "b"], { sequence: 0 });
      deepEqual(await produce(engine, ["a", "b"], { sequence: 0 }), original);
      const next = await produce(engine, ["c"], { sequence: 2 });
      deepEqual(await produce(engine, ["c"], { sequence: 2 }), next);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 3), ["a", "b", "c"]);
      equal((await laneOf(engine, "orders")).lag, 3);
    },
  },
  {
    name: "a batch sent twice at the same time is stored once",
    rule: "A known sequence is stored no second time.",
    needs: needsSequences,
    async run({ engine }) {
      await declared(engine);
      const [first, second] = await Promise.all([
        produce(engine, ["a", "b"], { sequence: 0 }),
        produce(engine, ["a", "b"], { sequence: 0 }),
      ]);
      deepEqual(second, first);
      equal((await laneOf(engine, "orders")).lag, 2);
    },
  },
  {
    name: "a gap in the sequence is a conflict and stores nothing",
    rule: "A sequence beyond the next expected is refused (`conflict`).",
    needs: needsSequences,
    async run({ engine }) {
      await declared(engine);
      await produce(engine, ["a"], { sequence: 0 });
      const error = await refused("conflict", "sequence 2 instead of 1", () => produce(engine, ["x"], { sequence: 2 }));
      equal(error.outcome, "not-applied");
      await refused("conflict", "a new epoch that does not start at 0", () =>
        produce(engine, ["x"], { epoch: 1, sequence: 1 }),
      );
      await produce(engine, ["b"], { sequence: 1 });
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 2), ["a", "b"]);
      equal((await laneOf(engine, "orders")).lag, 2);
    },
  },
  {
    name: "each partition has its own sequence",
    rule: "The sequence counts among the messages of this producer epoch and partition, from 0.",
    needs: needsSequences,
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      await produce(engine, ["a", "b"], { sequence: 0 }, 0);
      await produce(engine, ["c"], { sequence: 0 }, 1);
      await produce(engine, ["d"], { sequence: 1 }, 1);
      await produce(engine, ["e"], { sequence: 2 }, 0);
      const { groups } = await engine.messages.describe("orders");
      deepEqual(
        groups[0]!.lanes.map((lane) => lane.lag),
        [3, 2],
      );
    },
  },
  {
    name: "a newer producer epoch starts at 0 and fences the older one",
    rule: "An older producer epoch is fenced (`lost`).",
    needs: needsSequences,
    async run({ engine }) {
      await declared(engine);
      await produce(engine, ["old"], { epoch: 1, sequence: 0 });
      await produce(engine, ["new"], { epoch: 2, sequence: 0 });
      const error = await refused("lost", "the older epoch", () =>
        produce(engine, ["zombie"], { epoch: 1, sequence: 1 }),
      );
      equal(error.outcome, "not-applied");
      await produce(engine, ["newer"], { epoch: 2, sequence: 1 });
      await produce(engine, ["other"], { id: "somebody else", epoch: 0, sequence: 0 });
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, lane, 4), ["old", "new", "newer", "other"]);
      equal((await laneOf(engine, "orders")).lag, 4);
    },
  },
  {
    name: "sequences and epochs are remembered across a crash",
    rule: "Automatic retries carry (producer, partition, sequence); a known sequence is answered with its original position.",
    needs: needsAll(needsSequences, needsCrash),
    async run(subject) {
      await declared(subject.engine);
      await produce(subject.engine, ["old"], { epoch: 1, sequence: 0 });
      const original = await produce(subject.engine, ["a", "b"], { epoch: 2, sequence: 0 });
      await subject.crash!();
      deepEqual(await produce(subject.engine, ["a", "b"], { epoch: 2, sequence: 0 }), original);
      await refused("lost", "the older epoch", () => produce(subject.engine, ["zombie"], { epoch: 1, sequence: 1 }));
      await refused("conflict", "a gap", () => produce(subject.engine, ["gap"], { epoch: 2, sequence: 3 }));
      await produce(subject.engine, ["c"], { epoch: 2, sequence: 2 });
      const { lane } = await soleLane(subject.engine, "orders");
      deepEqual(await fetchedTexts(subject.engine.world, lane, 4), ["old", "a", "b", "c"]);
      equal((await laneOf(subject.engine, "orders")).lag, 4);
    },
  },
  {
    name: "a repetition is answered no sooner than its original is durable",
    rule: "Durable, as `capabilities.survives` says, when it resolves.",
    needs: needsAll(needsIds, needsCrash),
    async run(subject) {
      await declared(subject.engine);
      const message = { body: bytesOf("m"), id: "one" };
      append(subject.engine, "orders", message).catch(() => undefined);
      await append(subject.engine, "orders", message);
      await subject.crash!();
      equal((await laneOf(subject.engine, "orders")).lag, 1);
      produce(subject.engine, ["a"], { sequence: 0 }).catch(() => undefined);
      await produce(subject.engine, ["a"], { sequence: 0 });
      await subject.crash!();
      equal((await laneOf(subject.engine, "orders")).lag, 2);
    },
  },
  {
    name: "an engine without deduplication refuses a producer mark",
    rule: "What a capability does not declare is refused with `unsupported`.",
    needs: ({ engine }) =>
      engine.messages.capabilities.deduplicate === "none" || "the engine declares deduplication by sequence",
    async run({ engine }) {
      await declared(engine);
      await refused("unsupported", "a producer mark", () => produce(engine, ["m"], { sequence: 0 }));
    },
  },
  {
    name: "a message id that was stored in the topic is answered with its position and stored once",
    rule: "A user's own message id deduplicates where `deduplicate` is `id`.",
    needs: needsIds,
    async run({ engine }) {
      await declared(engine);
      await engine.messages.declare("refunds", { partitions: 1, groups: ["group"] });
      const body = bytesOf("m");
      const [original] = await append(engine, "orders", { body, id: "one" });
      const [again, other] = await append(engine, "orders", { body, id: "one" }, { body, id: "two" });
      equal(again, original);
      ok(other! > original!);
      await append(engine, "orders", { body }, { body });
      await append(engine, "refunds", { body, id: "one" });
      equal((await laneOf(engine, "orders")).lag, 4);
      equal((await laneOf(engine, "refunds")).lag, 1);
    },
  },
  {
    name: "a message id is known in the whole topic, whichever partition stored it",
    rule: "A message whose id was stored in this topic within the engine's window is not stored again.",
    needs: needsIds,
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const message = { body: bytesOf("m"), id: "one" };
      await engine.messages.append(batch("orders", [message], { partition: 0 }));
      await engine.messages.append(batch("orders", [message], { partition: 1 }));
      const { groups } = await engine.messages.describe("orders");
      deepEqual(
        groups[0]!.lanes.map((lane) => lane.lag),
        [1, 0],
      );
    },
  },
  {
    name: "a message id is remembered after its message was settled and across a crash",
    rule: "A message whose id was stored within the engine's window is answered with the original position.",
    needs: needsAll(needsIds, needsCrash),
    async run(subject) {
      await declared(subject.engine);
      const message = { body: bytesOf("m"), id: "one" };
      const [original] = await append(subject.engine, "orders", message);
      const { lane } = await soleLane(subject.engine, "orders");
      await lane.commit({ settled: [original!] });
      await subject.crash!();
      const [again] = await append(subject.engine, "orders", message);
      equal(again, original);
      equal((await laneOf(subject.engine, "orders")).lag, 0);
    },
  },
  {
    name: "a message id still deduplicates just before two minutes have passed",
    rule: "A user's own message id deduplicates within 2 minutes.",
    takesMs: 119_000,
    needs: needsIds,
    async run({ engine }) {
      await declared(engine);
      const message = { body: bytesOf("m"), id: "one" };
      const [original] = await append(engine, "orders", message);
      await engine.world.timers.sleep(119_000);
      const [again] = await append(engine, "orders", message);
      equal(again, original);
      equal((await laneOf(engine, "orders")).lag, 1);
    },
  },
  {
    name: "a message id deduplicates a delayed message too",
    rule: "A user's own message id deduplicates within 2 minutes.",
    needs: needsAll(needsIds, needsDelay),
    async run({ engine }) {
      await declared(engine);
      const { world } = engine;
      const message = { body: bytesOf("m"), id: "one", dueAt: world.clock.now() + 60_000 };
      await append(engine, "orders", message);
      await append(engine, "orders", message);
      equal((await engine.messages.describe("orders")).delayedCount, 1);
    },
  },
  {
    name: "an engine that does not deduplicate by id stores every message",
    rule: "`deduplicate`: `session`: by producer sequence only; `none`.",
    needs: ({ engine }) =>
      engine.messages.capabilities.deduplicate !== "id" || "the engine declares deduplication by id",
    async run({ engine }) {
      await declared(engine);
      const message = { body: bytesOf("m"), id: "one" };
      const [first] = await append(engine, "orders", message);
      const [second] = await append(engine, "orders", message);
      notEqual(first, second);
    },
  },
];
