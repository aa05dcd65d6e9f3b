import { equal } from "node:assert/strict";
import type { MessageCase } from "../conformance-case.ts";
import { refused, within } from "../expectations.ts";
import { append, declared, fetched, join, joinDefaults, needsAll, needsReplay, soleLane } from "./fixtures.ts";

export const closingCases: readonly MessageCase[] = [
  {
    name: "after close everything is refused with `closed`",
    rule: "`closed`: it was closed before.",
    async run({ engine }) {
      const { messages } = engine;
      await declared(engine);
      const [position] = (await append(engine, "orders", "m")) as bigint[];
      const { lane, member } = await soleLane(engine, "orders");
      await fetched(engine.world, lane, 1);
      await engine.close();
      await engine.close();
      await refused("closed", "declare", () => messages.declare("orders", { partitions: 1 }));
      await refused("closed", "topics", () => messages.topics());
      await refused("closed", "describe", () => messages.describe("orders"));
      const error = await refused("closed", "append", () => append(engine, "orders", "late"));
      equal(error.outcome, "not-applied");
      await refused("closed", "join", () => messages.join("orders", "group", joinDefaults));
      await refused("closed", "nextLane", () => member.nextLane());
      await refused(["closed", "lost"], "fetch", () => lane.fetch(1));
      await refused(["closed", "lost"], "commit", () => lane.commit({ settled: [position!] }));
    },
  },
  {
    name: "after close seeking is refused with `closed`",
    rule: "`closed`: it was closed before.",
    needs: needsAll(needsReplay),
    async run({ engine }) {
      await declared(engine);
      await engine.close();
      await refused("closed", "seek", () => engine.messages.seek("orders", "group", "now"));
    },
  },
  {
    name: "closing ends every wait",
    rule: "`nextLane` rejects with `closed` after the engine's close; a fetch ends as well.",
    async run({ engine }) {
      await declared(engine);
      const { lane } = await soleLane(engine, "orders");
      const second = await join(engine, "orders");
      const waits = [
        refused("closed", "nextLane", () => second.nextLane()),
        refused(["closed", "lost"], "fetch", () => lane.fetch(1)),
      ];
      for (const wait of waits) wait.catch(() => undefined);
      await engine.close();
      await within(engine.world, "both waits end", Promise.all(waits));
    },
  },
  {
    name: "an append that was under way when the engine closed is settled either way",
    rule: "Every failure is a `TenonError`; `outcome` says whether it was applied.",
    async run({ engine }) {
      await declared(engine);
      const appends = Array.from({ length: 20 }, () => append(engine, "orders", "m"));
      const settled = Promise.allSettled(appends);
      await engine.close();
      await within(engine.world, "every append settles", settled);
      for (const appended of appends) {
        const failure = await appended.then(() => undefined).catch((error: unknown) => error);
        if (failure !== undefined)
          await refused(["closed", "unavailable"], "a cut append", () => Promise.reject(failure));
      }
    },
  },
];
