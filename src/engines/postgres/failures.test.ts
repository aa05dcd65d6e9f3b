import assert from "node:assert/strict";
import { test } from "node:test";
import { commitFailed, endsSession, sqlStateOf } from "./failures.ts";
import { failureOf } from "./server-failures.ts";

const error = (code: string | undefined) => Object.assign(new Error("that failed"), { code });

test("errors of the operating system are no answers of the server, whatever they look like", () => {
  for (const code of ["EPIPE", "ECONNRESET", "ETIMEDOUT", undefined]) {
    assert.equal(sqlStateOf(error(code)), undefined, code);
    assert.ok(endsSession(error(code)));
    assert.equal(commitFailed(error(code)).outcome, "unknown");
    assert.equal(failureOf(error(code), "a commit", "unknown").outcome, "unknown");
  }
});

test("the server's errors are told apart", () => {
  const codes: Readonly<Record<string, string>> = {
    "57P01": "unavailable",
    "57P03": "unavailable",
    "08006": "unavailable",
    "40001": "unavailable",
    "55P03": "unavailable",
    "25006": "unavailable",
    "28P01": "denied",
    "42501": "denied",
    "53100": "overloaded",
    "53300": "overloaded",
    "42P01": "not-found",
    "23505": "conflict",
    XX001: "conflict",
  };
  for (const [state, code] of Object.entries(codes)) {
    assert.equal(failureOf(error(state), "a commit", "unknown").code, code, state);
  }
});

test("what the server has refused has not happened; what it ended its session over, nobody knows", () => {
  assert.equal(failureOf(error("53100"), "a commit", "unknown").outcome, "not-applied");
  assert.equal(failureOf(error("57P01"), "a commit", "unknown").outcome, "unknown");
});
