import assert from "node:assert/strict";
import { test } from "node:test";
import { SeededGenerator } from "./seeded-generator.ts";
import { SimulatedRandom } from "./simulated-time.ts";

test("floats fill [0, 1) evenly for every seed", () => {
  for (const seed of [0, 1, 2, -1, 2 ** 32, 2 ** 40 + 5, Number.MAX_SAFE_INTEGER]) {
    const generator = new SeededGenerator(seed);
    const buckets = new Array<number>(10).fill(0);
    for (let draw = 0; draw < 20_000; draw++) {
      const value = generator.float();
      assert.ok(value >= 0 && value < 1);
      buckets[Math.floor(value * 10)]! += 1;
    }
    for (const count of buckets) assert.ok(Math.abs(count - 2_000) < 250, `seed ${seed}: ${buckets}`);
  }
});

test("neighbouring seeds have nothing in common", () => {
  const first = new Set<number>();
  for (let seed = -500; seed < 500; seed++) first.add(new SeededGenerator(seed).uint32());
  for (let seed = 0; seed < 500; seed++) first.add(new SeededGenerator(2 ** 32 * (seed + 1)).uint32());
  assert.ok(first.size >= 1_499);
});

test("integers reach both ends and nothing beyond", () => {
  const generator = new SeededGenerator(3);
  const seen = new Set<number>();
  for (let draw = 0; draw < 200; draw++) seen.add(generator.integer(4, 7));
  assert.deepEqual([...seen].sort(), [4, 5, 6, 7]);
});

test("a fork does not repeat its parent", () => {
  const parent = new SeededGenerator(3);
  const fork = parent.fork();
  assert.notDeepEqual([fork.uint32(), fork.uint32()], [parent.uint32(), parent.uint32()]);
});

test("uuids are of version 4 and differ", () => {
  const random = new SimulatedRandom(new SeededGenerator(3));
  const seen = new Set<string>();
  for (let draw = 0; draw < 1_000; draw++) {
    const uuid = random.uuid();
    assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    seen.add(uuid);
  }
  assert.equal(seen.size, 1_000);
});
