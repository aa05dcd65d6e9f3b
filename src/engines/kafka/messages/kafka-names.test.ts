import assert from "node:assert/strict";
import { test } from "node:test";
import { kafkaNamesOf } from "./kafka-names.ts";

test("a topic has its own name in Kafka behind the prefix, so that people find it", () => {
  assert.equal(kafkaNamesOf("tenon", "orders.paid_v2-eu")[0], "tenon.orders.paid_v2-eu");
});

test("what Kafka does not take in a name is written in hexadecimal digits", () => {
  assert.equal(kafkaNamesOf("tenon", "käse/1")[0], "tenon.k_c3a4se_2f1");
});

test("a name that is too long is cut, and has alternatives that differ", () => {
  const names = kafkaNamesOf("tenon", "x".repeat(500));
  assert.equal(new Set(names).size, 6);
  for (const name of names) assert.ok(name.length <= 249 && /^[A-Za-z0-9._-]+$/.test(name));
});
