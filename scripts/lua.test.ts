import assert from "node:assert/strict";
import { test } from "node:test";
import { scriptModules, staleModules } from "./lua.ts";

test("the embedded Lua scripts are what stands in their files", () => {
  assert.ok(scriptModules().size > 0);
  assert.deepEqual(staleModules(), []);
});
