import assert from "node:assert/strict";
import { test } from "node:test";
import { familyOf } from "./keys.ts";

test("a topic shares its keys' beginning, and so its slot, with its dead letters and retries, and with no other topic", () => {
  const base = (topic: string) => familyOf("tenon", topic).base;
  assert.equal(base("orders"), "tenon:messages:{orders}:");
  assert.equal(base("orders..billing..dead"), base("orders"));
  assert.equal(base("..orders"), "tenon:messages:{..orders}:");
  assert.notEqual(base("orders.eu"), base("orders"));
});

test("braces in a name neither end the hash tag nor let two names meet", () => {
  const names = ["{a}", "}a{", "a}b", "a}c", "%7ba%7d"];
  const bases = names.map((name) => familyOf("tenon", name).base);
  assert.equal(new Set(bases).size, names.length);
  for (const base of bases) assert.match(base, /^tenon:messages:\{[^{}]+\}:$/);
});
