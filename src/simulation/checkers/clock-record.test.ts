import assert from "node:assert/strict";
import { test } from "node:test";
import { ClockRecord } from "./clock-record.ts";

/** Readings of `wallAt` every `everyMs` up to `untilMs`. */
function recordOf(wallAt: (atMs: number) => number, everyMs: number, untilMs = 10_000): ClockRecord {
  const record = new ClockRecord();
  for (let at = 0; at <= untilMs; at += everyMs) record.read(at, Math.floor(wallAt(at)));
  return record;
}

const within = (value: number, wanted: number, slack: number) =>
  assert.ok(Math.abs(value - wanted) <= slack, `${value} is not within ${slack} of ${wanted}`);

test("a clock that runs right is steady, and is known to some milliseconds", () => {
  const clock = recordOf((at) => at + 5_000, 1_000);
  within(clock.between(1_500, 2_500).min, 6_500, 3);
  within(clock.between(1_500, 2_500).max, 7_500, 3);
  within(clock.advanced(1_500, 2_500).min, 1_000, 5);
  within(clock.advanced(1_500, 2_500).max, 1_000, 5);
  assert.ok(clock.steady(0, 10_000, 0.001));
  assert.equal(clock.setBacks(0, 10_000), 0);
});

test("a clock that gains is steady within its bound only", () => {
  const clock = recordOf((at) => at * 1.01, 10);
  assert.ok(clock.steady(0, 10_000, 0.011));
  assert.ok(!clock.steady(0, 10_000, 0.005));
  within(clock.advanced(2_000, 4_000).max, 2_020, 8);
  assert.equal(clock.setBacks(0, 10_000), 0);
});

test("a step forward that falls between two readings may have been anywhere between them", () => {
  const clock = recordOf((at) => (at < 5_500 ? at : at + 60_000), 1_000);
  assert.ok(clock.between(4_900, 5_100).max > 65_000);
  within(clock.between(4_900, 5_100).min, 4_900, 3);
  within(clock.between(7_000, 8_000).min, 67_000, 3);
  within(clock.advanced(5_600, 5_700).min, 100, 10);
  within(clock.advanced(5_600, 5_700).max, 60_100, 10);
  within(clock.advanced(4_000, 7_000).min, 63_000, 10);
  assert.ok(!clock.steady(4_000, 7_000, 0.02));
  assert.ok(clock.steady(6_001, 9_000, 0.02));
});

test("setting it back counts as standing still, and is counted", () => {
  const clock = recordOf((at) => (at < 5_000 ? at : at - 3_000), 1);
  within(clock.advanced(4_000, 6_000).max, 2_000, 8);
  within(clock.advanced(4_000, 6_000).min, 2_000, 8);
  within(clock.between(4_000, 6_000).min, 2_000, 3);
  within(clock.between(4_000, 6_000).max, 5_000, 3);
  assert.equal(clock.setBacks(4_000, 6_000), 1);
  assert.equal(clock.setBacks(5_100, 6_000), 0);
});

test("a machine that sleeps has not gone forward until it wakes", () => {
  const clock = recordOf((at) => (at < 2_000 ? at : at < 5_000 ? 2_000 : at), 1);
  within(clock.advanced(2_500, 4_500).max, 0, 8);
  within(clock.advanced(1_000, 6_000).max, 5_000, 12);
  assert.ok(!clock.steady(1_000, 4_000, 0.02));
  assert.ok(!clock.steady(4_000, 6_000, 0.02));
});

test("a process that stands still is not steady, though its clock goes on", () => {
  const clock = new ClockRecord();
  for (let at = 0; at <= 3_000; at += 10) clock.read(at, at, at < 1_000 || at > 1_500);
  assert.ok(!clock.steady(500, 1_200, 0.02));
  assert.ok(!clock.steady(1_400, 2_000, 0.02));
  assert.ok(clock.steady(1_600, 3_000, 0.02));
  within(clock.advanced(500, 2_500).max, 2_000, 8);
});

test("set backs are counted wherever they may lie in a stretch", () => {
  const clock = recordOf((at) => at - (at >= 2_000 ? 500 : 0) - (at >= 6_000 ? 500 : 0), 100);
  const counted = [
    [0, 1_800],
    [0, 1_950],
    [0, 5_800],
    [1_900, 2_000],
    [2_001, 5_800],
    [2_001, 9_000],
    [6_001, 9_000],
    [0, 9_000],
    [5_950, 5_960],
  ].map(([from, until]) => clock.setBacks(from!, until!));
  assert.deepEqual(counted, [0, 1, 1, 1, 0, 1, 0, 2, 1]);
});
