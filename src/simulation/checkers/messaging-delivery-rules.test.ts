import assert from "node:assert/strict";
import { test } from "node:test";
import { deadLetter, deadLetterError, Story, startsAt, tells } from "./fixtures.test.ts";

const again = new Error("again");

test("a message waits for the earlier ones of its key, also while they are retried", () => {
  tells(
    (story) => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.throws(again, 1, 0n, [1, 1]);
      story.handles(2, 1n, [1, 2]);
    },
    (story) => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.throws(again, 1, 0n, [1, 1]);
      story.handles(1, 0n, [1, 2], { attempt: 2 });
      story.handles(2, 1n, [1, 3]);
    },
    /^group "g" was given message 2 \(key "k"\) at partition 0, position 1 at 7 ms, before message 1 .* was settled/,
  );
});

test("a message also waits for the earlier ones of its key when their member has died", () => {
  const after =
    (first: (story: Story) => void) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.begins(1, 0n, [1, 1]);
      first(story);
      story.handles(2, 1n, [2, 9], { member: "n" });
    };
  tells(
    after(() => {}),
    after((story) => story.handles(1, 0n, [2, 1], { member: "n" })),
    /before message 1 .* was settled/,
  );
});

test("other keys, and messages without one, wait for nobody", () => {
  for (const key of ["other", undefined]) {
    const story = new Story();
    story.stores(1, 0n, { key: "k" });
    story.stores(2, 1n, { key });
    story.begins(1, 0n, [1, 1]);
    story.handles(2, 1n, [1, 2], { key });
    assert.deepEqual(story.found(), []);
  }
});

test("a key goes on after a dead letter, and not before its message was given up", () => {
  const endingIn =
    (error: Error) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.throws(error, 1, 0n, [1, 1]);
      story.handles(2, 1n, [1, 2]);
    };
  tells(endingIn(again), endingIn(deadLetterError("no")), /before message 1 .* was settled/);
});

test("a message that became a dead letter does not come again behind a later one of its key", () => {
  const story =
    (grant: number) =>
    (told: Story): void => {
      told.stores(1, 0n);
      told.stores(2, 1n);
      told.throws(deadLetterError("no"), 1, 0n, [2, 1]);
      told.handles(2, 1n, [2, 2]);
      told.throws(deadLetterError("no"), 1, 0n, [grant, 1], { member: `m${grant}` });
      told.rests([deadLetter(1, 0n)]);
    };
  // The former owner of the lane that still runs has an older grant.
  tells(story(3), story(1), /was given message 2 .* before message 1/);
});

test("within one grant a key does not go back, but to what failed in a batch", () => {
  const redelivered =
    (batch: number | undefined) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.handles(1, 0n, [1, 1], { batch });
      story.handles(2, 1n, [1, 2], { batch });
      story.handles(1, 0n, [1, 3]);
    };
  tells(redelivered(undefined), redelivered(1), /at 9 ms under the same grant as the later message 2/);
});

test("two handlers of one key overlap only under different grants", () => {
  const under =
    (second: readonly [number, number]) =>
    (story: Story): void => {
      story.stores(1, 0n);
      const first = story.begins(1, 0n, [1, 1]);
      const other = story.begins(1, 0n, second, { member: `m${second[0] === 1 ? "" : 2}` });
      first.resolved();
      other.resolved();
    };
  tells(under([1, 2]), under([2, 1]), /at 4 ms under the same grant while the handler of message 1 .* ran since 3 ms/);
});

test("a key goes on without a handler that was given up, not earlier", () => {
  const after =
    (waitMs: number) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.begins(1, 0n, [1, 1]);
      story.nowMs += waitMs;
      story.handles(1, 0n, [1, 2], { attempt: waitMs < 1_000 ? 1 : 2 });
    };
  tells(after(500), after(1_000), /under the same grant while the handler of message 1/, { abandonedAfterMs: 1_000 });
});

test("messages of one batch are with their handler at one time; those of two are not", () => {
  const inBatches =
    (second: number) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.begins(1, 0n, [1, 1], { batch: 1 });
      story.begins(2, 1n, [1, 2], { batch: 1 });
      story.begins(1, 0n, [2, 1], { batch: 2 });
      story.begins(2, 1n, [2, 2], { batch: second });
    };
  tells(inBatches(3), inBatches(2), /while the handler of message 1/);
});

