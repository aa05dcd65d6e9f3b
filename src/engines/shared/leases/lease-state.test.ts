import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import { LeaseState } from "./lease-state.ts";

const figures = { ttlMs: 100, waitMs: 1_000, data: undefined };

/** A name as a store keeps it: bytes between any two operations, tokens from one counter. */
class Kept {
  bytes: Uint8Array = Buffer.alloc(0);
  now = 1_000;
  token = 0;
  turns: string[] = [];

  change<T>(what: (state: LeaseState) => T): T {
    const state = LeaseState.decode(this.bytes);
    const answer = what(state);
    this.turns.push(...state.turns.map(({ holder }) => holder));
    this.bytes = state.unused ? Buffer.alloc(0) : state.encode();
    return answer;
  }

  acquire(holder: string, more: Partial<ValidRequest> = {}, waits = true) {
    const request = { ...figures, holder, capacity: 1, weight: 1, ...more };
    const asking = { waits, channel: "c", patienceMs: 300, token: () => ++this.token };
    return this.change((state) => state.acquire(request, asking, this.now));
  }

  holders(): readonly string[] {
    return this.change((state) => state.describe(this.now)).holders.map(({ holder }) => holder);
  }
}

test("who waits is granted in order, each told when its turn has come, under growing tokens", () => {
  const kept = new Kept();
  assert.deepEqual(kept.acquire("a"), { type: "granted", token: 1, isNew: true });
  assert.equal(kept.acquire("b").type, "waiting");
  assert.equal(kept.acquire("c").type, "waiting");
  kept.change((state) => state.release("a", false, kept.now));
  assert.deepEqual(kept.turns, ["b"]);
  assert.equal(kept.acquire("c").type, "waiting", "nobody overtakes");
  assert.deepEqual(kept.acquire("b"), { type: "granted", token: 2, isNew: true });
  assert.deepEqual(kept.acquire("b"), { type: "granted", token: 2, isNew: false });
});

test("a place is kept for as long as its holder asks, and no longer", () => {
  const kept = new Kept();
  kept.acquire("a", { ttlMs: 10_000 });
  kept.acquire("b");
  kept.now += 200;
  kept.acquire("c");
  kept.now += 150;
  kept.change((state) => state.release("a", false, kept.now));
  assert.deepEqual(kept.turns, ["c"]);
});

test("when the clock is set back, a lease lasts for its time to live from then, and no longer", () => {
  const kept = new Kept();
  kept.acquire("a");
  kept.now -= 500;
  assert.equal(kept.acquire("b", {}, false).type, "refused");
  kept.now += 100;
  assert.equal(kept.acquire("b", {}, false).type, "granted");
});

const step = fc.record({
  holder: fc.constantFrom("a", "b", "c", "d"),
  what: fc.constantFrom("acquire" as const, "release" as const, "renew" as const, "pass" as const),
  weight: fc.integer({ min: 1, max: 3 }),
  ms: fc.nat(120),
});

test("whatever happens, what is held together never exceeds what anybody was promised, and tokens grow", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const kept = new Kept();
      let last = 0;
      for (const { holder, what, weight, ms } of steps) {
        if (what === "acquire") {
          const answer = kept.acquire(holder, { weight, capacity: 3 });
          if (answer.type === "granted" && answer.isNew) {
            assert.ok(answer.token > last);
            last = answer.token;
          }
        } else if (what === "release") kept.change((state) => state.release(holder, false, kept.now));
        else if (what === "renew") kept.change((state) => state.renew(holder, last, 100, kept.now));
        else kept.now += ms;
        const { holders } = kept.change((state) => state.describe(kept.now));
        assert.ok(holders.reduce((sum, own) => sum + own.weight, 0) <= 3);
      }
    }),
  );
});

test("whose turn it is can be read by whoever has waited for it, and is nobody's while the name is taken", () => {
  const kept = new Kept();
  const next = () => kept.change((state) => state.nextTurn(kept.now));
  assert.equal(next(), undefined);
  kept.acquire("a");
  kept.acquire("b");
  assert.equal(next(), undefined);
  kept.change((state) => state.release("a", false, kept.now));
  assert.equal(next(), "b");
  kept.now += 300;
  assert.equal(next(), undefined, "b was not heard of for as long as its place is kept");
});
