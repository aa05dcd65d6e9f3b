import assert from "node:assert/strict";
import { test } from "node:test";
import type { Row } from "./harness.ts";
import { judgeContent, judgeLimit, judgeRatio } from "./requirements.ts";
import { median, pairedRatio, percentile } from "./statistics.ts";

const row = (peer: string, ...rounds: number[]): Row => ({
  scenario: "publish",
  unit: "per second",
  peer,
  survives: "machine",
  rounds,
});

test("the median of an even count is the mean of the two in the middle", () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 10, 2]), 3);
});

test("a percentile is a value that was measured", () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.equal(percentile(values, 0.5), 50);
  assert.equal(percentile(values, 0.99), 99);
  assert.equal(percentile([7], 0.99), 7);
  assert.ok(Number.isNaN(percentile([], 0.5)));
});

test("a round in which the whole machine was slow does not change the ratio", () => {
  assert.equal(pairedRatio([100, 10, 100], [200, 20, 200]), 0.5);
});

test("a required ratio holds at its bound and breaks below it", () => {
  const required = { scenario: "publish", ours: "tenon", theirs: "floor", atLeast: 0.5 };
  assert.equal(judgeRatio(required, [row("tenon", 50, 50), row("floor", 100, 100)]).holds, true);
  assert.equal(judgeRatio(required, [row("tenon", 49, 49), row("floor", 100, 100)]).holds, false);
});

test("a ratio that is required to be small holds at its bound and breaks above it, and says how far the rounds were apart", () => {
  const required = { scenario: "publish", ours: "tenon", theirs: "floor", atMost: 1.5 };
  const verdict = judgeRatio(required, [row("tenon", 140, 150, 170), row("floor", 100, 100, 100)]);
  assert.equal(verdict.holds, true);
  assert.match(verdict.text, /≤ 1\.5 × floor – is 1\.50 × \(1\.40 – 1\.70\)$/);
  assert.equal(judgeRatio(required, [row("tenon", 151), row("floor", 100)]).holds, false);
});

test("a required ratio without one of its sides is not judged, and says which is missing", () => {
  const required = { scenario: "publish", ours: "tenon", theirs: "floor", atLeast: 0.5 };
  const verdict = judgeRatio(required, [row("tenon", 50)]);
  assert.equal(verdict.holds, undefined);
  assert.match(verdict.text, /not measured: floor$/);
});

test("a limit breaks when it is reached", () => {
  const limit = { what: "files", below: 50, unit: "" };
  assert.equal(judgeLimit({ ...limit, value: 49 }).holds, true);
  assert.equal(judgeLimit({ ...limit, value: 50 }).holds, false);
});

test("content that is missing breaks its requirement", () => {
  assert.equal(judgeContent({ what: "messages", found: 10, atLeast: 10 }).holds, true);
  assert.equal(judgeContent({ what: "messages", found: 9, atLeast: 10 }).holds, false);
});
