import assert from "node:assert/strict";
import { test } from "node:test";
import { EventQueue, type SimulatedEvent } from "./event-queue.ts";
import { SeededGenerator } from "./seeded-generator.ts";

test("the queue agrees with a sorted list through any mix of pushing, cancelling and popping", () => {
  for (let seed = 0; seed < 20; seed++) {
    const generator = new SeededGenerator(seed);
    const queue = new EventQueue();
    const model: SimulatedEvent[] = [];
    const all: SimulatedEvent[] = [];
    for (let step = 0; step < 8_000; step++) {
      const choice = generator.float();
      if (choice < 0.55) {
        const event = { atMs: generator.integer(0, 50), sequence: step, label: "", fire: () => {}, cancelled: false };
        queue.push(event);
        model.push(event);
        all.push(event);
      } else if (choice < 0.9 && all.length > 0) {
        // Any of them, also one that was popped or cancelled before.
        const event = generator.pick(all);
        queue.cancel(event);
        if (model.includes(event)) model.splice(model.indexOf(event), 1);
      } else {
        model.sort((one, other) => one.atMs - other.atMs || one.sequence - other.sequence);
        assert.equal(queue.pop(), model.shift());
      }
      assert.equal(queue.size, model.length);
    }
  }
});
