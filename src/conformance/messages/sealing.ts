import { deepEqual, equal } from "node:assert/strict";
import type { TenonError } from "../../contracts/index.ts";
import type { MessageCase, MessageSubject, MessagesEngine } from "../conformance-case.ts";
import { bytesOf, refused } from "../expectations.ts";
import {
  append,
  batch,
  fetched,
  fetchedTexts,
  join,
  laneOf,
  needsAll,
  needsAtomic,
  needsCrash,
  needsDelay,
  needsSequences,
  numbered,
  soleLane,
} from "./fixtures.ts";

const rule = "`sealed`: closes the topic for new messages.";

function needsSeal(subject: MessageSubject): true | string {
  return subject.engine.messages.capabilities.seal || "the engine declares no seals";
}

function orders(engine: MessagesEngine, sealed?: string): Promise<void> {
  return engine.messages.declare("orders", { partitions: 2, groups: ["group"], sealed });
}

async function denied(engine: MessagesEngine, what: string, call: () => Promise<unknown>): Promise<TenonError> {
  const ends = async () => (await engine.messages.describe("orders")).partitions.map(({ next }) => next);
  const before = await ends();
  const error = await refused("denied", what, call);
  equal(error.outcome, "not-applied");
  deepEqual(await ends(), before, `${what}: nothing of it is stored`);
  return error;
}

