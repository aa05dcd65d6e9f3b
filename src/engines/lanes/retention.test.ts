import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { evictionOf } from "./eviction.ts";
import { Retention } from "./retention.ts";

test("nothing goes before the retention has passed since it was settled, and everything goes soon after", () => {
  const steps = fc.array(fc.tuple(fc.nat(50), fc.nat(40)), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1_000 }), steps, (retentionMs, taken) => {
      let retention = new Retention();
      let now = 1_000;
      let settled = 0;
      let first = 0;
      const settledAt: number[] = [];
      const look = () => {
        first = Math.max(first, Math.min(settled, retention.note(settled, retentionMs, now)));
        retention = Retention.decode(retention.encode());
        for (let position = 0; position < first; position++) assert.ok(settledAt[position]! + retentionMs <= now);
      };
      for (const [ms, count] of taken) {
        now += ms;
        for (let left = count; left > 0; left--) settledAt[settled++] = now;
        look();
      }
      now += retentionMs + retentionMs / 50;
      look();
      assert.equal(first, settled);
    }),
  );
});

test("evicting takes exactly the excess, from the fullest partitions", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100), { minLength: 1, maxLength: 8 }), fc.nat(), (sizes, part) => {
      const total = sizes.reduce((sum, size) => sum + size, 0);
      const excess = total === 0 ? 0 : part % (total + 1);
      const kept = sizes.map((size, partition) => ({ partition, low: 7, size }));
      const left = [...sizes];
      for (const { partition, below } of evictionOf(kept, excess)) left[partition]! -= below - 7;
      assert.equal(
        left.reduce((sum, size) => sum + size, 0),
        total - excess,
      );
      assert.ok(left.every((size) => size >= 0));
      const touched = left.filter((size, partition) => size < sizes[partition]!);
      const most = Math.max(0, ...left);
      for (const size of touched)
        assert.ok(size >= most - sizes.length, "they are brought to one level, as nearly as whole messages go");
    }),
  );
});
