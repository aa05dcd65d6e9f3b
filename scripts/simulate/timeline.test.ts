import assert from "node:assert/strict";
import { test } from "node:test";
import { instantOf, timelineOf } from "./timeline.ts";

const shown = (lines: readonly (readonly [number, string])[], faults: readonly string[] = []) =>
  [
    ...timelineOf(
      lines.map(([atMs, text]) => ({ atMs, text })),
      faults.map((text, number) => ({ number, atMs: 0, kind: "crash", text })),
    ),
  ].join("\n");

test("each process has a column, faults and notes stand at the left", () => {
  const text = shown(
    [
      [0, "engine#1 sync journal"],
      [0.5, "shop#1 sleep 5"],
      [1234.5678, "fault 0 kills engine for 1200 ms"],
      [1234.5678, "bought"],
      [2434.5678, "engine#2 open journal"],
      [2434.5678, "engine#2 read journal"],
    ],
    ["kills engine for 1200 ms"],
  );
  assert.equal(
    text,
    [
      "            ms    engine          shop",
      "         0.000    #1 sync journal",
      "         0.500                    #1 sleep 5",
      "     1,234.568 !! fault 0 kills engine for 1200 ms",
      "               -- bought",
      "     2,434.568    #2 open journal",
      "                  read journal",
    ].join("\n"),
  );
});

test("the names of the columns come again", () => {
  const lines = Array.from({ length: 61 }, (_, index) => [index, "engine#1 sync"] as const);
  assert.equal(shown(lines).match(/engine/g)?.length, 2);
});

test("instants have thousands apart and three decimals", () => {
  assert.deepEqual([0, 999, 1_000, 1_234_567.8912].map(instantOf), ["0.000", "999.000", "1,000.000", "1,234,567.891"]);
});
