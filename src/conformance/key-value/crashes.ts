import { deepEqual, equal, ok } from "node:assert/strict";
import type { KeyValueCase } from "../conformance-case.ts";
import { refused, textOf } from "../expectations.ts";
import { add, committed, entry, needsAll, needsCrash, needsSeveralKeys, put, value } from "./fixtures.ts";

export const crashCases: readonly KeyValueCase[] = [
  {
    name: "acknowledged commits survive a crash: puts, deletes, counters",
    rule: "Durable when it resolves.",
    needs: needsCrash,
    async run(subject) {
      await committed(subject.engine, put("kept", "1"));
      await committed(subject.engine, put("changed", "1"));
      await committed(subject.engine, put("deleted", "1"));
      await Promise.all(Array.from({ length: 100 }, () => committed(subject.engine, add("n", 1))));
      const { version } = await committed(subject.engine, put("changed", "2"));
      await committed(subject.engine, { type: "delete", key: "deleted" });
      await subject.crash!();
      const found = await subject.engine.keyValue.scan("");
      deepEqual(
        found.map((each) => [each.key, textOf(each.value)]),
        [
          ["changed", "2"],
          ["kept", "1"],
          ["n", "100"],
        ],
      );
      equal(found[0]!.version, version);
    },
  },
  {
    name: "versions are never reused, also after a delete and a crash",
    rule: "Versions come from one counter and are never reused, also after delete.",
    needs: needsCrash,
    async run(subject) {
      let last = 0n;
      for (let round = 0; round < 3; round++) {
        const { version } = await committed(subject.engine, put("k", "1"));
        ok(version > last);
        last = (await committed(subject.engine, { type: "delete", key: "k" })).version;
        ok(last > version);
        await subject.crash!();
      }
      ok((await committed(subject.engine, put("k", "1"))).version > last);
    },
  },
  {
    name: "a commit of several keys that a crash cut off is there as a whole or not at all",
    rule: "All of the changes or none.",
    needs: needsAll(needsCrash, needsSeveralKeys),
    async run(subject) {
      await committed(subject.engine, put("a", "0"), put("b", "0"), add("n", 0));
      for (let round = 1; round <= 5; round++) {
        const before = Number(await value(subject.engine, "n"));
        subject.engine.keyValue
          .commit([put("a", String(before + 1)), put("b", String(before + 1)), add("n", 1)])
          .catch(() => undefined);
        for (let turn = 1; turn < round; turn++) await subject.engine.keyValue.get(["a"]);
        await subject.crash!();
        const [a, b, n] = (await subject.engine.keyValue.get(["a", "b", "n"])).map((each) =>
          Number(textOf(each!.value)),
        );
        deepEqual([b, n], [a, a]);
        ok(a === before || a === before + 1, "nothing acknowledged is lost, nothing is invented");
      }
    },
  },
  {
    name: "what a get has shown survives a crash",
    rule: "Answers only what is durable.",
    needs: needsCrash,
    async run(subject) {
      for (let round = 0; round < 5; round++) {
        let shown: string | undefined;
        const writing = subject.engine.keyValue.commit([put("k", String(round))]).catch(() => undefined);
        for (let turn = 0; turn <= round; turn++) shown = await value(subject.engine, "k");
        if (round === 4) await writing;
        const version = (await entry(subject.engine, "k"))?.version ?? 0n;
        await subject.crash!();
        const after = await entry(subject.engine, "k");
        if (shown !== undefined) ok(after !== undefined && Number(textOf(after.value)) >= Number(shown));
        ok((after?.version ?? 0n) >= version);
      }
    },
  },
  {
    name: "a delete that a get or a scan has shown survives a crash",
    rule: "Answers only what is durable.",
    needs: needsCrash,
    async run(subject) {
      const looks = [
        async () => (await entry(subject.engine, "k")) === undefined,
        async () => (await subject.engine.keyValue.scan("k")).length === 0,
      ];
      for (const gone of looks) {
        await committed(subject.engine, put("k", "1"));
        subject.engine.keyValue.commit([{ type: "delete", key: "k" }]).catch(() => undefined);
        const shown = await gone();
        await subject.crash!();
        if (shown) equal(await entry(subject.engine, "k"), undefined, "what was gone is back");
      }
    },
  },
  {
    name: "a key is the same after a crash, or is refused before it",
    rule: "One entry per key; keys are Unicode text.",
    needs: needsCrash,
    async run(subject) {
      for (const key of ["\ud800", "a\udc00", "\ufffd", "\u0000", "🧀"]) {
        try {
          await committed(subject.engine, put(key, "1"));
        } catch {
          await refused("invalid", "a key that is no Unicode text", () =>
            subject.engine.keyValue.commit([put(key, "1")]),
          );
          continue;
        }
        await subject.crash!();
        equal(await value(subject.engine, key), "1", `the key ${JSON.stringify(key)} has changed`);
        await committed(subject.engine, { type: "delete", key });
      }
    },
  },
];
