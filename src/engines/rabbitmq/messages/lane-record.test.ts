import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import { LaneState } from "../../lanes/lane-state.ts";
import { LaneRecord } from "./lane-record.ts";

function opened(fence: number, reach: number): LaneRecord {
  const record = new LaneRecord(new LaneState(new LaneProgress(0)));
  assert.ok(record.open(fence, 0));
  record.state.cursor = reach;
  return LaneRecord.decode(record.encode());
}

describe("a lane's record", () => {
  test("belongs to the fence that it was opened with last, and to no earlier one", () => {
    const record = opened(5, 10);
    assert.ok(record.isOwnedUnder(5));
    assert.ok(record.open(6, 3));
    assert.deepEqual([record.isOwnedUnder(5), record.isOwnedUnder(6)], [false, true]);
    assert.equal(record.open(5, 3), false, "a member that was slow to open comes too late");
    assert.equal(record.release(5), false);
    assert.ok(record.isOwnedUnder(6));
  });

  test("opened again under the same fence it stays as it was", () => {
    const record = opened(5, 10);
    assert.ok(record.open(5, 3));
    assert.equal(record.state.suspectBelow, 0);
  });

  test("suspects as far as a vanished owner may have come, and not beyond the end", () => {
    const near = opened(5, 10);
    near.open(6, 1_000);
    assert.equal(near.state.suspectBelow, 10);
    const far = opened(5, 10_000);
    far.open(6, 3);
    assert.equal(far.state.suspectBelow, 3);
  });

  test("suspects nothing after an orderly release", () => {
    const record = opened(5, 10);
    record.open(6, 1_000);
    record.state.cursor = 10;
    assert.ok(record.release(6));
    const read = LaneRecord.decode(record.encode());
    assert.ok(read.open(7, 1_000));
    assert.equal(read.state.suspectBelow, 0);
    assert.equal(read.open(6, 1_000), false);
  });
});
