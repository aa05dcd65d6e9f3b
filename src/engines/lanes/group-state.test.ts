import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { GroupState } from "./group-state.ts";

/** A group as a store keeps it: bytes between any two changes, fences from one counter, lanes that know their fence. */
class Kept {
  bytes: Buffer;
  now = 1_000;
  #fence = 0;
  /** The fence of every lane; 0: nobody's. */
  readonly lanes = new Map<number, number>();
  readonly taken: string[] = [];

  constructor(partitions: number) {
    this.bytes = new GroupState(partitions).encode();
  }

  change<T>(what: (state: GroupState) => T): T {
    const state = GroupState.decode(this.bytes);
    const answer = what(state);
    const wanted = state.balance(this.now);
    state.grant(Array.from({ length: wanted }, () => ++this.#fence));
    for (const { partition, taken, fence } of state.takeTurns()) {
      if (taken !== undefined) this.taken.push(`${partition} ${taken}`);
      if (fence !== undefined) assert.ok(fence > (this.lanes.get(partition) ?? 0), "fences grow");
      this.lanes.set(partition, fence ?? 0);
    }
    const before = this.bytes;
    this.bytes = state.encode();
    if (!state.changed) assert.ok(before.equals(this.bytes), "what says that it has not changed has not");
    return answer;
  }

  join(id: string, more: { sessionMs?: number; revokeMs?: number; agreement?: string; ephemeral?: boolean } = {}) {
    const member = { id, sessionMs: 300, revokeMs: 100, agreement: "", ephemeral: false, ...more };
    const fresh = GroupState.decode(this.bytes).countMembers(this.now) === 0;
    return this.change((state) => state.join(member, this.now, fresh && more.ephemeral === true));
  }

  lanesOf(id: string) {
    return GroupState.decode(this.bytes).reportTo(id, this.now).lanes;
  }

  /** Gives back what was asked back. */
  obey(id: string): void {
    for (const { partition, fence, revoked } of this.lanesOf(id)) {
      if (revoked) this.change((state) => state.release(partition, fence, true));
    }
  }
}

const numbers = (lanes: readonly { readonly partition: number }[]) => lanes.map(({ partition }) => partition);

test("the first member gets every lane; the next one half of them, as soon as they are given back", () => {
  const kept = new Kept(5);
  kept.join("a");
  assert.deepEqual(numbers(kept.lanesOf("a")), [0, 1, 2, 3, 4]);
  kept.join("b");
  assert.deepEqual(kept.lanesOf("b"), []);
  assert.deepEqual(numbers(kept.lanesOf("a").filter(({ revoked }) => revoked)), [3, 4]);
  kept.obey("a");
  assert.deepEqual(numbers(kept.lanesOf("b")), [3, 4]);
  assert.deepEqual(kept.taken, ["3 orderly", "4 orderly"]);
});

test("a lane that is not given back in time is taken, and what its owner fetched is suspect", () => {
  const kept = new Kept(2);
  kept.join("a");
  kept.join("b");
  kept.now += 99;
  kept.change((state) => state.renew("b", 300, kept.now));
  assert.deepEqual(kept.lanesOf("b"), []);
  assert.deepEqual(GroupState.decode(kept.bytes).reportTo("b", kept.now).soonestMs, 1);
  kept.now += 1;
  kept.change((state) => state.renew("b", 300, kept.now));
  assert.deepEqual(numbers(kept.lanesOf("b")), [1]);
  assert.deepEqual(kept.taken, ["1 vanished"]);
});

test("a member that is not heard of loses its lanes when its session ends, and cannot renew it", () => {
  const kept = new Kept(2);
  kept.join("a");
  kept.now += 200;
  kept.join("b", { sessionMs: 1_000 });
  kept.now += 100;
  assert.equal(
    kept.change((state) => state.renew("a", 300, kept.now)),
    false,
  );
  assert.deepEqual(numbers(kept.lanesOf("b")), [0, 1]);
  assert.deepEqual(kept.taken, ["0 vanished", "1 vanished"]);
});

test("a release under a superseded fence is ignored", () => {
  const kept = new Kept(1);
  kept.join("a");
  const { fence } = kept.lanesOf("a")[0]!;
  kept.change((state) => state.takeAll());
  const after = kept.lanesOf("a");
  assert.ok(after[0]!.fence > fence);
  kept.change((state) => state.release(0, fence, true));
  assert.deepEqual(kept.lanesOf("a"), after);
});

test("members have to agree, until nobody is left", () => {
  const kept = new Kept(1);
  kept.join("a", { agreement: "x" });
  assert.deepEqual(kept.join("b", { agreement: "y" }), { refused: "agreement" });
  kept.change((state) => state.leave("a", true));
  assert.equal(kept.join("b", { agreement: "y" }), undefined);
});

test("an ephemeral group is its only member's, and ends with it", () => {
  const kept = new Kept(1);
  assert.equal(kept.join("a", { ephemeral: true }), undefined);
  assert.deepEqual(kept.join("b"), { refused: "ephemeral" });
  assert.deepEqual(kept.join("b", { ephemeral: true }), { refused: "exists" });
  assert.equal(GroupState.decode(kept.bytes).endsAt, kept.now + 300);
  kept.change((state) => state.renew("a", 500, kept.now));
  assert.equal(GroupState.decode(kept.bytes).endsAt, kept.now + 500);
  const plain = new Kept(1);
  plain.join("a");
  assert.equal(GroupState.decode(plain.bytes).endsAt, undefined);
  assert.deepEqual(plain.join("b", { ephemeral: false }), undefined);
});

const step = fc.oneof(
  fc.record({ type: fc.constant("join" as const), id: fc.nat(5) }),
  fc.record({ type: fc.constant("leave" as const), id: fc.nat(5), orderly: fc.boolean() }),
  fc.record({ type: fc.constant("renew" as const), id: fc.nat(5) }),
  fc.record({ type: fc.constant("obey" as const), id: fc.nat(5) }),
  fc.record({ type: fc.constant("seek" as const) }),
  fc.record({ type: fc.constant("pass" as const), ms: fc.nat(150) }),
);

test("whatever happens, a lane has one owner at most, who is a member, and fences grow", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 9 }), fc.array(step, { maxLength: 60 }), (partitions, steps) => {
      const kept = new Kept(partitions);
      for (const each of steps) {
        const id = "id" in each ? `m${each.id}` : "";
        if (each.type === "join") kept.join(id);
        else if (each.type === "leave") kept.change((state) => state.leave(id, each.orderly));
        else if (each.type === "renew") kept.change((state) => state.renew(id, 300, kept.now));
        else if (each.type === "obey") kept.obey(id);
        else if (each.type === "seek") kept.change((state) => state.takeAll());
        else kept.now += each.ms;
        const all = Array.from({ length: 6 }, (_, index) => kept.lanesOf(`m${index}`)).flat();
        assert.equal(new Set(numbers(all)).size, all.length, "one owner");
        for (const { partition, fence } of all) assert.equal(kept.lanes.get(partition), fence);
      }
    }),
  );
});

