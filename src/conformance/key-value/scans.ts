import { deepEqual, equal } from "node:assert/strict";
import type { KeyValueCase } from "../conformance-case.ts";
import { committed, put } from "./fixtures.ts";

export const scanCases: readonly KeyValueCase[] = [
  {
    name: "a scan answers the entries of a prefix, ordered by key",
    rule: "Entries whose key starts with `prefix`, ordered by key.",
    async run({ engine }) {
      const versions = new Map<string, bigint>();
      for (const key of ["b:2", "a:1", "b:10", "b", "c", "b:", "b;", "a"]) {
        versions.set(key, (await committed(engine, put(key, `value of ${key}`))).version);
      }
      const found = await engine.keyValue.scan("b:");
      deepEqual(
        found.map((each) => [each.key, Buffer.from(each.value).toString(), each.version]),
        ["b:", "b:10", "b:2"].map((key) => [key, `value of ${key}`, versions.get(key)]),
      );
      deepEqual(await engine.keyValue.scan("nothing"), []);
      equal((await engine.keyValue.scan("")).length, 8);
    },
  },
  {
    name: "keys are ordered by UTF-16 code unit",
    rule: "Ordered by key (by UTF-16 code unit).",
    async run({ engine }) {
      // U+FF5E is one unit, greater than the surrogates of U+1F9C0; in UTF-8 it is the other way round.
      const keys = ["a", "Z", "ä", "～", "🧀", "z", "0", "a\u0000"];
      for (const key of keys) await committed(engine, put(key, "1"));
      deepEqual(
        (await engine.keyValue.scan("")).map((each) => each.key),
        [...keys].sort(),
      );
    },
  },
  {
    name: "a scan is read in pages, each key once",
    rule: "At most `limit` entries, greater than `after` when given.",
    async run({ engine }) {
      const keys = Array.from({ length: 57 }, (_, index) => `key:${String(index).padStart(3, "0")}`);
      await Promise.all([...keys].reverse().map((key) => committed(engine, put(key, "1"))));
      await committed(engine, put("kez", "1"));
      const seen: string[] = [];
      let after: string | undefined;
      for (;;) {
        const page = await engine.keyValue.scan("key:", { limit: 10, after });
        if (page.length === 0) break;
        deepEqual(page.length, Math.min(10, keys.length - seen.length));
        seen.push(...page.map((each) => each.key));
        after = seen.at(-1);
      }
      deepEqual(seen, keys);
      const between = await engine.keyValue.scan("key:", { limit: 1, after: "key:010x" });
      deepEqual(
        between.map((each) => each.key),
        ["key:011"],
      );
      const before = await engine.keyValue.scan("key:", { limit: 1, after: "a" });
      equal(before[0]!.key, "key:000");
      deepEqual(await engine.keyValue.scan("key:", { after: "kez" }), []);
    },
  },
  {
    name: "a scan without a limit answers a thousand entries",
    rule: "`limit`: at most this many entries; 1,000 when left out.",
    async run({ engine }) {
      const keys = Array.from({ length: 1_003 }, (_, index) => `k${String(index).padStart(5, "0")}`);
      await Promise.all(keys.map((key) => committed(engine, put(key, "1"))));
      const first = await engine.keyValue.scan("k");
      deepEqual(
        first.map((each) => each.key),
        keys.slice(0, 1_000),
      );
      equal((await engine.keyValue.scan("k", { limit: 2_000 })).length, 1_003);
    },
  },
  {
    name: "a scan sees what was committed before it, and no deleted keys",
    rule: "Commits are linearizable.",
    async run({ engine }) {
      for (let round = 0; round < 20; round++) {
        await committed(engine, put(`k${round}`, "1"));
        if (round > 0) await committed(engine, { type: "delete", key: `k${round - 1}` });
        deepEqual(
          (await engine.keyValue.scan("k")).map((each) => each.key),
          [`k${round}`],
        );
      }
    },
  },
];