test("fences grow within a grant, and none is given twice", () => {
  const fences =
    (...[first, second]: readonly [readonly [number, number], readonly [number, number]]) =>
    (story: Story): void => {
      for (const [index, fence] of [first, second].entries()) {
        story.stores(index, BigInt(index), { key: `k${index}` });
        story.handles(index, BigInt(index), fence, { key: `k${index}` });
      }
    };
  tells(fences([1, 2], [1, 1]), fences([1, 1], [1, 2]), /under the fence 4294967297, after 4294967298/);
  tells(fences([1, 1], [1, 1]), fences([2, 1], [1, 1]), /under the fence 4294967297, which message 0 .* had/);
});

test("a grant belongs to one member", () => {
  const second =
    (grant: number) =>
    (story: Story): void => {
      story.stores(1, 0n, { key: "a" });
      story.stores(2, 1n, { key: "b" });
      story.handles(1, 0n, [1, 1], { key: "a", member: "m" });
      story.handles(2, 1n, [grant, 2], { key: "b", member: "n" });
    };
  tells(second(1), second(2), /in n, though the grant 1 was that of m/);
});

test("only failures count as attempts, not deliveries that a dead process left", () => {
  const attempt =
    (number: number) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.begins(1, 0n, [1, 1]);
      story.handles(1, 0n, [2, 1], { attempt: number });
    };
  tells(attempt(2), attempt(1), /as attempt 2, after 0 failures/);
});

test("a recorded failure is not forgotten, but by a seek", () => {
  const third =
    (seek: boolean) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.throws(again, 1, 0n, [1, 1]);
      story.throws(again, 1, 0n, [1, 2], { attempt: 2 });
      if (seek) story.seeks(0n);
      story.handles(1, 0n, [2, 1], { attempt: 1 });
    };
  tells(third(false), third(true), /as attempt 1, though at 5 ms it was attempt 2 already/);
  // Whoever owned the lane before the seek may go on without knowing it.
  const zombie = new Story();
  zombie.stores(1, 0n);
  zombie.throws(again, 1, 0n, [1, 1]);
  zombie.seeks(0n);
  zombie.handles(1, 0n, [1, 2], { attempt: 2 });
  zombie.handles(1, 0n, [2, 1], { attempt: 1, member: "n" });
  assert.deepEqual(zombie.found(), []);
});

test("a delayed message is not stored before it is due, whatever the engine says of its clock", () => {
  const dueAt = startsAt + 1_000;
  const delivered =
    (publishedAt: number, afterMs: number) =>
    (story: Story): void => {
      story.stores(1, undefined, { dueAt });
      story.nowMs += afterMs;
      story.handles(1, 0n, [1, 1], { publishedAt });
    };
  tells(delivered(dueAt - 1, 1_000), delivered(dueAt, 1_000), /stored at 1000999, though it is due at 1001000/);
  tells(delivered(dueAt, 900), delivered(dueAt, 1_000), /had not been beyond 1000903/);
});

test("a delayed message may come early by our clock when the engine's had jumped ahead, and back again", () => {
  const dueAt = startsAt + 1_000;
  const jumped =
    (aheadMs: number) =>
    (story: Story): void => {
      story.stores(1, undefined, { dueAt });
      story.engineAheadMs = aheadMs;
      story.history.look();
      story.engineAheadMs = 0;
      story.nowMs += 100;
      story.handles(1, 0n, [1, 1], { publishedAt: dueAt });
    };
  tells(jumped(500), jumped(2_000), /had not been beyond 1000502/);
});

test("while all is well a delayed message is at most the declared lateness late", () => {
  const dueAt = startsAt + 1_000;
  const late =
    (healthy: boolean) =>
    (story: Story): void => {
      story.history.healthy(healthy);
      story.stores(1, undefined, { dueAt });
      story.nowMs += 5_000;
      story.history.healthy(true);
      story.handles(1, 0n, [1, 1], { publishedAt: dueAt + 1_500 });
    };
  tells(late(true), late(false), /though it was due at 1001000 and all was well/);
  const inTime = new Story();
  inTime.history.healthy(true);
  inTime.stores(1, undefined, { dueAt });
  inTime.nowMs += 5_000;
  inTime.handles(1, 0n, [1, 1], { publishedAt: dueAt + 900 });
  assert.deepEqual(inTime.found(), []);
});

test("no handler is given what has expired by its own clock", () => {
  const at =
    (memberMs: number) =>
    (story: Story): void => {
      story.stores(1, 0n, { expiresAt: startsAt + 50 });
      story.handles(1, 0n, [1, 1], { memberMs });
    };
  tells(at(startsAt + 50), at(startsAt + 49), /when its member's clock said 1000050, though it expired at 1000050/);
});
