import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import { checkName, deadTopicOf, retryTopicOf } from "./names.ts";

function refusal(name: string): string {
  try {
    checkName("topic", name);
  } catch (error) {
    assert.ok(error instanceof TenonError);
    assert.equal(error.code, "invalid");
    return error.message;
  }
  return "";
}

test("names of letters, digits, underscores and dashes in dotted parts are allowed", () => {
  for (const name of ["orders", "a", "shop.orders", "A-1_b.c", "x".repeat(200)]) assert.equal(refusal(name), "", name);
});

test("a name that is refused says which rule it breaks", () => {
  assert.match(refusal(""), /must not be empty/);
  assert.match(refusal("x".repeat(201)), /201 characters; at most 200/);
  for (const name of [".a", "a.", "a..b", "a b", "ä", "a/b", "a\n", "."])
    assert.match(refusal(name), /single dots/, name);
});

test("no user can name an internal topic", () => {
  for (const name of [deadTopicOf("a", "b"), retryTopicOf("a", "b")]) assert.notEqual(refusal(name), "");
  assert.notEqual(deadTopicOf("a", "b"), retryTopicOf("a", "b"));
});
