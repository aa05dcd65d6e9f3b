import { equal, ok } from "node:assert/strict";
import { sharedCapacity } from "../../contracts/index.ts";
import type { LeaseCase } from "../conformance-case.ts";
import { acquired, declined, freed, needsAll, needsCounted, needsCrash } from "./fixtures.ts";

export const tokenCases: readonly LeaseCase[] = [
  {
    name: "tokens grow with every grant: to others, to the same holder, after release",
    rule: "Every grant gets a token greater than that of every earlier grant of the name, also after the name was free in between.",
    async run({ engine }) {
      let last = 0n;
      for (const holder of ["a", "b", "a", "a", "c", "b"]) {
        const { token } = await acquired(engine, "name", holder);
        ok(token > last, `${token} does not follow ${last}`);
        last = token;
        await engine.leases.release("name", holder);
      }
    },
  },
  {
    name: "tokens grow with every grant that follows an expiry",
    rule: "Every grant gets a token greater than that of every earlier grant of the name.",
    takesMs: 300,
    async run({ engine }) {
      let last = 0n;
      for (const holder of ["a", "a", "b"]) {
        const { token } = await acquired(engine, "name", holder, { ttlMs: 60 });
        ok(token > last, `${token} does not follow ${last}`);
        last = token;
        await freed(engine, "name");
      }
    },
  },
  {
    name: "those who share a name have different tokens, in the order of their grants",
    rule: "Every grant gets a token greater than that of every earlier grant of the name.",
    async run({ engine }) {
      let last = 0n;
      for (const holder of ["d", "a", "c", "b"]) {
        const { token } = await acquired(engine, "name", holder, { capacity: sharedCapacity });
        ok(token > last);
        last = token;
      }
      const { holders } = await engine.leases.describe("name");
      equal(holders.map(({ holder }) => holder).join(), "d,a,c,b", "holders are described by token");
    },
  },
  {
    name: "tokens grow across crashes, whether the name was held, released or never held again",
    rule: "Also across restarts of the engine and of holders, and after the name was free in between.",
    needs: needsCrash,
    async run(subject) {
      let last = 0n;
      for (let round = 0; round < 4; round++) {
        const { token } = await acquired(subject.engine, "name", `a${round}`);
        ok(token > last, `${token} does not follow ${last}`);
        last = token;
        if (round % 2 === 0) await subject.engine.leases.release("name", `a${round}`);
        await subject.crash!();
        if (round % 2 === 1) {
          await declined(subject.engine, "name", "b");
          await subject.engine.leases.release("name", `a${round}`);
          await subject.crash!();
        }
      }
    },
  },
  {
    name: "a grant that a crash cut off takes its token with it, or gives it to nobody else",
    rule: "Every grant gets a token greater than that of every earlier grant of the name.",
    takesMs: 1_000,
    needs: needsCrash,
    async run(subject) {
      let last = 0n;
      for (let round = 0; round < 5; round++) {
        const told: bigint[] = [];
        const holder = `a${round}`;
        const asked = { holder, ttlMs: 100, waitMs: 0 };
        const note = (lease: { readonly token: bigint } | undefined) => void (lease && told.push(lease.token));
        subject.engine.leases.acquire("name", asked).then(note, () => undefined);
        for (let turn = 0; turn < round; turn++) await subject.engine.leases.describe("other");
        await subject.crash!();
        const seen = (await subject.engine.leases.describe("name")).holders;
        for (const each of seen) ok(each.token > last, "a grant shown after the crash is a later one");
        const next = await acquired(subject.engine, "name", `b${round}`, { waitMs: Number.POSITIVE_INFINITY });
        for (const token of [...told, ...seen.map((each) => each.token), last]) {
          ok(next.token > token, `${next.token} does not follow ${token}`);
        }
        last = next.token;
        await subject.engine.leases.release("name", `b${round}`);
      }
    },
  },
  {
    name: "counted holders keep their tokens across a crash, and the next one gets a greater one",
    rule: "A fencing token that only grows.",
    needs: needsAll(needsCrash, needsCounted),
    async run(subject) {
      const tokens: bigint[] = [];
      for (const holder of ["a", "b"]) {
        tokens.push((await acquired(subject.engine, "name", holder, { capacity: 3 })).token);
      }
      await subject.crash!();
      const { holders } = await subject.engine.leases.describe("name");
      equal(holders.map(({ token }) => token).join(), tokens.join());
      const { token } = await acquired(subject.engine, "name", "c", { capacity: 3 });
      ok(token > tokens[1]!);
      await declined(subject.engine, "name", "d", { capacity: 3 });
    },
  },
];
