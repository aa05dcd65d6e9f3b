import { deepEqual, equal, ok } from "node:assert/strict";
import type { LogCase } from "../conformance-case.ts";
import { refused } from "../expectations.ts";
import {
  append,
  declared,
  needsNoTransactions,
  needsSequences,
  needsTransactions,
  numbered,
  output,
  partitionOf,
  positionOf,
  recordsOf,
  texts,
} from "./fixtures.ts";

const standing = (position: bigint, more: object = {}) => ({
  reader: "reader",
  log: "clicks",
  partition: 0,
  position,
  ...more,
});

export const writingCases: readonly LogCase[] = [
  {
    name: "a writer's output and a reader's position are stored, and found by everybody",
    rule: "Stores outputs, and sets where readers stand, under a writer's epoch.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const positions = await append(engine, "clicks", ["a", "b"]);
      equal(await positionOf(engine, "clicks"), undefined, "nothing was committed");
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      const [stored] = await engine.log.commit(writer, { outputs: [output("clicks", ["c", "d"], { partition: 1 })] });
      equal(stored!.length, 2);
      deepEqual(await texts(engine, "clicks", 1), ["c", "d"]);
      await engine.log.commit(writer, { positions: [standing(positions[1]!)] });
      deepEqual(await engine.log.positions("reader", "clicks"), new Map([[0, positions[1]]]));
      deepEqual(await engine.log.positions("another", "clicks"), new Map());
      await engine.log.commit(writer, { positions: [standing(positions[0]!)] });
      equal(await positionOf(engine, "clicks"), positions[0], "back again");
      await engine.log.forget("reader", "clicks");
      equal(await positionOf(engine, "clicks"), undefined);
      await engine.log.forget("reader", "clicks");
    },
  },
  {
    name: "a reader may stand at the end, and nowhere beyond",
    rule: "`invalid`: a position beyond the partition's end.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "clicks", ["a"]);
      const { next } = await partitionOf(engine, "clicks");
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      await refused("invalid", "beyond", () => engine.log.commit(writer, { positions: [standing(next + 1n)] }));
      await refused("invalid", "negative", () => engine.log.commit(writer, { positions: [standing(-1n)] }));
      equal(await positionOf(engine, "clicks"), undefined);
      await engine.log.commit(writer, { positions: [standing(next)] });
      equal(await positionOf(engine, "clicks"), next);
    },
  },
  {
    name: "opening a writer fences whoever opened its name before",
    rule: "Its epoch is greater than that of every earlier opening of the name. The name's earlier writers are fenced: what they commit is refused with `lost`.",
    async run({ engine }) {
      await declared(engine);
      await append(engine, "clicks", ["in"]);
      const first = await engine.log.openWriter("writer", ["clicks"]);
      const other = await engine.log.openWriter("other", ["clicks"]);
      await engine.log.commit(first, { outputs: [output("clicks", ["a"])] });
      const second = await engine.log.openWriter("writer", ["clicks"]);
      ok(second.epoch > first.epoch);
      await refused("lost", "an output", () => engine.log.commit(first, { outputs: [output("clicks", ["b"])] }));
      await refused("lost", "a position", () => engine.log.commit(first, { positions: [standing(1n)] }));
      await refused("lost", "nothing", () => engine.log.commit(first, {}));
      await engine.log.commit(second, { outputs: [output("clicks", ["c"])] });
      await engine.log.commit(second, {});
      await engine.log.commit(other, { outputs: [output("clicks", ["d"])] });
      deepEqual(await texts(engine, "clicks"), ["in", "a", "c", "d"]);
      equal(await positionOf(engine, "clicks"), undefined);
    },
  },
  {
    name: "of writers that are opened at the same time one is left, and epochs are all different",
    rule: "Its epoch is greater than that of every earlier opening of the name.",
    async run({ engine }) {
      await declared(engine);
      const writers = await Promise.all([1, 2, 3, 4].map(() => engine.log.openWriter("writer", ["clicks"])));
      equal(new Set(writers.map(({ epoch }) => epoch)).size, 4);
      const newest = writers.reduce((a, b) => (a.epoch > b.epoch ? a : b));
      for (const writer of writers) {
        if (writer === newest) continue;
        await refused("lost", "an older one", () => engine.log.commit(writer, { outputs: [output("clicks", ["x"])] }));
      }
      await engine.log.commit(newest, { outputs: [output("clicks", ["y"])] });
      deepEqual(await texts(engine, "clicks"), ["y"]);
    },
  },
  {
    name: "a writer whose opening is under way lets nothing of the former one come after it",
    rule: "What they committed before is decided: `positions` and reads show it, or it never happens.",
    async run({ engine }) {
      await declared(engine);
      const former = await engine.log.openWriter("writer", ["clicks"]);
      const outcomes = Promise.allSettled([engine.log.commit(former, { outputs: [output("clicks", ["a"])] })]);
      await engine.log.openWriter("writer", ["clicks"]);
      const seen = await texts(engine, "clicks");
      const [outcome] = await outcomes;
      deepEqual(seen, outcome!.status === "fulfilled" ? ["a"] : []);
      deepEqual(await texts(engine, "clicks"), seen);
    },
  },
  {
    name: "a change that breaks a rule is refused whole",
    rule: "`invalid`: a log that the writer was not opened for, two outputs or two positions for the same place.",
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      await declared(engine, { log: "other" });
      await append(engine, "clicks", ["in"]);
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      const commit = (change: object) => () => engine.log.commit(writer, change);
      await refused("invalid", "another log", commit({ outputs: [output("other", ["a"])] }));
      await refused("invalid", "a position in another log", commit({ positions: [standing(0n, { log: "other" })] }));
      await refused("invalid", "no records", commit({ outputs: [output("clicks", [])] }));
      await refused("invalid", "no such partition", commit({ outputs: [output("clicks", ["a"], { partition: 2 })] }));
      await refused("invalid", "no reader", commit({ positions: [standing(0n, { reader: "" })] }));
      await refused(
        ["invalid", "unsupported"],
        "one place twice",
        commit({ outputs: [output("clicks", ["a"]), output("clicks", ["b"])] }),
      );
      await refused(
        ["invalid", "unsupported"],
        "one reader twice",
        commit({ positions: [standing(0n), standing(1n)] }),
      );
      await refused("invalid", "a writer without a name", () => engine.log.openWriter("", ["clicks"]));
      deepEqual(await texts(engine, "clicks"), ["in"]);
      equal(await positionOf(engine, "clicks"), undefined);
      await engine.log.commit(writer, { outputs: [output("clicks", ["b"])] });
    },
  },
  {
    name: "outputs and positions of several logs are committed together, or not at all",
    rule: "All of it or nothing, also for readers: none meets a part of it.",
    needs: needsTransactions,
    async run({ engine }) {
      await declared(engine);
      await declared(engine, { log: "counts", partitions: 3 });
      await append(engine, "clicks", numbered(4));
      const writer = await engine.log.openWriter("writer", ["clicks", "counts"]);
      const change = (position: bigint, text: string) => ({
        outputs: [0, 1, 2].map((partition) => output("counts", [`${text}${partition}`, text], { partition })),
        positions: [standing(position), standing(position, { reader: "audit" })],
      });
      const { next } = await partitionOf(engine, "clicks");
      const { first } = await partitionOf(engine, "clicks");
      const stored = await engine.log.commit(writer, change(first, "a"));
      deepEqual(
        stored.map((each) => each.length),
        [2, 2, 2],
      );
      await refused("invalid", "a position beyond", () => engine.log.commit(writer, change(next + 1n, "b")));
      await engine.log.openWriter("writer", ["clicks", "counts"]);
      await refused("lost", "a fenced one", () => engine.log.commit(writer, change(next, "c")));
      for (const partition of [0, 1, 2]) deepEqual(await texts(engine, "counts", partition), [`a${partition}`, "a"]);
      equal(await positionOf(engine, "clicks"), first);
      equal(await positionOf(engine, "clicks", "audit"), first);
    },
  },
  {
    name: "a reader that meets one output of a commit meets the others",
    rule: "All of it or nothing, also for readers: none meets a part of it.",
    needs: needsTransactions,
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      let done = false;
      const writing = (async () => {
        for (const text of numbered(30))
          await engine.log.commit(writer, {
            outputs: [0, 1].map((partition) => output("clicks", [text], { partition })),
          });
        done = true;
      })();
      const starts = (await engine.log.describe("clicks")).partitions;
      const counted = async (partition: number) => {
        const from = starts[partition]!.first;
        return (await engine.log.read({ log: "clicks", partition, from, limit: 1_000 })).records.length;
      };
      while (!done) {
        const second = await counted(1);
        const first = await counted(0);
        ok(first >= second, `${second} in one partition, and later only ${first} in the other`);
        await engine.world.timers.sleep(0.2);
      }
      await writing;
      deepEqual(await texts(engine, "clicks", 0), await texts(engine, "clicks", 1));
    },
  },
  {
    name: "a change of several parts is refused where there are no transactions",
    rule: "Where `capabilities.transactions` is false, a change is one output or the position of one reader in one partition; everything else is `unsupported`.",
    needs: needsNoTransactions,
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      await append(engine, "clicks", ["in"]);
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      const both = { outputs: [output("clicks", ["a"])], positions: [standing(1n)] };
      await refused("unsupported", "an output with a position", () => engine.log.commit(writer, both));
      const outputs = [0, 1].map((partition) => output("clicks", ["a"], { partition }));
      await refused("unsupported", "two outputs", () => engine.log.commit(writer, { outputs }));
      deepEqual(await texts(engine, "clicks"), ["in"]);
    },
  },
  {
    name: "records whose sequence is known under a writer's name are stored once, whichever epoch brings them",
    rule: "A record whose sequence is not greater than the last one that was stored in this partition under the writer's name is stored no second time.",
    needs: needsSequences,
    async run({ engine }) {
      await declared(engine, { partitions: 2 });
      const first = await engine.log.openWriter("writer", ["clicks"]);
      const commit = (writer: typeof first, records: readonly string[], sequences: readonly bigint[], partition = 0) =>
        engine.log.commit(writer, { outputs: [{ log: "clicks", partition, records: recordsOf(records), sequences }] });
      const [stored] = await commit(first, ["0a", "0b", "2"], [0n, 0n, 2n]);
      equal(stored!.filter((position) => position !== undefined).length, 3);
      const second = await engine.log.openWriter("writer", ["clicks"]);
      const [again] = await commit(second, ["0a", "0b", "2", "3"], [0n, 0n, 2n, 3n]);
      deepEqual(
        again!.map((position) => position === undefined),
        [true, true, true, false],
      );
      deepEqual(await commit(second, ["3"], [3n]), [[undefined]]);
      await commit(second, ["1"], [1n], 1);
      const other = await engine.log.openWriter("other", ["clicks"]);
      await commit(other, ["other 0"], [0n]);
      await commit(second, ["9"], [9n]);
      deepEqual(await texts(engine, "clicks", 0), ["0a", "0b", "2", "3", "other 0", "9"]);
      deepEqual(await texts(engine, "clicks", 1), ["1"]);
      await refused("invalid", "sequences that fall", () => commit(second, ["a", "b"], [11n, 10n]));
      await refused("invalid", "too few", () => commit(second, ["a", "b"], [11n]));
    },
  },
  {
    name: "sequences are refused where they are not kept",
    rule: "`unsupported` where `capabilities.sequences` is false",
    needs: ({ engine }) => !engine.log.capabilities.sequences || "the engine declares sequences",
    async run({ engine }) {
      await declared(engine);
      const writer = await engine.log.openWriter("writer", ["clicks"]);
      const outputs = [output("clicks", ["a"], { sequences: [0n] })];
      await refused("unsupported", "a sequence", () => engine.log.commit(writer, { outputs }));
      deepEqual(await texts(engine, "clicks"), []);
    },
  },
];
