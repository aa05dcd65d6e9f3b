import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decideLog } from "./log.ts";
import { PermitState } from "./permit-state.ts";

test("a log allows exactly what remembering every unit allows, and says when the next succeeds", () => {
  const asks = fc.array(fc.tuple(fc.nat(40), fc.integer({ min: 1, max: 3 })), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 6 }), fc.boolean(), asks, (limit, countRefusals, steps) => {
      const rule = { type: "slidingLog", limit, windowMs: 100, countRefusals } as const;
      const taken: { readonly at: number; readonly units: number }[] = [];
      const counted = (now: number) => taken.reduce((sum, { at, units }) => (now - at < 100 ? sum + units : sum), 0);
      let state: readonly number[] | undefined;
      let now = 1_000;
      for (const [ms, count] of steps) {
        now += ms;
        const fits = counted(now) + count <= limit;
        const { decision, next } = decideLog(rule, state, now, count);
        assert.equal(decision.allowed, fits);
        if (!fits) {
          const after = decideLog(rule, next?.numbers ?? state, now + decision.retryAfterMs, count);
          assert.ok(after.decision.allowed, "it succeeds when it was said to");
        }
        if (fits || countRefusals) taken.push({ at: now, units: count });
        state = next?.numbers ?? state;
      }
    }),
  );
});

test("permits end by themselves, are given back, and are asked for again without taking a second one", () => {
  const rule = { type: "concurrency", limit: 2, holdMs: 100 } as const;
  let state = new PermitState();
  const enter = (permit: string, now: number) => {
    state = PermitState.decode(state.encode());
    return state.enter(rule, permit, now);
  };
  assert.equal(enter("a", 0).remaining, 1);
  assert.equal(enter("a", 10).remaining, 1);
  assert.ok(enter("b", 20).allowed);
  assert.deepEqual(enter("c", 30), { allowed: false, retryAfterMs: 80, remaining: 0, delayMs: 0 });
  assert.ok(enter("c", 110).allowed);
  state.leave("b");
  assert.ok(enter("d", 110).allowed);
});