test("members that stay and obey have the lanes evenly in the end, and nobody gives one back who has not more than its share", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 0, max: 5 }),
      (partitions, count, leaving) => {
        const kept = new Kept(partitions);
        const ids = Array.from({ length: count }, (_, index) => `m${index}`);
        for (const id of ids) {
          kept.join(id);
          for (const other of ids) kept.obey(other);
        }
        const gone = `m${leaving}`;
        const before = new Map(ids.map((id) => [id, new Set(numbers(kept.lanesOf(id)))]));
        if (count > 1) kept.change((state) => state.leave(gone, true));
        const staying = count > 1 ? ids.filter((id) => id !== gone) : ids;
        for (const id of staying) kept.obey(id);
        const sizes = staying.map((id) => kept.lanesOf(id).length);
        assert.equal(
          sizes.reduce((sum, size) => sum + size, 0),
          partitions,
        );
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1);
        for (const id of staying) {
          const now = new Set(numbers(kept.lanesOf(id)));
          assert.ok(
            [...before.get(id)!].every((partition) => now.has(partition)),
            "a leave moves only the leaver's lanes",
          );
        }
      },
    ),
  );
});

test("whether lanes moved is told once to a store that keeps the state machine", () => {
  const state = new GroupState(2);
  state.join({ id: "one", sessionMs: 300, revokeMs: 100, agreement: "", ephemeral: false }, 0, true);
  state.balance(0);
  state.grant([1, 2]);
  assert.equal(state.takeMoved(), true);
  assert.equal(state.takeMoved(), false);
  state.renew("one", 300, 100);
  assert.equal(state.balance(100), 0);
  assert.equal(state.takeMoved(), false);
});
