import assert from "node:assert/strict";
import { test } from "node:test";
import { Lifetime } from "./lifetime.ts";

test("whoever waits within a lifetime is answered by the work, or by its end", async () => {
  const life = new Lifetime();
  assert.equal(await life.during(Promise.resolve(7)), 7);
  await assert.rejects(life.during(Promise.reject(new Error("refused"))), /refused/);
  const never = new Promise<void>(() => undefined);
  const waiting = [life.during(never), life.during(never)];
  life.end(new Error("it broke"));
  life.end(new Error("it was closed"));
  for (const one of waiting) await assert.rejects(one, /it broke/);
  assert.ok(life.isOver);
  await assert.rejects(life.during(Promise.resolve(7)), /it broke/);
});

test("a lifetime remembers nobody who was answered", async () => {
  const life = new Lifetime();
  for (let round = 0; round < 100; round++) {
    await life.during(Promise.resolve(round));
    await life.during(Promise.reject(new Error("refused"))).catch(() => undefined);
  }
  assert.equal(life.size, 0);
});
