import assert from "node:assert/strict";
import { test } from "node:test";
import { answeredCode, failureOf } from "./failures.ts";

/** As the client rejects: one error for each part of the answer that has one. */
const answered = (...codes: readonly number[]) => ({ errors: codes.map((apiCode) => ({ apiCode })) });

test("an answer of several parts is known by the error that the others were left undone for", () => {
  assert.equal(answeredCode(answered(55, 3, 55)), 3);
  assert.equal(answeredCode(answered(55)), 55);
  assert.equal(answeredCode({ errors: [answered(), answered(55, 47)] }), 47);
  assert.equal(answeredCode(new Error("the connection was lost")), undefined);
});

test("what may have happened is told from what did not", () => {
  assert.equal(failureOf(answered(20), "an append", "unknown").outcome, "unknown");
  assert.equal(failureOf(answered(6), "an append", "unknown").outcome, "not-applied");
  assert.equal(failureOf(new Error("lost"), "an append", "unknown").outcome, "unknown");
});
