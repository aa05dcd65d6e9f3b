import assert from "node:assert/strict";
import { test } from "node:test";
import { shortName } from "./postgres-wire.ts";

test("names of statements keep to what PostgreSQL keeps of them, and apart from each other", () => {
  assert.equal(shortName("tenon_kv_get", "SELECT 1"), "tenon_kv_get");
  const prefix = "p".repeat(60);
  const names = ["get", "scan", "commit"].map((name) => shortName(`${prefix}_kv_${name}`, `SELECT '${name}'`));
  assert.equal(new Set(names.map((name) => name.slice(0, 63))).size, 3);
  for (const name of names) assert.ok(name.length <= 63, name);
});
