import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KeyOrder, type Queued } from "./key-order.ts";
import { Ring } from "./ring.ts";

interface Member extends Queued {
  readonly name: number;
}

function member(name: number): Member {
  return { name, behind: undefined, queue: undefined };
}

test("of each key one may go at a time, in the order of entering; other keys do not wait", () => {
  const order = new KeyOrder<Member>();
  const [one, two, three, other] = [member(1), member(2), member(3), member(4)];
  assert.equal(order.enter("a", one), undefined);
  assert.equal(order.enter("a", two), one);
  assert.equal(order.enter("b", other), undefined);
  assert.equal(order.enter("a", three), two);
  assert.equal(order.leave(one), two);
  assert.equal(order.leave(other), undefined);
  assert.equal(order.leave(two), three);
  assert.equal(order.leave(three), undefined);
  assert.equal(order.busyCount, 0);
});

test("whatever enters and leaves, every key goes in order and nothing stays behind", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ key: fc.constantFrom("a", "b", "", "__proto__"), leave: fc.boolean() })),
      (steps) => {
        const order = new KeyOrder<Member>();
        const running = new Map<string, Member>();
        const waiting = new Map<string, number[]>();
        const leave = (key: string): void => {
          const first = running.get(key);
          if (first === undefined) return;
          const next = order.leave(first);
          const expected = waiting.get(key)?.shift();
          assert.equal(next?.name, expected);
          if (next === undefined) running.delete(key);
          else running.set(key, next);
        };
        for (const [name, step] of steps.entries()) {
          const entering = member(name);
          if (order.enter(step.key, entering) === undefined) {
            assert.ok(!running.has(step.key));
            running.set(step.key, entering);
          } else {
            const queue = waiting.get(step.key) ?? [];
            queue.push(name);
            waiting.set(step.key, queue);
          }
          if (step.leave) leave(step.key);
        }
        for (const key of [...running.keys()]) while (running.has(key)) leave(key);
        assert.equal(order.busyCount, 0);
      },
    ),
  );
});

test("keys that nobody stands in are forgotten before they are many", () => {
  const order = new KeyOrder<Member>();
  const waiting = member(-1);
  order.enter("waiting", waiting);
  for (let name = 0; name < 100_000; name += 1) {
    const one = member(name);
    assert.equal(order.enter(`key-${name}`, one), undefined);
    assert.equal(order.leave(one), undefined);
    assert.ok(order.keyCount < 2_000);
  }
  const next = member(-2);
  assert.equal(order.enter("waiting", next), waiting);
  assert.equal(order.leave(waiting), next);
  assert.equal(order.busyCount, 1);
});

test("a ring gives back what went in, in order, through growth and removal", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -3, max: 100 }), { maxLength: 400 }), (steps) => {
      const ring = new Ring<number>();
      let model: number[] = [];
      for (const step of steps) {
        if (step === -1) assert.equal(ring.take(), model.shift());
        else if (step === -2) {
          ring.remove((item) => item % 2 === 0);
          model = model.filter((item) => item % 2 !== 0);
        } else
          for (let copy = 0; copy < 7; copy += 1) {
            ring.push(step + copy);
            model.push(step + copy);
          }
        assert.equal(ring.length, model.length);
        assert.equal(ring.first(), model[0]);
      }
      while (ring.length > 0) assert.equal(ring.take(), model.shift());
      assert.equal(ring.take(), undefined);
    }),
  );
});
