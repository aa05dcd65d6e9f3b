import assert from "node:assert/strict";
import { test } from "node:test";
import { type Holding, Holdings } from "./holdings.ts";

const at = (ms: number) => ({ monotonic: ms, wall: ms });

function held(sinceMs: number, ttlMs: number): Holding {
  const since = at(sinceMs);
  return {
    key: "key",
    token: 1n,
    weight: 1,
    ttlMs,
    since,
    lease: { id: "1", seconds: Math.ceil(ttlMs / 1_000) + 1, since },
  };
}

test("leases that are left to end are forgotten, also when nobody asks for their names again", () => {
  const holdings = new Holdings();
  for (let index = 0; index < 10; index++) holdings.set(`kept${index}`, "holder", held(0, 1_000_000));
  let most = 0;
  for (let index = 0; index < 10_000; index++) {
    holdings.set(`left${index}`, "holder", held(10 * index, 100));
    most = Math.max(most, holdings.size);
  }
  // Some 21 are held at a time: the ten, and those of the last 100 ms.
  assert.ok(most <= 2 * 21 + 64, `${most} were kept`);
  for (let index = 0; index < 10; index++) assert.equal(holdings.weightOf(`kept${index}`, at(100_000)), 1);
});

test("what is held is kept however much it is, and what was given up counts no more", () => {
  const holdings = new Holdings();
  for (let index = 0; index < 1_000; index++) holdings.set("name", `holder${index}`, held(index, 1_000_000));
  holdings.set("name", "holder0", held(2_000, 1_000_000));
  assert.deepEqual([holdings.size, holdings.weightOf("name", at(2_000))], [1_000, 1_000]);
  for (let index = 0; index < 999; index++) holdings.delete("name", `holder${index}`);
  holdings.delete("name", "holder0");
  assert.deepEqual([holdings.size, holdings.weightOf("name", at(2_000))], [1, 1]);
  assert.deepEqual([holdings.weightOf("name", at(3_000_000)), holdings.size], [0, 0]);
});
