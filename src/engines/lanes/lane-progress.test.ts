import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../../contracts/errors.ts";
import type { Held } from "../../contracts/messages.ts";
import { LaneProgress } from "./lane-progress.ts";
import { LaneState } from "./lane-state.ts";
import { rangesOf } from "./ranges.ts";

const held: fc.Arbitrary<Held> = fc
  .record({
    position: fc.nat(300).map(BigInt),
    failures: fc.nat(2 ** 32 - 1),
    deliveries: fc.nat(9),
    dueAt: fc.double({ min: 0, max: 2 ** 45, noNaN: true }),
  })
  .map((entry) => ({ ...entry }));

const steps = fc.array(
  fc.oneof(
    fc.record({ type: fc.constant("commit" as const), settled: fc.array(fc.nat(300)), held: fc.array(held) }),
    fc.record({ type: fc.constant("below" as const), position: fc.nat(300) }),
    fc.record({ type: fc.constant("move" as const), position: fc.option(fc.nat(300), { nil: undefined }) }),
  ),
  { maxLength: 30 },
);

/** What progress means, told by remembering every position. */
class Remembering {
  settled = new Set<number>();
  readonly held = new Map<number, Held>();

  settle(positions: readonly number[]): void {
    for (const position of positions) {
      this.settled.add(position);
      this.held.delete(position);
    }
  }

  hold(entries: readonly Held[]): void {
    for (const entry of entries)
      if (!this.settled.has(Number(entry.position))) this.held.set(Number(entry.position), entry);
  }

  get low(): number {
    let low = 0;
    while (this.settled.has(low)) low += 1;
    return low;
  }
}

const below = (position: number) => Array.from({ length: position }, (_, index) => index);

test("progress is what remembering every position says, through every encoding", () => {
  fc.assert(
    fc.property(steps, (taken) => {
      let progress = new LaneProgress(0);
      const model = new Remembering();
      for (const step of taken) {
        if (step.type === "commit") {
          progress.apply({ settled: rangesOf(step.settled), held: step.held });
          model.settle(step.settled);
          model.hold(step.held);
        } else if (step.type === "below") {
          progress.settleBelow(step.position);
          model.settle(below(step.position));
        } else {
          progress.moveTo(step.position);
          model.held.clear();
          if (step.position !== undefined) model.settled = new Set(below(step.position));
        }
        progress = LaneProgress.decode(progress.encode());
        assert.equal(progress.low, model.low);
        assert.deepEqual(
          below(301).filter((position) => progress.has(position)),
          [...model.settled].sort((a, b) => a - b),
        );
        assert.deepEqual(
          progress.held,
          [...model.held.values()].sort((a, b) => Number(a.position - b.position)),
        );
        assert.equal(progress.lag(301), 301 - model.settled.size);
      }
    }),
  );
});

test("a commit that comes twice changes nothing the second time", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(300)), fc.array(held), (settled, entries) => {
      const progress = new LaneProgress(0);
      progress.apply({ settled: rangesOf(settled), held: entries });
      const once = progress.encode();
      progress.apply({ settled: rangesOf(settled), held: entries });
      assert.ok(once.equals(progress.encode()));
    }),
  );
});

test("however a window is settled, it takes an eighth of its length in bytes at most, and little when there are few gaps", () => {
  const every = new LaneProgress(2 ** 40);
  const few = new LaneProgress(2 ** 40);
  const positions = below(100_000).map((position) => 2 ** 40 + position);
  every.apply({ settled: rangesOf(positions.filter((position) => position % 2 === 1)) });
  few.apply({ settled: rangesOf(positions.filter((position) => position % 1_000 !== 0)) });
  assert.ok(every.encode().length <= 12_530, `${every.encode().length}`);
  assert.ok(few.encode().length <= 320, `${few.encode().length}`);
});

test("who vanished leaves what it fetched suspect, until somebody gives the lane back", () => {
  let lane = new LaneState(new LaneProgress(5));
  const through = () => {
    lane = LaneState.decode(lane.encode());
  };
  lane.turn({ taken: undefined, fence: 7 });
  lane.cursor = 20;
  through();
  lane.turn({ taken: "vanished", fence: 8 });
  through();
  assert.deepEqual([lane.fence, lane.suspectBelow, lane.cursor], [8, 20, 0]);
  lane.cursor = 12;
  lane.turn({ taken: "vanished", fence: undefined });
  assert.deepEqual([lane.fence, lane.suspectBelow], [0, 20]);
  lane.turn({ taken: "orderly", fence: 9 });
  assert.deepEqual([lane.fence, lane.suspectBelow, lane.cursor], [9, 0, 0]);
});

test("bytes that were cut, or are something else, are corrupt", () => {
  const progress = new LaneProgress(300);
  progress.apply({
    settled: rangesOf([301, 305]),
    held: [{ position: 303n, failures: 2, deliveries: 0, dueAt: 12.5 }],
  });
  const bytes = progress.encode();
  for (let length = 0; length < bytes.length; length++) {
    assert.throws(
      () => LaneProgress.decode(bytes.subarray(0, length)),
      (error) => error instanceof TenonError && error.code === "corrupt",
    );
  }
});
