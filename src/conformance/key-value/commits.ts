import { deepEqual, equal, ok } from "node:assert/strict";
import type { KeyValueCase } from "../conformance-case.ts";
import { bytesOf, refused, textOf } from "../expectations.ts";
import { add, committed, declined, entry, needsSeveralKeys, put, value } from "./fixtures.ts";

export const commitCases: readonly KeyValueCase[] = [
  {
    name: "a value comes back as it was put, under the version of its commit",
    rule: "`get`: one entry per key. `version`: the version that every changed key has now.",
    async run({ engine }) {
      const everyByte = Uint8Array.from({ length: 256 }, (_, index) => index);
      const { version, counters } = await committed(engine, put("käse 🧀", everyByte));
      deepEqual(counters, [undefined]);
      const found = await entry(engine, "käse 🧀");
      deepEqual([found!.key, found!.version, found!.expiresAt], ["käse 🧀", version, undefined]);
      deepEqual(Buffer.from(found!.value), Buffer.from(everyByte));
      await committed(engine, put("empty", ""));
      equal((await entry(engine, "empty"))!.value.byteLength, 0);
    },
  },
  {
    name: "get answers one entry per key in the order of the keys, also for absent and repeated ones",
    rule: "One entry per key, in the same order.",
    async run({ engine }) {
      await committed(engine, put("a", "1"));
      await committed(engine, put("b", "2"));
      const found = await engine.keyValue.get(["b", "nothing", "a", "b"]);
      deepEqual(
        found.map((each) => each && textOf(each.value)),
        ["2", undefined, "1", "2"],
      );
      deepEqual(await engine.keyValue.get([]), []);
    },
  },
  {
    name: "the caller may reuse its bytes once the commit has settled",
    rule: "A committed value is what it was when the commit was asked for.",
    async run({ engine }) {
      const bytes = bytesOf("before");
      await committed(engine, put("key", bytes));
      bytes.fill(0);
      equal(await value(engine, "key"), "before");
    },
  },
  {
    name: "versions only grow, over all keys, also for a key that was deleted in between",
    rule: "Versions come from one counter and are never reused, also after delete.",
    async run({ engine }) {
      const versions = [
        (await committed(engine, put("a", "1"))).version,
        (await committed(engine, put("b", "1"))).version,
      ];
      versions.push((await committed(engine, { type: "delete", key: "a" })).version);
      versions.push((await committed(engine, put("a", "2"))).version, (await committed(engine, add("c", 1))).version);
      for (let index = 1; index < versions.length; index++) ok(versions[index]! > versions[index - 1]!);
      equal((await entry(engine, "a"))!.version, versions[3]);
    },
  },
  {
    name: "deleting removes a key; deleting an absent one is no error",
    rule: "Deleting an absent key without condition is no error and changes nothing.",
    async run({ engine }) {
      await committed(engine, put("key", "value"));
      await committed(engine, { type: "delete", key: "key" });
      equal(await entry(engine, "key"), undefined);
      await committed(engine, { type: "delete", key: "key" });
      await committed(engine, { type: "delete", key: "never there" });
      deepEqual(await engine.keyValue.scan(""), []);
    },
  },
  {
    name: "`ifAbsent` holds for a key that is not there, and else answers with what is",
    rule: "The first failed condition is a result, not an error, with `current`.",
    async run({ engine }) {
      const ifAbsent = { condition: { ifAbsent: true } } as const;
      const { version } = await committed(engine, put("key", "first", ifAbsent));
      const result = await declined(engine, put("key", "second", ifAbsent));
      deepEqual([result.failed, result.reason], [0, "condition"]);
      deepEqual([textOf(result.current!.value), result.current!.version], ["first", version]);
      equal(await value(engine, "key"), "first");
      await committed(engine, { type: "delete", key: "key" });
      await committed(engine, put("key", "third", ifAbsent));
    },
  },
  {
    name: "`ifVersion` holds for exactly the present version",
    rule: "The key is there, with exactly this version.",
    async run({ engine }) {
      const { version } = await committed(engine, put("key", "1"));
      const next = await committed(engine, put("key", "2", { condition: { ifVersion: version } }));
      for (const ifVersion of [version, next.version + 1n]) {
        const result = await declined(engine, { type: "delete", key: "key", condition: { ifVersion } });
        deepEqual([result.failed, result.reason, result.current!.version], [0, "condition", next.version]);
      }
      const absent = await declined(engine, put("absent", "1", { condition: { ifVersion: version } }));
      deepEqual([absent.reason, absent.current], ["condition", undefined]);
      await committed(engine, { type: "delete", key: "key", condition: { ifVersion: next.version } });
      equal(await entry(engine, "key"), undefined);
    },
  },
  {
    name: "an add may carry a condition",
    rule: "Puts, deletes, bounded adds, each with its condition.",
    async run({ engine }) {
      const { version } = await committed(engine, add("n", 5, { condition: { ifAbsent: true } }));
      equal((await declined(engine, add("n", 5, { condition: { ifAbsent: true } }))).reason, "condition");
      deepEqual((await committed(engine, add("n", 1, { condition: { ifVersion: version } }))).counters, [6]);
    },
  },
  {
    name: "a check changes nothing and decides over the commit",
    rule: "Changes nothing; the commit happens only if the condition holds.",
    needs: needsSeveralKeys,
    async run({ engine }) {
      const { version } = await committed(engine, put("guard", "1"));
      await committed(engine, { type: "check", key: "guard", condition: { ifVersion: version } }, put("a", "1"));
      equal((await entry(engine, "guard"))!.version, version, "a checked key keeps its version");
      const result = await declined(
        engine,
        put("a", "2"),
        { type: "check", key: "guard", condition: { ifAbsent: true } },
        put("b", "2"),
      );
      deepEqual([result.failed, result.reason, result.current!.version], [1, "condition", version]);
      deepEqual([await value(engine, "a"), await value(engine, "b")], ["1", undefined]);
    },
  },
  {
    name: "several keys change together, under one version",
    rule: "All of the changes or none; every changed key has the commit's version.",
    needs: needsSeveralKeys,
    async run({ engine }) {
      await committed(engine, put("gone", "1"), put("a", "0"));
      const { version, counters } = await committed(
        engine,
        put("a", "1"),
        { type: "delete", key: "gone" },
        add("n", 3),
        put("b", "2"),
      );
      deepEqual(counters, [undefined, undefined, 3, undefined]);
      const [a, gone, n, b] = await engine.keyValue.get(["a", "gone", "n", "b"]);
      deepEqual([a!.version, gone, n!.version, b!.version], [version, undefined, version, version]);
    },
  },
  {
    name: "one failed condition among several changes nothing, and the first one that failed is answered",
    rule: "All of the changes or none; the index of the first change whose condition or bound failed.",
    needs: needsSeveralKeys,
    async run({ engine }) {
      await committed(engine, put("taken", "1"), add("stock", 0));
      const result = await declined(
        engine,
        put("a", "1"),
        { type: "delete", key: "taken" },
        add("stock", -1, { min: 0 }),
        put("b", "1", { condition: { ifVersion: 1n } }),
      );
      deepEqual([result.failed, result.reason], [2, "bound"]);
      deepEqual([result.current!.key, textOf(result.current!.value)], ["stock", "0"]);
      const other = await declined(
        engine,
        put("c", "1", { condition: { ifVersion: 1n } }),
        add("stock", -1, { min: 0 }),
      );
      deepEqual([other.failed, other.reason, other.current], [0, "condition", undefined]);
      deepEqual(
        (await engine.keyValue.scan("")).map((each) => [each.key, textOf(each.value)]),
        [
          ["stock", "0"],
          ["taken", "1"],
        ],
      );
    },
  },
  {
    name: "a get of several keys sees a commit as a whole or not at all",
    rule: "All as of one instant.",
    needs: needsSeveralKeys,
    async run({ engine }) {
      const keys = ["a", "b", "c"];
      await committed(engine, ...keys.map((key) => put(key, "0")));
      let writing = true;
      const writer = (async () => {
        for (let round = 1; round <= 50; round++)
          await committed(engine, ...keys.map((key) => put(key, String(round))));
        writing = false;
      })();
      let reads = 0;
      while (writing) {
        const found = await engine.keyValue.get(keys);
        equal(new Set(found.map((each) => textOf(each!.value))).size, 1, "three keys of one commit agree");
        equal(new Set(found.map((each) => each!.version)).size, 1);
        reads++;
      }
      await writer;
      ok(reads > 0);
    },
  },
  {
    name: "commits of one caller take effect in the order of the calls",
    rule: "Commits of one caller take effect in the order of the calls.",
    async run({ engine }) {
      const results = await Promise.all(
        Array.from({ length: 100 }, (_, index) => committed(engine, put("key", String(index)))),
      );
      for (let index = 1; index < results.length; index++) {
        ok(results[index]!.version > results[index - 1]!.version);
      }
      equal(await value(engine, "key"), "99");
    },
  },
  {
    name: "of many callers who replace the same version exactly one succeeds",
    rule: "Commits are linearizable.",
    async run({ engine }) {
      let { version } = await committed(engine, put("key", "start"));
      for (let round = 0; round < 10; round++) {
        const condition = { ifVersion: version };
        const results = await Promise.all(
          Array.from({ length: 20 }, (_, caller) =>
            engine.keyValue.commit([put("key", `${round}.${caller}`, { condition })]),
          ),
        );
        const winners = results.filter((result) => result.committed);
        equal(winners.length, 1);
        const winner = winners[0]!;
        if (winner.committed) version = winner.version;
        equal((await entry(engine, "key"))!.version, version);
      }
    },
  },
  {
    name: "a key that stands in two changes of a commit is invalid",
    rule: "A key may stand in one change only (`invalid`).",
    async run({ engine }) {
      await refused("invalid", "two puts", () => engine.keyValue.commit([put("a", "1"), put("a", "2")]));
      await refused(["invalid", "unsupported"], "a check and a put", () =>
        engine.keyValue.commit([
          put("b", "1"),
          { type: "check", key: "a", condition: { ifAbsent: true } },
          put("a", "2"),
        ]),
      );
      deepEqual(await engine.keyValue.scan(""), []);
    },
  },
  {
    name: "a reservation that is repeated after a lost reply is not applied twice",
    rule: "A reservation is one commit of the counter and an `ifAbsent` record on the request's id.",
    needs: needsSeveralKeys,
    async run({ engine }) {
      await committed(engine, add("stock", 10));
      const reserve = (request: string) =>
        engine.keyValue.commit([
          add("stock", -1, { min: 0 }),
          put(`request:${request}`, "reserved", { condition: { ifAbsent: true } }),
        ]);
      const requests = Array.from({ length: 20 }, (_, index) => `r${index}`);
      const results = await Promise.all([...requests, ...requests, ...requests].map(reserve));
      equal(results.filter((result) => result.committed).length, 10);
      equal(await value(engine, "stock"), "0");
      equal((await engine.keyValue.scan("request:")).length, 10);
    },
  },
  {
    name: "an engine without commits of several keys refuses them",
    rule: "What a capability does not declare is refused with `unsupported`.",
    needs: ({ engine }) => !engine.keyValue.capabilities.multipleKeys || "the engine declares commits of several keys",
    async run({ engine }) {
      await refused("unsupported", "two keys", () => engine.keyValue.commit([put("a", "1"), put("b", "1")]));
      equal(await entry(engine, "a"), undefined);
    },
  },
];
