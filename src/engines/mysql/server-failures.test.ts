import assert from "node:assert/strict";
import { test } from "node:test";
import { failureOf, isCollision, isEnd } from "./server-failures.ts";

const answered = (errno: number) => Object.assign(new Error("secret"), { errno, sqlState: "HY000", sql: "secret" });

test("what the server answers is told from what the client has lost", () => {
  assert.equal(failureOf(answered(1142), "a commit", "unknown").code, "denied");
  assert.equal(failureOf(answered(1040), "a commit", "unknown").code, "overloaded");
  assert.equal(failureOf(answered(1205), "a commit", "unknown").outcome, "not-applied");
  assert.equal(failureOf(answered(4_711), "a commit", "unknown").code, "conflict");
  const broken = Object.assign(new Error("read ECONNRESET"), { errno: -104, code: "ECONNRESET" });
  assert.equal(failureOf(broken, "a commit", "unknown").outcome, "unknown");
  assert.equal(failureOf(broken, "a commit", "not-applied").outcome, "not-applied");
});

test("a server that goes in the midst of a commit, or is told to stop it, leaves open whether it happened", () => {
  for (const errno of [1053, 1927, 1317, 1180]) {
    assert.equal(failureOf(answered(errno), "a commit", "unknown").outcome, "unknown", String(errno));
  }
});

test("only deadlocks and the like are repeated, and only what ends the session ends it", () => {
  assert.ok(isCollision(answered(1213)) && !isEnd(answered(1213)));
  assert.ok(!isCollision(answered(1205)) && !isEnd(answered(1205)));
  assert.ok(isEnd(answered(1927)) && isEnd(new Error("closed")));
});

test("no statement and no text of the server's is in an error", () => {
  for (const errno of [1062, 1146, 1205, 1213, 4_711]) {
    const { message, fields, cause } = failureOf(answered(errno), "a commit", "unknown");
    assert.ok(!JSON.stringify([message, fields, String(cause)]).includes("secret"));
  }
});
