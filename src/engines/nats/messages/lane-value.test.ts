import assert from "node:assert/strict";
import { test } from "node:test";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import { LaneValue } from "./lane-value.ts";

function lane(): LaneValue {
  return LaneValue.startingAt(new LaneProgress(10), 77);
}

/** As it comes back from the server. */
function stored(value: LaneValue): LaneValue {
  return LaneValue.decode(value.encode());
}

test("a lane comes back as it was", () => {
  const value = lane();
  value.enter(5);
  value.state.cursor = 40;
  const again = stored(value);
  assert.deepEqual(
    [again.granted, again.lowSequence, again.state.fence, again.state.cursor, again.state.progress.low],
    [5, 77, 5, 40, 10],
  );
});

test("an owner may enter again under its fence, and nobody under a lower one", () => {
  const value = lane();
  assert.ok(value.enter(5));
  assert.ok(stored(value).enter(5));
  assert.ok(!stored(value).enter(4));
  assert.ok(value.enter(6));
  assert.ok(!value.enter(5));
});

test("what an owner has fetched that did not give the lane back is suspect for the next one", () => {
  const value = lane();
  value.enter(5);
  value.state.cursor = 40;
  value.enter(6);
  assert.deepEqual([value.state.suspectBelow, value.state.cursor], [40, 0]);
});

test("what was given back leaves nothing suspect, and is nobody's until a higher fence comes", () => {
  const value = lane();
  value.enter(5);
  value.state.cursor = 40;
  value.giveBack();
  assert.equal(value.state.fence, 0);
  assert.ok(!value.enter(5));
  assert.ok(value.enter(6));
  assert.equal(value.state.suspectBelow, 0);
});
