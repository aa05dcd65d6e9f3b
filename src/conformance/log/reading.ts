import { deepEqual, equal, ok } from "node:assert/strict";
import type { LogCase } from "../conformance-case.ts";
import { refused, rejectsWith, staysPending, textOf, within } from "../expectations.ts";
import { all, append, declared, numbered, partitionOf, records, texts } from "./fixtures.ts";

export const readingCases: readonly LogCase[] = [
  {
    name: "a log is read from any position, as often as wanted",
    rule: "Partitioned sequences of records that stay where they are when they were read, and are read by offset or by instant, by anybody, as often as wanted.",
    async run({ engine }) {
      await declared(engine);
      const positions = (await append(engine, "clicks", numbered(10))).concat(
        await append(engine, "clicks", numbered(10, "s")),
      );
      const expected = [...numbered(10), ...numbered(10, "s")];
      for (const [index, from] of positions.entries()) {
        const found = await records(engine, "clicks", from, expected.length - index);
        deepEqual(
          found.map(({ body }) => textOf(body)),
          expected.slice(index),
        );
        equal(found[0]!.position, from);
      }
      deepEqual(await texts(engine, "clicks"), expected);
    },
  },
  {
    name: "a page holds at least one record when there is one, at most the limit, and says where to go on",
    rule: "At least one when there is one, at most `limit`. Whoever goes on from `next` misses none.",
    async run({ engine }) {
      await declared(engine);
      for (let index = 0; index < 4; index++) await append(engine, "clicks", numbered(3, `${index}-`));
      for (const limit of [1, 2, 5, 100]) equal((await all(engine, "clicks", 0, limit)).length, 12);
      const { first, next } = await partitionOf(engine, "clicks");
      const page = await engine.log.read({ log: "clicks", partition: 0, from: first, limit: 5 });
      ok(page.records.length >= 1 && page.records.length <= 5 && page.next > page.records.at(-1)!.position);
      const end = await engine.log.read({ log: "clicks", partition: 0, from: next, limit: 5 });
      deepEqual(end.records, []);
      ok(end.next >= next);
    },
  },
  {
    name: "records of large bodies come whole, page by page",
    rule: "At most `limit`, and fewer than there are when these are large.",
    async run({ engine }) {
      await declared(engine);
      const { recordBytesMax } = engine.log.capabilities;
      const bodies = [1, 2, 3].map((fill) => new Uint8Array(recordBytesMax).fill(fill));
      for (const body of bodies) await append(engine, "clicks", [{ body }]);
      const found = await all(engine, "clicks");
      deepEqual(
        found.map(({ body }) => [body.length, body[0], body.at(-1)]),
        bodies.map((body, index) => [body.length, index + 1, index + 1]),
      );
    },
  },
  {
    name: "a read waits at the end for the next record, and wakes with it",
    rule: "Waits up to `waitMs` for the first.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      await append(engine, "clicks", ["a"]);
      const { next } = await partitionOf(engine, "clicks");
      const request = { log: "clicks", partition: 0, from: next, limit: 10, waitMs: Number.POSITIVE_INFINITY };
      const waiting = [engine.log.read(request), engine.log.read(request)];
      await append(engine, "clicks", ["elsewhere"], 1);
      await staysPending(engine.world, "reading at the end", Promise.race(waiting));
      await append(engine, "clicks", ["b"]);
      for (const read of waiting) {
        const page = await within(engine.world, "the record comes", read);
        deepEqual(
          page.records.map(({ body }) => textOf(body)),
          ["b"],
        );
      }
    },
  },
  {
    name: "a read that waited long enough answers an empty page",
    rule: "An empty page means that there was none.",
    takesMs: 100,
    async run({ engine }) {
      await declared(engine);
      const { next } = await partitionOf(engine, "clicks");
      const started = engine.world.clock.monotonic();
      const page = await within(
        engine.world,
        "the wait ends",
        engine.log.read({ log: "clicks", partition: 0, from: next, limit: 10, waitMs: 100 }),
      );
      deepEqual(page.records, []);
      // The engine's timers may be a little ahead of this clock.
      ok(engine.world.clock.monotonic() - started >= 95, "not before its time");
    },
  },
  {
    name: "a waiting read ends with the reason of its signal",
    rule: "Rejects with the signal's reason when it aborts.",
    async run({ engine }) {
      await declared(engine);
      const { next } = await partitionOf(engine, "clicks");
      const request = { log: "clicks", partition: 0, from: next, limit: 10, waitMs: Number.POSITIVE_INFINITY };
      const controller = new AbortController();
      const waiting = engine.log.read(request, { signal: controller.signal });
      await staysPending(engine.world, "reading at the end", waiting);
      const reason = new Error("enough");
      controller.abort(reason);
      await rejectsWith(reason, "the read", within(engine.world, "the read ends", waiting));
      await rejectsWith(reason, "a read that comes too late", engine.log.read(request, { signal: controller.signal }));
    },
  },
  {
    name: "a read of what cannot be there is refused",
    rule: "`invalid` beyond the end.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "clicks", ["a"]);
      const { next } = await partitionOf(engine, "clicks");
      const read = (more: object) => () =>
        engine.log.read({ log: "clicks", partition: 0, from: 0n, limit: 1, ...more } as never);
      await refused("invalid", "beyond the end", read({ from: next + 1n }));
      await refused("invalid", "a negative position", read({ from: -1n }));
      await refused("invalid", "a number as position", read({ from: 0 }));
      await refused("invalid", "no limit", read({ limit: 0 }));
      await refused("invalid", "no such partition", read({ partition: 1 }));
      await refused("invalid", "a negative wait", read({ from: next, waitMs: -1 }));
    },
  },
  {
    name: "the first record at or after an instant is found",
    rule: "The position of the first record that is kept and was appended at or after the instant, by the engine's clock; the partition's end when there is none.",
    async run({ engine }) {
      await declared(engine);
      equal(await engine.log.locate("clicks", 0, 0), (await partitionOf(engine, "clicks")).next, "an empty log");
      for (const text of numbered(6)) {
        await append(engine, "clicks", [`${text}a`, `${text}b`]);
        await engine.world.timers.sleep(3);
      }
      const stored = await all(engine, "clicks");
      const { next } = await partitionOf(engine, "clicks");
      const exact = engine.log.capabilities.instants === "exact";
      const instants = new Set(stored.flatMap(({ appendedAt }) => [appendedAt - 1, appendedAt, appendedAt + 1]));
      for (const at of [0, ...instants]) {
        const expected = stored.find(({ appendedAt }) => appendedAt >= at)?.position ?? next;
        const found = await engine.log.locate("clicks", 0, at);
        if (exact) equal(found, expected, `the first one from ${at} on`);
        else ok(found <= expected, `no later than the first one from ${at} on`);
      }
      await refused("invalid", "no instant", () => engine.log.locate("clicks", 0, Number.NaN));
      await refused("invalid", "no such partition", () => engine.log.locate("clicks", 1, 0));
    },
  },
  {
    name: "a description tells the bounds of each partition",
    rule: "The position of the oldest record that is kept; equals `next` when there is none.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const empty = await partitionOf(engine, "clicks", 1);
      equal(empty.first, empty.next);
      equal(empty.lastAt, undefined);
      const positions = await append(engine, "clicks", ["a", "b"], 1);
      const { first, next, lastAt } = await partitionOf(engine, "clicks", 1);
      ok(first <= positions[0]! && next > positions[1]!);
      equal(lastAt, (await all(engine, "clicks", 1)).at(-1)!.appendedAt);
      deepEqual(await partitionOf(engine, "clicks", 0), empty);
    },
  },
];
