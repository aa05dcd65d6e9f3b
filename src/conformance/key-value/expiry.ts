import { deepEqual, equal, ok } from "node:assert/strict";
import type { KeyValueCase, KeyValuesEngine } from "../conformance-case.ts";
import { eventually, refused } from "../expectations.ts";
import { add, committed, entry, needsCrash, put, value } from "./fixtures.ts";

/** Waits until the key is gone; it must be there until its end and gone no later than the engine declares. */
async function expires(engine: KeyValuesEngine, key: string, endsAt: number, exactTime: boolean): Promise<void> {
  const { clock } = engine.world;
  let goneAt = 0;
  await eventually(engine.world, `${key} expires`, async () => {
    const gone = (await entry(engine, key)) === undefined;
    goneAt = clock.now();
    ok(!gone || goneAt >= endsAt, `${key} was gone ${endsAt - goneAt} ms early`);
    return gone;
  });
  if (exactTime) {
    const { expiryLatenessMs } = engine.keyValue.capabilities;
    ok(goneAt - endsAt <= expiryLatenessMs + 50, `${key} was seen ${goneAt - endsAt} ms after its end`);
  }
}

export const expiryCases: readonly KeyValueCase[] = [
  {
    name: "an engine declares at most three seconds of lateness",
    rule: "Expired keys may stay visible up to 3 s.",
    async run({ engine }) {
      const { expiryLatenessMs } = engine.keyValue.capabilities;
      ok(expiryLatenessMs >= 0 && expiryLatenessMs <= 3_000);
    },
  },
  {
    name: "a key with a time to live is there until its end, and gone soon after",
    rule: "`ttlMs`: from now. Expired keys may stay visible up to 3 s, and are never gone early.",
    async run({ engine, exactTime }) {
      const before = engine.world.clock.now();
      await committed(engine, put("key", "value", { ttlMs: 300 }));
      await committed(engine, put("other", "value", { ttlMs: 3_600_000 }));
      const found = await entry(engine, "key");
      ok(found!.expiresAt! >= before + 300 && found!.expiresAt! <= engine.world.clock.now() + 300);
      await expires(engine, "key", before + 300, exactTime === true);
      deepEqual(
        (await engine.keyValue.scan("")).map((each) => each.key),
        ["other"],
        "a scan leaves it out as well",
      );
    },
  },
  {
    name: "an expired key is absent for conditions, and its successor gets a greater version",
    rule: "`ifAbsent`: the key is not there (or has expired).",
    async run({ engine }) {
      const before = engine.world.clock.now();
      const { version } = await committed(engine, put("lock", "a", { ttlMs: 100 }));
      await expires(engine, "lock", before + 100, false);
      const stale = await engine.keyValue.commit([{ type: "delete", key: "lock", condition: { ifVersion: version } }]);
      ok(!stale.committed && stale.current === undefined);
      const next = await committed(engine, put("lock", "b", { condition: { ifAbsent: true }, ttlMs: 60_000 }));
      ok(next.version > version);
    },
  },
  {
    name: "of many callers who wait for a key to expire one gets it, and not early",
    rule: "The key is not there (or has expired).",
    async run({ engine }) {
      const { clock } = engine.world;
      const before = clock.now();
      await committed(engine, put("lock", "first", { ttlMs: 150 }));
      const wins: number[] = [];
      const caller = async (_: unknown, index: number) => {
        await eventually(engine.world, "somebody gets the lock", async () => {
          if (wins.length > 0) return true;
          const change = put("lock", String(index), { condition: { ifAbsent: true } });
          const result = await engine.keyValue.commit([change]);
          if (result.committed) wins.push(clock.now());
          return result.committed;
        });
      };
      await Promise.all(Array.from({ length: 10 }, caller));
      equal(wins.length, 1);
      ok(wins[0]! >= before + 150);
    },
  },
  {
    name: "a put without a time to live takes the former one away",
    rule: "`ttlMs`: the key has none when it is left out.",
    async run({ engine }) {
      const { world } = engine;
      const before = world.clock.now();
      await committed(engine, put("kept", "1", { ttlMs: 100 }));
      await committed(engine, put("kept", "2"));
      await committed(engine, put("gone", "1", { ttlMs: 100 }));
      equal((await entry(engine, "kept"))!.expiresAt, undefined);
      await expires(engine, "gone", before + 100, false);
      equal(await value(engine, "kept"), "2");
    },
  },
  {
    name: "a put with a time to live starts it anew",
    rule: "`ttlMs`: from now.",
    async run({ engine }) {
      const { world } = engine;
      await committed(engine, put("key", "1", { ttlMs: 100 }));
      const again = world.clock.now();
      await committed(engine, put("key", "2", { ttlMs: 400 }));
      await expires(engine, "key", again + 400, false);
    },
  },
  {
    name: "an add gives a time to live only to a counter that it creates",
    rule: "Only for a key that this change creates; an existing key keeps its own.",
    async run({ engine }) {
      const before = engine.world.clock.now();
      await committed(engine, add("window", 1, { ttlMs: 2_000 }));
      const { expiresAt } = (await entry(engine, "window"))!;
      await committed(engine, add("window", 1, { ttlMs: 3_600_000 }));
      equal((await entry(engine, "window"))!.expiresAt, expiresAt);
      await committed(engine, add("forever", 1));
      await committed(engine, add("forever", 1, { ttlMs: 1 }));
      equal((await entry(engine, "forever"))!.expiresAt, undefined);
      await expires(engine, "window", before + 2_000, false);
      deepEqual((await committed(engine, add("window", 1))).counters, [1], "an expired counter starts at 0");
    },
  },
  {
    name: "a time to live that is not a positive number is invalid",
    rule: "`invalid`: the argument is wrong.",
    async run({ engine }) {
      for (const ttlMs of [0, -1, Number.NaN]) {
        await refused("invalid", `ttlMs ${ttlMs}`, () => engine.keyValue.commit([put("key", "value", { ttlMs })]));
      }
      equal(await entry(engine, "key"), undefined);
    },
  },
  {
    name: "a time to live goes on across a crash",
    rule: "`expiresAt`: ms since the epoch by the engine's clock.",
    needs: needsCrash,
    async run(subject) {
      const before = subject.engine.world.clock.now();
      await committed(subject.engine, put("short", "1", { ttlMs: 300 }));
      await committed(subject.engine, put("long", "1", { ttlMs: 3_600_000 }));
      const { expiresAt } = (await entry(subject.engine, "long"))!;
      await subject.crash!();
      const { engine } = subject;
      await expires(engine, "short", before + 300, false);
      equal((await entry(engine, "long"))!.expiresAt, expiresAt);
    },
  },
];
