import assert from "node:assert/strict";
import { test } from "node:test";
import { backoffMs, retryPolicy } from "./retry-policy.ts";

test("the bound of the wait doubles from 1 s to 10 min, and the wait lies anywhere below it", () => {
  const policy = retryPolicy();
  const bounds = Array.from({ length: 16 }, (_, index) => backoffMs(policy, index + 1, 1));
  assert.deepEqual(
    bounds.slice(0, 11),
    [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 128_000, 256_000, 512_000, 600_000],
  );
  assert.ok(bounds.slice(10).every((bound) => bound === 600_000));
  assert.equal(backoffMs(policy, 5, 0), 0);
  assert.equal(backoffMs(policy, 5, 0.5), 8_000);
  assert.equal(backoffMs(policy, 5_000, 0.5), 300_000);
});

test("options that make no sense are refused", () => {
  assert.throws(() => retryPolicy({ attemptsMax: -1 }), { code: "invalid" });
  assert.throws(() => retryPolicy({ attemptsMax: 1.5 }), { code: "invalid" });
  assert.throws(() => retryPolicy({ delayMs: Number.NaN }), { code: "invalid" });
  assert.throws(() => retryPolicy({ delayMsMax: Number.POSITIVE_INFINITY }), { code: "invalid" });
  assert.equal(retryPolicy({ attemptsMax: 0 }).attemptsMax, 0);
});
