import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { instantOf } from "./instants.ts";

test("an instant of the server is the same in milliseconds", () => {
  fc.assert(
    fc.property(fc.date({ min: new Date(0), max: new Date("2199-12-31"), noInvalidDate: true }), (date) => {
      assert.equal(instantOf(date.toISOString()), date.getTime());
    }),
  );
  assert.equal(instantOf("2026-11-30T03:10:09.04887404Z"), Date.parse("2026-11-30T03:10:09.048Z"));
  assert.equal(instantOf("2024-02-29T23:59:59Z"), Date.parse("2024-02-29T23:59:59Z"));
  assert.ok(Number.isNaN(instantOf("yesterday")));
});
