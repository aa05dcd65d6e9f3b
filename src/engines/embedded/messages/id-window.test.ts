import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IdWindow, idWindowCount, idWindowMs } from "./id-window.ts";

const step = fc.record({
  afterMs: fc.constantFrom(0, 1, 500, idWindowMs - 1, idWindowMs, 3 * idWindowMs),
  topic: fc.integer({ min: 0, max: 1 }),
  id: fc.constantFrom("a", "b", "c", "d"),
  looksOnly: fc.boolean(),
});

test("an id is known for at least two minutes, with its own offset, and only in its own topic", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const window = new IdWindow();
      const stored = new Map<string, { offset: number; at: number }>();
      let now = 1_000;
      steps.forEach(({ afterMs, topic, id, looksOnly }, offset) => {
        now += afterMs;
        const name = `${topic}/${id}`;
        const known = stored.get(name);
        const found = window.find(topic, id, now);
        if (known !== undefined && now - known.at < idWindowMs) assert.equal(found, known.offset);
        if (found !== undefined) assert.equal(found, known?.offset);
        if (looksOnly || found !== undefined) return;
        window.add(topic, id, offset, now);
        stored.set(name, { offset, at: now });
      });
    }),
    { numRuns: 2_000 },
  );
});

test("ids are forgotten after twice the window, so that they cost memory for a while only", () => {
  const window = new IdWindow();
  window.add(0, "old", 1, 0);
  assert.equal(window.find(0, "old", idWindowMs), 1);
  assert.equal(window.find(0, "old", 3 * idWindowMs), undefined);
});

test("however fast ids come, the last million is known", () => {
  const window = new IdWindow();
  for (let n = 0; n < idWindowCount * 1.5; n++) window.add(0, `${n}`, n, 0);
  for (let n = idWindowCount / 2; n < idWindowCount * 1.5; n += 9_973) assert.equal(window.find(0, `${n}`, 0), n);
});

test("a clock that is set back makes no id forgotten", () => {
  const window = new IdWindow();
  window.add(0, "id", 5, 10 * idWindowMs);
  assert.equal(window.find(0, "id", 0), 5);
});