export const sealCases: readonly MessageCase[] = [
  {
    name: "a sealed topic takes no messages in any partition, and says why",
    rule: `${rule} \`denied\` (fields \`sealed\`: the note).`,
    needs: needsSeal,
    async run({ engine }) {
      await orders(engine);
      await append(engine, "orders", "m0");
      equal((await engine.messages.describe("orders")).sealed, undefined);
      await orders(engine, "moved to another engine");
      equal((await engine.messages.describe("orders")).sealed, "moved to another engine");
      const error = await denied(engine, "an append", () => append(engine, "orders", "n0"));
      equal(error.fields.sealed, "moved to another engine");
      const other = batch("orders", numbered(2, "n"), { partition: 1 });
      await denied(engine, "another partition", () => engine.messages.append(other));
      const produced = batch("orders", ["n0"], { producer: { id: "p", epoch: 0, sequence: 0 } });
      await denied(engine, "a producer's batch", () => engine.messages.append(produced));
    },
  },
  {
    name: "no append that was under way is stored once a topic is sealed",
    rule: `${rule} Once the declaration has resolved no message is stored any more, whenever its call began.`,
    needs: needsSeal,
    async run({ engine }) {
      await orders(engine);
      const appends = Array.from({ length: 20 }, (_, index) => {
        const producer = { id: `p${index}`, epoch: 0, sequence: 0 };
        return engine.messages.append(batch("orders", [`m${index}`], { partition: index % 2, producer }));
      });
      const outcomes = Promise.allSettled(appends);
      await orders(engine, "closed");
      const ends = (await engine.messages.describe("orders")).partitions.map(({ next }) => next);
      for (const outcome of await outcomes) {
        if (outcome.status === "rejected") equal((outcome.reason as TenonError).code, "denied");
        else
          for (const position of outcome.value)
            if (position !== undefined)
              equal(
                ends.some((end) => position < end),
                true,
              );
      }
      deepEqual(
        (await engine.messages.describe("orders")).partitions.map(({ next }) => next),
        ends,
      );
    },
  },
  {
    name: "a sealed topic is consumed to its end",
    rule: `${rule} Lanes go on as ever.`,
    needs: needsSeal,
    async run({ engine }) {
      await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
      await append(engine, "orders", ...numbered(3));
      await engine.messages.declare("orders", { partitions: 1, sealed: "closed" });
      const { lane, member } = await soleLane(engine, "orders");
      const stored = await fetched(engine.world, lane, 3);
      await lane.commit({ settled: [stored[0]!.position] });
      await member.leave();
      const next = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(engine.world, next.lane, 2), ["m1", "m2"]);
      await next.lane.commit({ settled: stored.map(({ position }) => position) });
      equal((await laneOf(engine, "orders")).lag, 0);
    },
  },
  {
    name: 'a seal stays when the topic is declared without one, and "" opens it again',
    rule: 'Settings that are left out stay. "" opens it again.',
    needs: needsSeal,
    async run({ engine }) {
      await orders(engine, "closed");
      await orders(engine);
      equal((await engine.messages.describe("orders")).sealed, "closed");
      await denied(engine, "an append", () => append(engine, "orders", "n0"));
      await orders(engine, "for another reason");
      const error = await denied(engine, "an append", () => append(engine, "orders", "n0"));
      equal(error.fields.sealed, "for another reason");
      await orders(engine, "");
      equal((await engine.messages.describe("orders")).sealed, undefined);
      await append(engine, "orders", "m0");
      await engine.messages.declare("other", { partitions: 1, groups: ["group"], sealed: "" });
      await append(engine, "other", "m0");
    },
  },
  {
    name: "a seal is its topic's alone and goes with it",
    rule: "A topic declared under the same name after its removal shares nothing with it.",
    needs: needsSeal,
    async run({ engine }) {
      await orders(engine, "closed");
      await engine.messages.declare("other", { partitions: 1, groups: ["group"] });
      await append(engine, "other", "m0");
      await engine.messages.remove("orders");
      await orders(engine);
      equal((await engine.messages.describe("orders")).sealed, undefined);
      await append(engine, "orders", "m0");
    },
  },
  {
    name: "a batch that is stored already is answered by a sealed topic",
    rule: "`denied`, unless its sequence is already stored, which is answered as ever.",
    needs: needsAll(needsSeal, needsSequences),
    async run({ engine }) {
      await orders(engine);
      const repeated = batch("orders", numbered(2), { producer: { id: "p", epoch: 0, sequence: 0 } });
      const positions = await engine.messages.append(repeated);
      await orders(engine, "closed");
      deepEqual(await engine.messages.append(repeated), positions);
      const next = batch("orders", ["n0"], { producer: { id: "p", epoch: 0, sequence: 2 } });
      await denied(engine, "the producer's next one", () => engine.messages.append(next));
      await orders(engine, "");
      await engine.messages.append(next);
    },
  },
  {
    name: "a delayed message comes when it is due, also in a topic that was sealed meanwhile",
    rule: `${rule} Delayed messages that were stored before still come when due.`,
    needs: needsAll(needsSeal, needsDelay),
    takesMs: 5_000,
    async run({ engine }) {
      const { world } = engine;
      await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
      await append(engine, "orders", { body: bytesOf("later"), dueAt: world.clock.now() + 1_000 });
      await engine.messages.declare("orders", { partitions: 1, sealed: "closed" });
      const later = { body: bytesOf("never"), dueAt: world.clock.now() + 1_000 };
      await denied(engine, "a delayed one", () => append(engine, "orders", later));
      equal((await engine.messages.describe("orders")).delayedCount, 1);
      const { lane } = await soleLane(engine, "orders");
      deepEqual(await fetchedTexts(world, lane, 1), ["later"]);
      equal((await engine.messages.describe("orders")).delayedCount, 0);
    },
  },
  {
    name: "a commit whose appends a sealed topic refuses settles nothing",
    rule: "Appends are stored in the same atomic change where `capabilities.atomic`.",
    needs: needsAll(needsSeal, needsAtomic),
    async run({ engine }) {
      await orders(engine, "closed");
      await engine.messages.declare("source", { partitions: 1, groups: ["group"] });
      await append(engine, "source", "s0");
      const { lane } = await soleLane(engine, "source");
      const [stored] = await fetched(engine.world, lane, 1);
      const change = { settled: [stored!.position], appends: [batch("orders", ["copy"])] };
      await denied(engine, "a commit that appends to a sealed topic", () => lane.commit(change));
      equal((await laneOf(engine, "source")).lag, 1);
      await orders(engine, "");
      await lane.commit(change);
      deepEqual([(await laneOf(engine, "source")).lag, (await laneOf(engine, "orders")).lag], [0, 1]);
    },
  },
  {
    name: "a description says which groups end with their member",
    rule: "`ephemeral`: engines whose topics can be sealed say so.",
    needs: needsSeal,
    async run({ engine }) {
      await orders(engine);
      const member = await join(engine, "orders", "passing", { ephemeral: true });
      const { groups } = await engine.messages.describe("orders");
      deepEqual(
        new Map(groups.map(({ group, ephemeral }) => [group, ephemeral])),
        new Map([
          ["group", false],
          ["passing", true],
        ]),
      );
      await member.leave();
    },
  },
  {
    name: "a seal stands across a crash",
    rule: "Durable when it resolves.",
    needs: needsAll(needsSeal, needsCrash),
    async run(subject) {
      await orders(subject.engine);
      await append(subject.engine, "orders", "m0");
      await orders(subject.engine, "closed");
      await subject.crash!();
      const { engine } = subject;
      equal((await engine.messages.describe("orders")).sealed, "closed");
      await denied(engine, "an append", () => append(engine, "orders", "n0"));
    },
  },
  {
    name: "a seal that the engine does not have is refused when it is declared, and so is a note that is too long",
    rule: "`seal`: declaring a topic so is `unsupported` otherwise. A note of at most 1,024 bytes.",
    async run({ engine }) {
      await orders(engine);
      if (!engine.messages.capabilities.seal) await refused("unsupported", "a seal", () => orders(engine, "closed"));
      else {
        await orders(engine, "n".repeat(1_024));
        await refused("invalid", "a note of 1,025 bytes", () => orders(engine, "n".repeat(1_025)));
        await refused("invalid", "a note with half a character", () => orders(engine, "\ud800"));
        equal((await engine.messages.describe("orders")).sealed, "n".repeat(1_024));
      }
    },
  },
];
