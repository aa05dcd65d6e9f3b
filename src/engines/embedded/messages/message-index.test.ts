import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { positionOf } from "../journal/journal.ts";
import { Catalogue } from "./catalogue.ts";
import { MessageIndex, recordPosition, SegmentDirectory } from "./message-index.ts";
import { Queues } from "./queues.ts";

const settings = { retentionMs: 0, countMax: Number.POSITIVE_INFINITY, whenFull: "refuse", sealed: "" } as const;

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant("append" as const),
      queue: fc.nat(2),
      count: fc.integer({ min: 1, max: 5 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ type: fc.constant("seal" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("drop" as const), keepEvery: fc.integer({ min: 2, max: 5 }) }),
  },
);

/** Where each stored offset lies, as a plain map per queue. */
type Model = Map<number, number>[];

test("the index finds the smallest stored offset at or after any other, across sealed, dropped and active segments", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 50 }), async (steps) => {
      const catalogue = new Catalogue();
      const { queues: all } = catalogue.addTopic("orders", 3, settings, 0);
      const queues = new Queues();
      const footers = new Map<number, Buffer>();
      const index = new MessageIndex({
        readFooterPart: (segment, from, to) => footers.get(segment)!.subarray(from, to),
      });
      const model: Model = [new Map(), new Map(), new Map()];
      let segment = 1;
      let record = 0;
      const add = (queue: number, first: number, count: number) => {
        record += 8;
        queues.add(all[queue]!, first, count, segment, record, 100 * count);
        for (let offset = first; offset < first + count; offset++)
          model[queue]!.set(offset, positionOf(segment, record));
      };
      for (const one of steps) {
        if (one.type === "append") {
          const queue = all[one.queue]!;
          add(one.queue, queue.next, one.count);
          queue.next += one.count;
        } else if (one.type === "seal") {
          const footer = SegmentDirectory.encode(queues.activeQueues);
          const { directory } = SegmentDirectory.decode(segment, footer);
          footers.set(segment, footer);
          if (directory.size > 0) index.addSegment(directory);
          queues.sealed();
          segment += 1;
          record = 0;
        } else drop(one.keepEvery);
      }
      function drop(keepEvery: number): void {
        const oldest = index.directories[0];
        if (oldest === undefined) return;
        model.forEach((offsets, queue) => {
          for (const [offset, position] of [...offsets]) {
            if (Math.floor(position / 2 ** 32) !== oldest.segment) continue;
            if (offset % keepEvery === 0) add(queue, offset, 1);
            else offsets.delete(offset);
          }
        });
        index.dropSegment(oldest.segment);
      }
      for (const [number, queue] of all.entries()) await assertLocated(index, queue, model[number]!);
    }),
    { numRuns: 500 },
  );
});

async function assertLocated(index: MessageIndex, queue: ReturnType<Catalogue["queue"]>, stored: Map<number, number>) {
  const offsets = [...stored.keys()].sort((a, b) => a - b);
  assert.equal(index.firstOffset(queue), offsets[0] ?? queue.next);
  for (let offset = 0; offset <= queue.next; offset++) {
    const expected = offsets.find((each) => each >= offset);
    const location = await index.locate(queue, offset);
    if (expected === undefined) assert.equal(location, undefined);
    else assert.equal(location && recordPosition(location), stored.get(expected), `offset ${offset}`);
  }
}
