import { deepEqual, equal, ok } from "node:assert/strict";
import type { LogCase } from "../conformance-case.ts";
import { eventually, refused } from "../expectations.ts";
import { append, declared, needsRetentionWithin, numbered, partitionOf, texts } from "./fixtures.ts";

const latenessMsMax = 60_000;

export const retentionCases: readonly LogCase[] = [
  {
    name: "records that are younger than their retention stay",
    rule: "How long a record is kept at least, from its append on, in milliseconds.",
    async run({ engine }) {
      await declared(engine, { retentionMs: 3_600_000, retentionBytes: 1024 * 1024 });
      for (let round = 0; round < 20; round++) await append(engine, "clicks", numbered(10, `${round}-`));
      await engine.world.timers.sleep(50);
      equal((await texts(engine, "clicks")).length, 200);
    },
  },
  {
    name: "records that are older than their retention go, and a reader is told",
    rule: "`not-found` (fields `first`) when records from that position on were dropped: a reader must not go past them unknowingly.",
    takesMs: 5_000,
    needs: needsRetentionWithin(latenessMsMax),
    async run({ engine }) {
      await declared(engine, { retentionMs: 200 });
      const [old] = await append(engine, "clicks", numbered(10));
      const { next } = await partitionOf(engine, "clicks");
      const { world, log } = engine;
      const { retentionLatenessMs } = log.capabilities;
      await eventually(
        world,
        "they are gone",
        async () => {
          await world.timers.sleep(100);
          return (await partitionOf(engine, "clicks")).first === next;
        },
        200 + retentionLatenessMs + 5_000,
      );
      const error = await refused("not-found", "reading what was dropped", () =>
        log.read({ log: "clicks", partition: 0, from: old!, limit: 10 }),
      );
      equal(BigInt(error.fields.first as bigint), next);
      // However slow the machine is, it stays until it was read.
      await declared(engine, { retentionMs: 3_600_000 });
      const [young] = await append(engine, "clicks", ["young"]);
      ok(young! >= next, "positions are not used again");
      deepEqual(await texts(engine, "clicks"), ["young"]);
      equal(await log.locate("clicks", 0, 0), (await partitionOf(engine, "clicks")).first);
    },
  },
];
