import { deepEqual, equal, ok } from "node:assert/strict";
import { election, type Leader } from "../../coordination/index.ts";
import { Observations, within } from "../expectations.ts";
import { type CoordinationCase, needsCrash, shortTtlMs, waitMs } from "./fixtures.ts";

export const electionCases: readonly CoordinationCase[] = [
  {
    name: "one candidate leads, the next one follows when it resigns, and terms grow",
    rule: "One holder per term; a term is greater than every term before it.",
    async run({ engine }) {
      const first = await election(engine, "settlement", { candidate: "a" }).campaign();
      const second = election(engine, "settlement", { candidate: "b" });
      const following = second.campaign({ waitMs });
      deepEqual(await second.leader(), { candidate: "a", data: undefined, term: first.term });
      await first.resign();
      const leadership = await within(engine.world, "the second term", following);
      ok(leadership.term > first.term);
      equal((await second.leader())?.candidate, "b");
      await leadership.resign();
      equal(await second.leader(), undefined);
    },
  },
  {
    name: "observers see the present leader, and the last one after every change",
    rule: "Who leads now, and then whoever leads after each change; `undefined` while nobody does.",
    async run({ engine }) {
      const seen = new Observations<Leader | undefined>(engine.world);
      const stop = new AbortController();
      const observing = (async () => {
        const observer = election(engine, "settlement", { candidate: "observer" });
        for await (const leader of observer.observe({ signal: stop.signal })) seen.add(leader);
      })();
      await seen.atLeast(1);
      const settlement = election(engine, "settlement", { candidate: "a", data: "10.0.0.7" });
      const leadership = await settlement.campaign({ waitMs });
      await seen.atLeast(2);
      await leadership.resign();
      await seen.atLeast(3);
      stop.abort();
      await within(engine.world, "the end of observing", observing);
      deepEqual(seen.items, [undefined, { candidate: "a", data: "10.0.0.7", term: leadership.term }, undefined]);
    },
  },
  {
    name: "whoever leads stops when it is told to, and has resigned then",
    rule: "Resolves when the signal has aborted, having resigned.",
    async run({ engine }) {
      const settlement = election(engine, "settlement", { candidate: "a" });
      const stop = new AbortController();
      const leading = Promise.withResolvers<bigint>();
      const done = settlement.lead(
        async ({ term, signal }) => {
          leading.resolve(term);
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        },
        { signal: stop.signal },
      );
      const term = await within(engine.world, "the term", leading.promise);
      equal((await settlement.leader())?.term, term);
      stop.abort();
      await within(engine.world, "the end of leading", done);
      equal(await settlement.leader(), undefined);
    },
  },
  {
    name: "after the leader's death another one leads, in a greater term",
    rule: "How long the engine keeps the lock for a holder that it does not hear from: its time to live.",
    takesMs: 2_000,
    needs: needsCrash,
    async run(subject) {
      const ttlMs = shortTtlMs(subject.engine);
      const first = await election(subject.engine, "settlement", { candidate: "a", ttlMs }).campaign();
      await subject.crash!();
      const { engine } = subject;
      const second = await election(engine, "settlement", { candidate: "b" }).campaign({ waitMs });
      ok(second.term > first.term);
      await second.resign();
    },
  },
];
