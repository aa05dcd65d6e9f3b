import { deepEqual, equal } from "node:assert/strict";
import type { KeyValueCase } from "../conformance-case.ts";
import { refused, textOf } from "../expectations.ts";
import { add, committed, declined, entry, needsSeveralKeys, put, value } from "./fixtures.ts";

export const counterCases: readonly KeyValueCase[] = [
  {
    name: "an absent counter counts as 0, and a counter's value is its digits",
    rule: "Adds to a counter; an absent key counts as 0. A counter's value is its decimal digits in ASCII.",
    async run({ engine }) {
      deepEqual((await committed(engine, add("n", 5))).counters, [5]);
      deepEqual((await committed(engine, add("n", -12))).counters, [-7]);
      equal(await value(engine, "n"), "-7");
      deepEqual((await committed(engine, add("n", 7))).counters, [0]);
      equal(await value(engine, "n"), "0");
      deepEqual((await committed(engine, add("zero", 0))).counters, [0]);
      equal(await value(engine, "zero"), "0");
    },
  },
  {
    name: "an add that would leave its bounds is answered with what it met and changes nothing",
    rule: "Fails when the sum would leave [min, max].",
    async run({ engine }) {
      await committed(engine, add("n", 2));
      deepEqual((await committed(engine, add("n", -2, { min: 0 }))).counters, [0]);
      const low = await declined(engine, add("n", -1, { min: 0 }));
      deepEqual([low.failed, low.reason, textOf(low.current!.value)], [0, "bound", "0"]);
      deepEqual((await committed(engine, add("n", 3, { max: 3 }))).counters, [3]);
      const high = await declined(engine, add("n", 1, { min: 0, max: 3 }));
      deepEqual([high.failed, high.reason, textOf(high.current!.value)], [0, "bound", "3"]);
      const absent = await declined(engine, add("absent", -1, { min: 0 }));
      deepEqual([absent.reason, absent.current], ["bound", undefined]);
      equal(await entry(engine, "absent"), undefined, "a declined add creates nothing");
      equal(await value(engine, "n"), "3");
    },
  },
  {
    name: "a hundred concurrent callers never take a counter below its bound, and every success counts",
    rule: "Bounded adds are atomic.",
    async run({ engine }) {
      await committed(engine, add("stock", 137));
      let taken = 0;
      let lowest = Number.POSITIVE_INFINITY;
      const caller = async () => {
        for (let attempt = 0; attempt < 3; attempt++) {
          const result = await engine.keyValue.commit([add("stock", -1, { min: 0 })]);
          if (!result.committed) continue;
          taken++;
          lowest = Math.min(lowest, result.counters[0]!);
        }
      };
      await Promise.all(Array.from({ length: 100 }, caller));
      deepEqual([taken, lowest, await value(engine, "stock")], [137, 0, "0"]);
    },
  },
  {
    name: "the sum of concurrent adds is exact",
    rule: "Commits are linearizable.",
    async run({ engine }) {
      const seen = new Set<number>();
      const caller = async (_: unknown, index: number) => {
        for (let round = 0; round < 10; round++) {
          const { counters } = await committed(engine, add("n", 1 + (index % 2)));
          seen.add(counters[0]!);
        }
      };
      await Promise.all(Array.from({ length: 100 }, caller));
      equal(await value(engine, "n"), "1500");
      equal(seen.size, 1_000, "every caller got the sum that its own add made");
    },
  },
  {
    name: "an add that meets a value that is no counter is invalid and changes nothing",
    rule: "`invalid` when an `add` meets a value that is not a counter.",
    async run({ engine }) {
      const { version } = await committed(engine, put("text", "not a number"));
      const error = await refused("invalid", "adding to a text", () => engine.keyValue.commit([add("text", 1)]));
      equal(error.outcome, "not-applied");
      deepEqual([await value(engine, "text"), (await entry(engine, "text"))!.version], ["not a number", version]);
    },
  },
  {
    name: "an add that meets no counter takes the rest of its commit with it",
    rule: "All of the changes or none.",
    needs: needsSeveralKeys,
    async run({ engine }) {
      await committed(engine, put("text", "not a number"));
      await refused("invalid", "adding to a text among others", () =>
        engine.keyValue.commit([put("a", "1"), add("text", 1), put("b", "1")]),
      );
      deepEqual(await engine.keyValue.get(["a", "b"]), [undefined, undefined]);
    },
  },
  {
    name: "counters stay within the safe integers",
    rule: "`by`: a safe integer; so must the sum be (`invalid`).",
    async run({ engine }) {
      for (const by of [0.5, Number.NaN, Number.POSITIVE_INFINITY, Number.MAX_SAFE_INTEGER + 1]) {
        await refused("invalid", `by ${by}`, () => engine.keyValue.commit([add("n", by)]));
      }
      await committed(engine, add("n", Number.MAX_SAFE_INTEGER));
      await refused("invalid", "one more than the greatest", () => engine.keyValue.commit([add("n", 1)]));
      equal(await value(engine, "n"), String(Number.MAX_SAFE_INTEGER));
      deepEqual((await committed(engine, add("m", Number.MIN_SAFE_INTEGER))).counters, [Number.MIN_SAFE_INTEGER]);
      await refused("invalid", "one less than the least", () => engine.keyValue.commit([add("m", -1)]));
    },
  },
];
