import { deepEqual, equal, ok } from "node:assert/strict";
import type { KeyValueCase } from "../conformance-case.ts";
import { refused, within } from "../expectations.ts";
import { add, committed, entry, needsSeveralKeys, put } from "./fixtures.ts";

export const limitCases: readonly KeyValueCase[] = [
  {
    name: "a key of exactly keyBytesMax is stored, one byte more is invalid, counted in UTF-8",
    rule: "`keyBytesMax`: in bytes of UTF-8.",
    async run({ engine }) {
      const { keyBytesMax } = engine.keyValue.capabilities;
      const longest = "ä".repeat(Math.floor(keyBytesMax / 2)) + "a".repeat(keyBytesMax % 2);
      await committed(engine, put(longest, "1"));
      equal((await entry(engine, longest))!.key, longest);
      for (const key of [`${longest}a`, "a".repeat(keyBytesMax + 1)]) {
        await refused("invalid", "putting a longer key", () => engine.keyValue.commit([put(key, "1")]));
        await refused("invalid", "adding to a longer key", () => engine.keyValue.commit([add(key, 1)]));
      }
    },
  },
  {
    name: "a value of exactly valueBytesMax is stored, one byte more is invalid",
    rule: "`valueBytesMax`: the largest value, in bytes.",
    async run({ engine }) {
      const { valueBytesMax } = engine.keyValue.capabilities;
      const largest = new Uint8Array(valueBytesMax).fill(7);
      await committed(engine, put("k", largest));
      ok(Buffer.from((await entry(engine, "k"))!.value).equals(largest));
      const error = await refused("invalid", "one byte more", () =>
        engine.keyValue.commit([put("k", new Uint8Array(valueBytesMax + 1))]),
      );
      ok(error.message.includes(String(valueBytesMax)), "the message names the limit");
      equal((await entry(engine, "k"))!.value.byteLength, valueBytesMax);
    },
  },
  {
    name: "a commit of exactly changesMax changes is made, one more is invalid",
    rule: "`changesMax`: how many changes one commit may hold.",
    needs: needsSeveralKeys,
    async run({ engine }) {
      const { changesMax } = engine.keyValue.capabilities;
      const changes = Array.from({ length: changesMax + 1 }, (_, index) => put(`k${index}`, "1"));
      await refused("invalid", "one change more", () => engine.keyValue.commit(changes));
      const repeated = [...changes.slice(0, changesMax - 1), put("k0", "2")];
      await refused("invalid", "a key that stands in two of many changes", () => engine.keyValue.commit(repeated));
      deepEqual(await engine.keyValue.scan("", { limit: 1 }), []);
      await committed(engine, ...changes.slice(0, changesMax));
      equal((await engine.keyValue.scan("", { limit: changesMax + 1 })).length, changesMax);
    },
  },
  {
    name: "after close everything is refused with `closed`",
    rule: "`closed`: it was closed before.",
    async run({ engine }) {
      await committed(engine, put("k", "1"));
      const cut = Promise.allSettled(Array.from({ length: 20 }, () => engine.keyValue.commit([add("n", 1)])));
      await engine.close();
      await engine.close();
      await within(engine.world, "commits that were under way are settled either way", cut);
      await refused("closed", "get", () => engine.keyValue.get(["k"]));
      const error = await refused("closed", "commit", () => engine.keyValue.commit([put("k", "2")]));
      equal(error.outcome, "not-applied");
      await refused("closed", "scan", () => engine.keyValue.scan(""));
    },
  },
];
