import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import { ByteWriter } from "../binary.ts";
import { type HandingOver, LeaseState } from "./lease-state.ts";

const figures = { ttlMs: 100, waitMs: 1_000, data: undefined };

/** A name as a store keeps it: bytes between any two operations, tokens from one counter. */
class Kept {
  bytes: Uint8Array = Buffer.alloc(0);
  now = 1_000;
  token = 0;
  turns: string[] = [];

  /** Who waits in this process. */
  wanted: HandingOver["wanted"] = () => undefined;

  change<T>(what: (state: LeaseState) => T): T {
    const state = LeaseState.decode(this.bytes);
    const answer = what(state);
    this.turns.push(...state.turns.map(({ holder }) => holder));
    this.bytes = state.unused ? Buffer.alloc(0) : state.encode();
    return answer;
  }

  /** Answers who was granted the name by it. */
  release(holder: string): readonly string[] {
    const handing: HandingOver = { channel: "c", wanted: (each) => this.wanted(each), token: () => ++this.token };
    return this.change((state) => {
      state.release(holder, false, this.now, handing);
      return state.handedOver.map((granted) => `${granted.holder} ${granted.token}`);
    });
  }

  acquire(holder: string, more: Partial<ValidRequest> = {}, waits = true, channel = "c") {
    const request = { ...figures, holder, capacity: 1, weight: 1, ...more };
    const asking = { waits, channel, patienceMs: 300, token: () => ++this.token };
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

const wants = (holder: string): ValidRequest => ({ ...figures, holder, capacity: 1, weight: 1 });

test("a release grants the name to who waits for it in the same process, and nobody there overtakes who waits elsewhere", () => {
  const kept = new Kept();
  kept.wanted = wants;
  kept.acquire("a");
  kept.acquire("b");
  kept.acquire("other", {}, true, "elsewhere");
  kept.acquire("c");
  assert.deepEqual(kept.release("a"), ["b 2"]);
  assert.deepEqual(kept.holders(), ["b"]);
  assert.deepEqual(kept.release("b"), []);
  assert.deepEqual(kept.turns, ["other"], "only who waits elsewhere is told");
  assert.equal(kept.acquire("c").type, "waiting");
  kept.acquire("other", {}, true, "elsewhere");
  assert.deepEqual(kept.release("other"), ["c 4"]);
});

test("shares are handed over to all whom they fit, up to the first one whom they do not", () => {
  const kept = new Kept();
  const weights: Record<string, number> = { writer: 3, reader: 1, another: 1, late: 3 };
  kept.wanted = (holder) => ({ ...wants(holder), capacity: 3, weight: weights[holder]! });
  for (const holder of Object.keys(weights)) kept.acquire(holder, { capacity: 3, weight: weights[holder]! });
  assert.deepEqual(kept.release("writer"), ["reader 2", "another 3"]);
  assert.deepEqual(kept.release("reader"), []);
  assert.deepEqual(kept.release("another"), ["late 4"]);
});

test("nobody is granted the name who does not want it any more, or wants something else; its place stays until it leaves", () => {
  const kept = new Kept();
  kept.acquire("a");
  kept.acquire("gone");
  kept.acquire("b");
  kept.wanted = (holder) => (holder === "gone" ? undefined : wants(holder));
  assert.deepEqual(kept.release("a"), []);
  kept.wanted = (holder) => (holder === "gone" ? { ...wants(holder), capacity: 2 } : wants(holder));
  assert.deepEqual(kept.release("a"), []);
  assert.deepEqual(kept.holders(), []);
  assert.deepEqual(kept.release("gone"), ["b 2"]);
});

test("what was set without knowing the store's clock and counter counts from the stamp, for whoever reads it", () => {
  const state = new LeaseState();
  const asking = { waits: true, channel: "c", patienceMs: 300, token: () => 0 };
  const granted = state.acquire(wants("a"), asking, 500);
  state.acquire(wants("b"), asking, 500);
  const again = state.acquire(wants("a"), asking, 500);
  const bytes = state.encodeUnstamped();
  const stamp = { now: 10_000, number: 77 };
  state.stamp(stamp);
  assert.deepEqual(granted, { type: "granted", token: 77, isNew: true });
  assert.deepEqual(again, { type: "granted", token: 77, isNew: false });
  const read = LeaseState.decode(bytes, stamp);
  // The stamp is needed once only.
  for (const each of [read, state, LeaseState.decode(read.encode())]) {
    assert.equal(each.nextEndAt, 10_100);
    assert.equal(each.endsAt, 10_300);
    assert.equal(each.describe(10_099).holders[0]!.token, 77n);
    assert.deepEqual(each.describe(10_100).holders, []);
    assert.equal(each.describe(10_299).waiting, 1);
    assert.equal(each.describe(10_300).waiting, 0);
  }
});

test("what a hand-over grants without knowing the counter has the stamp's number, and later stamps leave it alone", () => {
  const state = new LeaseState();
  const asking = { waits: true, channel: "c", patienceMs: 300, token: () => 1 };
  state.acquire(wants("a"), asking, 500);
  state.acquire(wants("b"), asking, 500);
  state.stamp({ now: 500, number: 1 });
  state.release("a", false, 500, { channel: "c", wanted: wants, token: () => 0 });
  const [granted] = state.handedOver;
  state.stamp({ now: 550, number: 9 });
  assert.deepEqual(granted, { holder: "b", token: 9 });
  assert.equal(state.nextEndAt, 650);
  state.stamp({ now: 600, number: 10 });
  assert.equal(state.describe(600).holders[0]!.token, 9n);
  assert.equal(state.nextEndAt, 650);
});

test("reads what the first format held", () => {
  const writer = new ByteWriter()
    .u8(1)
    .whole(1)
    .text("a")
    .whole(5)
    .whole(1)
    .whole(1)
    .f64(100)
    .f64(1_100)
    .u8(1)
    .text("x");
  const bytes = writer.whole(1).text("b").whole(1).whole(1).text("c").f64(1_300).done();
  const state = LeaseState.decode(bytes);
  const holder = { holder: "a", token: 5n, weight: 1, data: "x", expiresAt: 1_100 };
  assert.deepEqual(state.describe(1_000), { holders: [holder], waiting: 1 });
  state.release("a", false, 1_000);
  assert.deepEqual(state.turns, [{ channel: "c", holder: "b" }]);
});
