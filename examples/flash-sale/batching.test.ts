import assert from "node:assert/strict";
import { test } from "node:test";
import { Batching } from "./batching.ts";

/** Batches that end when the test says so. */
function held() {
  const batches: { items: readonly number[]; end: () => void; fail: (error: Error) => void }[] = [];
  const batching = new Batching<number>((items) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    batches.push({ items, end: resolve, fail: reject });
    return promise;
  });
  return { batches, batching, turn: () => new Promise((resolve) => setImmediate(resolve)) };
}

test("what is added while a batch is under way forms the next one, in order", async () => {
  const { batches, batching, turn } = held();
  const first = [batching.add(1), batching.add(2)];
  await turn();
  const second = [batching.add(3), batching.add(4)];
  await turn();
  assert.deepEqual(
    batches.map((batch) => batch.items),
    [[1, 2]],
  );
  batches[0]!.end();
  await Promise.all(first);
  await turn();
  assert.deepEqual(
    batches.map((batch) => batch.items),
    [
      [1, 2],
      [3, 4],
    ],
  );
  batches[1]!.end();
  await Promise.all(second);
});

test("a batch that fails rejects its own items and no others", async () => {
  const { batches, batching, turn } = held();
  const first = batching.add(1);
  await turn();
  const second = batching.add(2);
  batches[0]!.fail(new Error("disk gone"));
  await assert.rejects(first, /disk gone/);
  await turn();
  batches[1]!.end();
  await second;
});

test("a batch is gathered for as long as it is told to", async () => {
  const gathering = Promise.withResolvers<void>();
  const batches: (readonly number[])[] = [];
  const batching = new Batching<number>(
    async (items) => {
      batches.push(items);
    },
    { gather: () => gathering.promise },
  );
  const added = [batching.add(1)];
  await new Promise((resolve) => setImmediate(resolve));
  added.push(batching.add(2));
  assert.deepEqual(batches, []);
  gathering.resolve();
  await Promise.all(added);
  assert.deepEqual(batches, [[1, 2]]);
});

test("batches that may overlap hold what was added in one turn, and do not wait for each other", async () => {
  const batches: (readonly number[])[] = [];
  const never = new Batching<number>(
    (items) => {
      batches.push(items);
      return new Promise(() => {});
    },
    { overlap: true },
  );
  for (const start of [1, 3]) {
    never.add(start);
    never.add(start + 1);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.deepEqual(batches, [
    [1, 2],
    [3, 4],
  ]);
});
