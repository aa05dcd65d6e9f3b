import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { decodeRun, encodeRun, PartitionHead } from "./partition-head.ts";

const packed = Buffer.from("packed");

function again(head: PartitionHead): PartitionHead {
  return PartitionHead.decode(head.encode());
}

describe("a partition's record", () => {
  test("gives positions one after the other, and instants that never go back", () => {
    const head = new PartitionHead();
    assert.deepEqual(head.add(3, 1_000, packed), { position: 0, count: 3, publishedAt: 1_000, packed });
    assert.deepEqual(head.add(1, 400, packed), { position: 3, count: 1, publishedAt: 1_000, packed });
    assert.equal(head.next, 4);
  });

  test("comes back as it was written, with what is on its way to the groups", () => {
    const head = new PartitionHead();
    head.remember({ id: "p", epoch: 2, sequence: 0 }, 3, 0);
    head.add(3, 1_000, packed);
    const read = again(head);
    assert.deepEqual([read.next, read.publishedAt, read.pending], [3, 1_000, head.pending]);
    assert.deepEqual(read.check({ id: "p", epoch: 2, sequence: 0 }, 3), { known: 0 });
    read.pending = undefined;
    assert.equal(again(read).pending, undefined);
  });

  test("knows when a message was stored, or for old ones the instant of one before it", () => {
    let head = new PartitionHead();
    for (let number = 0; number < 1_000; number++) head.add(2, 10_000 + number, packed);
    head = again(head);
    for (let number = 950; number < 1_000; number++) {
      assert.equal(head.publishedAtOf(2 * number), 10_000 + number);
      assert.equal(head.publishedAtOf(2 * number + 1), 10_000 + number);
    }
    for (let number = 0; number < 950; number += 50) {
      assert.ok(head.publishedAtOf(2 * number)! <= 10_000 + number);
      assert.ok(head.publishedAtOf(2 * number)! >= 10_000);
    }
    assert.ok(head.encode().length < 4_096, "it stays small");
  });

  test("remembers the producers that were heard of last, and fences lower epochs", () => {
    const head = new PartitionHead();
    const mark = (id: string, epoch = 0, sequence = 0) => ({ id, epoch, sequence });
    for (let number = 0; number < 300; number++) {
      head.remember(mark(`p${number}`), 1, number);
      head.remember(mark("busy", 0, number), 1, number);
    }
    assert.deepEqual(head.check(mark("busy", 0, 299), 1), { known: 299 });
    assert.deepEqual(head.check(mark("p299"), 1), { known: 299 });
    assert.equal(head.check(mark("p0"), 1), undefined, "it is forgotten");
    head.raise(mark("busy", 1));
    assert.ok(head.knowsEpoch(mark("busy", 1)));
    assert.deepEqual(again(head).check(mark("busy", 0, 300), 1), { refused: "fenced", epoch: 1 });
    head.raise(mark("busy", 0));
    assert.ok(head.knowsEpoch(mark("busy", 1)), "a lower epoch raises nothing");
  });

  test("what is no run is corrupt", () => {
    const run = { position: 5, count: 2, publishedAt: 1, packed };
    assert.deepEqual(decodeRun(encodeRun(run)), run);
    for (const bytes of [Buffer.alloc(0), Buffer.from([9]), encodeRun(run).subarray(0, -1)]) {
      assert.throws(() => decodeRun(bytes), { code: "corrupt" });
    }
  });
});
