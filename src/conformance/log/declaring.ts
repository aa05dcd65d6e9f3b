import { deepEqual, equal } from "node:assert/strict";
import type { LogCase } from "../conformance-case.ts";
import { refused, within } from "../expectations.ts";
import { all, append, declared, numbered, partitionOf, positionOf, texts } from "./fixtures.ts";

export const declaringCases: readonly LogCase[] = [
  {
    name: "a log is declared once and again, by several at a time, and stays the same",
    rule: "Makes the log when it is not there. Idempotent and safe to call concurrently.",
    async run({ engine }) {
      await Promise.all([1, 2, 3].map(() => declared(engine, { partitions: 2 })));
      await append(engine, "clicks", ["a"], 1);
      await declared(engine, { partitions: 2 });
      deepEqual(await texts(engine, "clicks", 1), ["a"]);
      deepEqual(await texts(engine, "clicks", 0), []);
      deepEqual(await engine.log.logs(), ["clicks"]);
    },
  },
  {
    name: "another partition count than before is a conflict",
    rule: "Another partition count than before: `conflict`.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      await refused("conflict", "declaring with 3 partitions", () => declared(engine, { partitions: 3 }));
      equal((await engine.log.describe("clicks")).partitions.length, 2);
    },
  },
  {
    name: "retentions that are given replace the former ones, and those left out stay",
    rule: "Retentions that are given replace the former ones; those left out stay, and a log that never had one keeps every record.",
    async run({ engine }) {
      const retentions = async () => {
        const { retentionMs, retentionBytes } = await engine.log.describe("clicks");
        return [retentionMs, retentionBytes];
      };
      await declared(engine);
      deepEqual(await retentions(), [undefined, undefined]);
      await declared(engine, { retentionMs: 3_600_000 });
      deepEqual(await retentions(), [3_600_000, undefined]);
      await declared(engine, { retentionBytes: 1_000_000_000 });
      deepEqual(await retentions(), [3_600_000, 1_000_000_000]);
      await declared(engine, { retentionMs: Number.POSITIVE_INFINITY });
      deepEqual(await retentions(), [undefined, 1_000_000_000]);
    },
  },
  {
    name: "logs are listed by name, and one that was not declared is not found",
    rule: "`not-found` when the log was never declared, or was removed.",
    async run({ engine }) {
      for (const log of ["b", "a", "c"]) await declared(engine, { log });
      deepEqual(await engine.log.logs(), ["a", "b", "c"]);
      const nowhere = { log: "nowhere", partition: 0 };
      await refused("not-found", "describing", () => engine.log.describe("nowhere"));
      await refused("not-found", "appending", () => append(engine, "nowhere", ["a"]));
      await refused("not-found", "reading", () => engine.log.read({ ...nowhere, from: 0n, limit: 1 }));
      await refused("not-found", "locating", () => engine.log.locate("nowhere", 0, 0));
      await refused("not-found", "positions", () => engine.log.positions("reader", "nowhere"));
      await refused("not-found", "opening a writer", () => engine.log.openWriter("writer", ["nowhere"]));
      await refused("not-found", "removing", () => engine.log.remove("nowhere"));
    },
  },
  {
    name: "a log that is declared again after its removal shares nothing with the former one",
    rule: "A log declared under the same name afterwards shares nothing with it.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      await append(engine, "clicks", numbered(5));
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      await engine.log.commit(writer, { positions: [{ reader: "reader", log: "clicks", partition: 0, position: 3n }] });
      const { first } = await partitionOf(engine, "clicks");
      const waiting = engine.log.read({ log: "clicks", partition: 1, from: first, limit: 1, waitMs: 60_000 });
      waiting.catch(() => undefined);
      await engine.log.remove("clicks");
      await refused("not-found", "a read that waited", () => within(engine.world, "the read ends", waiting));
      deepEqual(await engine.log.logs(), []);
      await declared(engine);
      deepEqual(await all(engine, "clicks"), []);
      equal(await positionOf(engine, "clicks"), undefined);
      await append(engine, "clicks", ["new"]);
      deepEqual(await texts(engine, "clicks"), ["new"]);
    },
  },
  {
    name: "a declaration that makes no sense is refused",
    rule: "1 to `capabilities.partitionsMax`; fixed for ever.",
    async run({ engine }) {
      const { partitionsMax } = engine.log.capabilities;
      for (const partitions of [0, 1.5, -1, Number.NaN, partitionsMax + 1])
        await refused("invalid", `${partitions} partitions`, () => declared(engine, { partitions }));
      await refused("invalid", "no name", () => declared(engine, { log: "" }));
      await refused("invalid", "a long name", () => declared(engine, { log: "x".repeat(256) }));
      await refused("invalid", "a negative retention", () => declared(engine, { retentionMs: -1 }));
      await refused("invalid", "no number", () => declared(engine, { retentionBytes: Number.NaN }));
      deepEqual(await engine.log.logs(), []);
    },
  },
];
