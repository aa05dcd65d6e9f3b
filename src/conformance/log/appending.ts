import { deepEqual, equal, ok } from "node:assert/strict";
import type { LogCase } from "../conformance-case.ts";
import { bytesOf, refused, textOf } from "../expectations.ts";
import { all, append, batch, declared, needsDeduplication, numbered, partitionOf, texts } from "./fixtures.ts";

export const appendingCases: readonly LogCase[] = [
  {
    name: "records are read as they were appended, in order, with positions that grow",
    rule: "Stores records at the end of one partition, in order, all or nothing. Answers their positions in the same order.",
    async run({ engine }) {
      await declared(engine);
      const first = await append(engine, "clicks", ["a", { body: bytesOf("b"), key: "käy", headers: { h: "ü" } }]);
      const second = await append(engine, "clicks", [{ body: new Uint8Array(0) }]);
      const stored = await all(engine, "clicks");
      deepEqual(
        stored.map(({ position }) => position),
        [...first, ...second],
      );
      ok(first[0]! < first[1]! && first[1]! < second[0]!, "positions grow");
      deepEqual(
        stored.map(({ body, key, headers }) => [textOf(body), key, headers && { ...headers }]),
        [
          ["a", undefined, undefined],
          ["b", "käy", { h: "ü" }],
          ["", undefined, undefined],
        ],
      );
      const { next } = await partitionOf(engine, "clicks");
      ok(next > second[0]!);
    },
  },
  {
    name: "appends to one partition take effect in the order of the calls",
    rule: "Calls may run concurrently; calls for one partition take effect in the order in which they were made.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const calls = numbered(40).map((text, index) => append(engine, "clicks", [text], index % 2));
      const positions = await Promise.all(calls);
      for (const partition of [0, 1]) {
        deepEqual(
          await texts(engine, "clicks", partition),
          numbered(40).filter((_, index) => index % 2 === partition),
        );
        const own = positions.filter((_, index) => index % 2 === partition).map(([position]) => position!);
        ok(own.every((position, index) => index === 0 || position > own[index - 1]!));
      }
    },
  },
  {
    name: "instants of records never decrease, and are the engine's",
    rule: "When the engine stored it, ms since the epoch by the engine's clock. Never less than that of the record before it.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "clicks", ["a", "b"]);
      await engine.world.timers.sleep(20);
      await append(engine, "clicks", ["c"]);
      const [a, b, c] = (await all(engine, "clicks")).map(({ appendedAt }) => appendedAt);
      ok(a! <= b! && b! < c!, `${a}, ${b}, ${c}`);
      equal((await partitionOf(engine, "clicks")).lastAt, c);
    },
  },
  {
    name: "a batch that breaks a limit is refused whole, and one at the limit is taken",
    rule: "`invalid` when there are none or they exceed a limit.",
    async run({ engine }) {
      await declared(engine);
      const { recordBytesMax, keyBytesMax, batchBytesMax } = engine.log.capabilities;
      await refused("invalid", "no records", () => append(engine, "clicks", []));
      await refused("invalid", "a long key", () =>
        append(engine, "clicks", ["a", { body: bytesOf("b"), key: "k".repeat(keyBytesMax + 1) }]),
      );
      await refused("invalid", "a large record", () =>
        append(engine, "clicks", ["a", { body: new Uint8Array(recordBytesMax), key: "k" }]),
      );
      const body = new Uint8Array(Math.min(recordBytesMax, Math.ceil(batchBytesMax / 4)));
      const count = Math.ceil(batchBytesMax / body.length) + 1;
      await refused("invalid", "a large batch", () =>
        append(
          engine,
          "clicks",
          Array.from({ length: count }, () => ({ body })),
        ),
      );
      await refused("invalid", "a text as body", () => append(engine, "clicks", [{ body: "text" as never }]));
      await refused("invalid", "a lone surrogate", () => append(engine, "clicks", [{ body, key: "\ud800" }]));
      for (const partition of [1, -1, 0.5])
        await refused("invalid", `partition ${partition}`, () => append(engine, "clicks", ["a"], partition));
      deepEqual(await texts(engine, "clicks"), []);
      await append(engine, "clicks", [{ body: new Uint8Array(recordBytesMax - 1), key: "k" }]);
      equal((await all(engine, "clicks"))[0]!.body.length, recordBytesMax - 1);
    },
  },
  {
    name: "a batch that its producer repeats is answered with its positions and stored once",
    rule: "A sequence that is already stored is answered with its original positions and stored no second time.",
    needs: needsDeduplication,
    async run({ engine }) {
      await declared(engine);
      const producer = (sequence: number, epoch = 0) => ({ producer: { id: "p", epoch, sequence } });
      const first = await engine.log.append(batch("clicks", ["a", "b"], producer(0)));
      const second = await engine.log.append(batch("clicks", ["c"], producer(2)));
      deepEqual(await engine.log.append(batch("clicks", ["a", "b"], producer(0))), first);
      deepEqual(await engine.log.append(batch("clicks", ["c"], producer(2))), second);
      await refused("conflict", "a gap", () => engine.log.append(batch("clicks", ["e"], producer(4))));
      await engine.log.append(batch("clicks", ["d"], producer(0, 1)));
      await refused("lost", "an older epoch", () => engine.log.append(batch("clicks", ["e"], producer(3))));
      deepEqual(await texts(engine, "clicks"), ["a", "b", "c", "d"]);
    },
  },
  {
    name: "a producer's mark is refused where batches are not known again",
    rule: "With `producer` set (`unsupported` where `capabilities.deduplicate` is false)",
    needs: ({ engine }) => !engine.log.capabilities.deduplicate || "the engine declares deduplication",
    async run({ engine }) {
      await declared(engine);
      const producer = { id: "p", epoch: 0, sequence: 0 };
      await refused("unsupported", "a mark", () => engine.log.append(batch("clicks", ["a"], { producer })));
      deepEqual(await texts(engine, "clicks"), []);
    },
  },
];
