import { deepEqual, equal, ok } from "node:assert/strict";
import type { LogCase } from "../conformance-case.ts";
import { refused } from "../expectations.ts";
import {
  all,
  append,
  batch,
  declared,
  needsAll,
  needsCrash,
  needsDeduplication,
  needsSequences,
  needsTransactions,
  numbered,
  output,
  partitionOf,
  positionOf,
  texts,
} from "./fixtures.ts";

export const crashCases: readonly LogCase[] = [
  {
    name: "records that were acknowledged survive a crash, at their positions and instants",
    rule: "Durable, as `capabilities.survives` says, when it resolves.",
    needs: needsCrash,
    async run(subject) {
      await declared(subject.engine, { partitions: 2, retentionMs: 3_600_000 });
      for (let round = 0; round < 10; round++)
        await append(subject.engine, "clicks", numbered(20, `${round}-`), round % 2);
      const before = [await all(subject.engine, "clicks", 0), await all(subject.engine, "clicks", 1)];
      const description = await subject.engine.log.describe("clicks");
      await subject.crash!();
      const { engine } = subject;
      deepEqual(await engine.log.describe("clicks"), description);
      for (const partition of [0, 1]) {
        const after = await all(engine, "clicks", partition);
        deepEqual(
          after.map(({ position, appendedAt, body }) => [position, appendedAt, [...body]]),
          before[partition]!.map(({ position, appendedAt, body }) => [position, appendedAt, [...body]]),
        );
        const { appendedAt, position } = before[partition]![30]!;
        ok((await engine.log.locate("clicks", partition, appendedAt)) <= position);
      }
      const [next] = await append(engine, "clicks", ["next"]);
      ok(next! > before[0]!.at(-1)!.position, "positions go on");
    },
  },
  {
    name: "what a commit stored is there after a crash, all of it",
    rule: "All of it or nothing. Durable when it resolves.",
    needs: needsAll(needsCrash, needsTransactions),
    async run(subject) {
      await declared(subject.engine);
      await declared(subject.engine, { log: "counts", partitions: 2 });
      await append(subject.engine, "clicks", ["in"]);
      const writer = await subject.engine.log.openWriter("writer", ["clicks", "counts"]);
      const { next } = await partitionOf(subject.engine, "clicks");
      await subject.engine.log.commit(writer, {
        outputs: [0, 1].map((partition) => output("counts", [`out ${partition}`], { partition })),
        positions: [{ reader: "reader", log: "clicks", partition: 0, position: next }],
      });
      await subject.crash!();
      const { engine } = subject;
      deepEqual([await texts(engine, "counts", 0), await texts(engine, "counts", 1)], [["out 0"], ["out 1"]]);
      equal(await positionOf(engine, "clicks"), next);
    },
  },
  {
    name: "commits that a crash interrupts are there whole or not at all",
    rule: "All of it or nothing.",
    needs: needsAll(needsCrash, needsTransactions),
    async run(subject) {
      await declared(subject.engine, { partitions: 2 });
      const writers = await Promise.all(numbered(8).map((name) => subject.engine.log.openWriter(name, ["clicks"])));
      for (const [index, writer] of writers.entries()) {
        const outputs = [0, 1].map((partition) => output("clicks", [`${index}`], { partition }));
        const positions = [{ reader: `${index}`, log: "clicks", partition: 0, position: 0n }];
        subject.engine.log.commit(writer, { outputs, positions }).catch(() => undefined);
      }
      await subject.crash!();
      const { engine } = subject;
      const first = [...(await texts(engine, "clicks", 0))].sort();
      deepEqual([...(await texts(engine, "clicks", 1))].sort(), first);
      for (const index of writers.keys()) {
        const stands = (await positionOf(engine, "clicks", `${index}`)) !== undefined;
        equal(stands, first.includes(`${index}`), `the position of commit ${index}`);
      }
    },
  },
  {
    name: "a writer that was fenced before a crash is fenced after it, and epochs go on",
    rule: "The name's earlier writers are fenced, durably. Its epoch is greater, also across restarts.",
    needs: needsCrash,
    async run(subject) {
      await declared(subject.engine);
      const first = await subject.engine.log.openWriter("writer", ["clicks"]);
      const second = await subject.engine.log.openWriter("writer", ["clicks"]);
      await subject.crash!();
      const { log } = subject.engine;
      await refused("lost", "the former one", () => log.commit(first, { outputs: [output("clicks", ["a"])] }));
      const third = await log.openWriter("writer", ["clicks"]);
      ok(third.epoch > second.epoch && second.epoch > first.epoch);
      await refused("lost", "the one before", () => log.commit(second, { outputs: [output("clicks", ["b"])] }));
      await log.commit(third, { outputs: [output("clicks", ["c"])] });
      deepEqual(await texts(subject.engine, "clicks"), ["c"]);
    },
  },
  {
    name: "a batch that is repeated after a crash is known",
    rule: "A sequence that is already stored is answered with its original positions and stored no second time.",
    needs: needsAll(needsCrash, needsDeduplication),
    async run(subject) {
      await declared(subject.engine);
      const repeated = batch("clicks", ["a", "b"], { producer: { id: "p", epoch: 0, sequence: 0 } });
      const positions = await subject.engine.log.append(repeated);
      await subject.crash!();
      deepEqual(await subject.engine.log.append(repeated), positions);
      deepEqual(await texts(subject.engine, "clicks"), ["a", "b"]);
    },
  },
  {
    name: "sequences are remembered across a crash",
    rule: "What a writer derives again after a crash, from the same inputs and numbered by them, is stored once.",
    needs: needsAll(needsCrash, needsSequences),
    async run(subject) {
      await declared(subject.engine);
      const before = await subject.engine.log.openWriter("writer", ["clicks"]);
      await subject.engine.log.commit(before, { outputs: [output("clicks", ["4", "5"], { sequences: [4n, 5n] })] });
      await subject.crash!();
      const after = await subject.engine.log.openWriter("writer", ["clicks"]);
      const outputs = [output("clicks", ["4", "5", "6"], { sequences: [4n, 5n, 6n] })];
      await subject.engine.log.commit(after, { outputs });
      deepEqual(await texts(subject.engine, "clicks"), ["4", "5", "6"]);
    },
  },
  {
    name: "a removal that was answered survives a crash",
    rule: "Durable when it resolves.",
    needs: needsCrash,
    async run(subject) {
      await declared(subject.engine);
      await declared(subject.engine, { log: "kept" });
      await append(subject.engine, "clicks", ["a"]);
      await append(subject.engine, "kept", ["b"]);
      await subject.engine.log.remove("clicks");
      await subject.crash!();
      deepEqual(await subject.engine.log.logs(), ["kept"]);
      deepEqual(await texts(subject.engine, "kept"), ["b"]);
      await declared(subject.engine);
      deepEqual(await texts(subject.engine, "clicks"), []);
    },
  },
];
