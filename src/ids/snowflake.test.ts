import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../contracts/errors.ts";
import { systemWorld, type World } from "../world/index.ts";
import { snowflake } from "./index.ts";

const epochMs = 1_704_067_200_000;

/** The system's world with a clock that a test sets. `sleep` moves it. */
function clockAt(now: number): { now: number; readonly world: World } {
  const held = {
    now,
    world: {
      ...systemWorld(),
      clock: { now: () => held.now, monotonic: () => held.now },
      timers: {
        schedule: () => () => {},
        async sleep(ms: number, options?: { readonly signal?: AbortSignal | undefined }) {
          options?.signal?.throwIfAborted();
          held.now += ms;
        },
      },
    },
  };
  return held;
}

function failure(action: () => unknown): TenonError {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof TenonError);
    return error;
  }
  assert.fail("Nothing was thrown.");
}

test("an id holds its timestamp, worker and sequence", () => {
  const clock = clockAt(epochMs + 5);
  const ids = snowflake({ worker: 1_023, world: clock.world });
  assert.equal(ids.next(), (5n << 22n) | (1_023n << 12n));
  assert.deepEqual(ids.parse(ids.next()), { timestampMs: epochMs + 5, worker: 1_023, sequence: 1 });
});

test("ids are distinct and grow whatever the clock does within its limits", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ stepMs: fc.integer({ min: -9, max: 40 }), count: fc.integer({ min: 1, max: 20_000 }) }), {
        maxLength: 8,
      }),
      (moves) => {
        const clock = clockAt(epochMs);
        const ids = snowflake({ worker: 7, aheadMsMax: 1_000, world: clock.world });
        let last = -1n;
        for (const { stepMs, count } of moves) {
          clock.now = Math.max(epochMs, clock.now + stepMs);
          for (let made = 0; made < count; made++) {
            const id = ids.next();
            assert.ok(id > last);
            last = id;
          }
        }
      },
    ),
    { numRuns: 30 },
  );
});

test("texts have 13 digits, sort as the numbers do, and can be taken apart", () => {
  const parts = fc.record({
    ms: fc.nat({ max: 2 ** 41 - 1 }),
    worker: fc.nat({ max: 1_023 }),
    skipped: fc.nat({ max: 20 }),
  });
  fc.assert(
    fc.property(parts, parts, (one, other) => {
      const [a, b] = [one, other].map(({ ms, worker, skipped }) => {
        const number = snowflake({ worker, world: clockAt(epochMs + ms).world });
        const text = snowflake({ worker, world: clockAt(epochMs + ms).world });
        for (let index = 0; index < skipped; index++)
          assert.deepEqual(number.parse(number.next()), text.parse(text.nextString()));
        return { number: number.next(), text: text.nextString() };
      });
      assert.equal(a!.text.length, 13);
      assert.equal(a!.number < b!.number, a!.text < b!.text);
    }),
    { numRuns: 200 },
  );
});

test("4,096 ids fit in a millisecond, and the next one borrows from the next millisecond", () => {
  const clock = clockAt(epochMs);
  const ids = snowflake({ worker: 0, world: clock.world });
  for (let made = 0; made < 4_096; made++) assert.equal(ids.parse(ids.next()).timestampMs, epochMs);
  assert.deepEqual(ids.parse(ids.next()), { timestampMs: epochMs + 1, worker: 0, sequence: 0 });
});

test("borrowing ends at its limit as overloaded, and goes on when time has passed", () => {
  const clock = clockAt(epochMs);
  const ids = snowflake({ worker: 0, aheadMsMax: 2, world: clock.world });
  for (let made = 0; made < 3 * 4_096; made++) ids.next();
  const error = failure(() => ids.next());
  assert.equal(error.code, "overloaded");
  assert.equal(error.fields.aheadMs, 2);
  clock.now++;
  assert.equal(ids.parse(ids.next()).timestampMs, epochMs + 3);
});

test("nextMany waits where next is overloaded, until its signal aborts", async () => {
  const clock = clockAt(epochMs);
  const ids = snowflake({ worker: 0, aheadMsMax: 0, world: clock.world });
  const many = await ids.nextMany(10_000);
  assert.equal(new Set(many).size, 10_000);
  assert.equal(clock.now, epochMs + 2);
  await assert.rejects(ids.nextMany(1, { signal: AbortSignal.abort(new Error("enough")) }), /enough/);
});

test("a clock that goes back 50 ms is borne, and one that goes back further is refused with how far", () => {
  const clock = clockAt(epochMs + 1_000);
  const ids = snowflake({ worker: 3, world: clock.world });
  const before = ids.next();
  clock.now -= 50;
  assert.equal(ids.next(), before + 1n);
  clock.now -= 1;
  const error = failure(() => ids.next());
  assert.equal(error.code, "unavailable");
  assert.equal(error.fields.backMs, 51);
  assert.match(error.message, /51 ms/);
  clock.now += 1;
  assert.equal(ids.next(), before + 2n);
});

test("a clock outside of the 41 bits is refused", () => {
  for (const now of [epochMs - 1, epochMs + 2 ** 41]) {
    assert.equal(failure(() => snowflake({ worker: 0, world: clockAt(now).world }).next()).code, "unavailable");
  }
});

test("wrong options and texts that are no ids are invalid", async () => {
  for (const worker of [-1, 1_024, 0.5, Number.NaN]) assert.equal(failure(() => snowflake({ worker })).code, "invalid");
  assert.equal(failure(() => snowflake({ worker: 0, epochMs: 0.5 })).code, "invalid");
  assert.equal(failure(() => snowflake({ worker: 0, aheadMsMax: -1 })).code, "invalid");
  const ids = snowflake({ worker: 0 });
  for (const id of ["", "000000000000", "000000000000U", "ZZZZZZZZZZZZZ", "00000000000000", -1n, 1n << 63n]) {
    assert.equal(failure(() => ids.parse(id)).code, "invalid");
  }
  await assert.rejects(ids.nextMany(-1), { code: "invalid" });
});
