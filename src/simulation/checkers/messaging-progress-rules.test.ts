import assert from "node:assert/strict";
import { test } from "node:test";
import { deadLetter, deadLetterError, Story, startsAt, tells } from "./fixtures.test.ts";
import type { DeadLetterRecord } from "./messaging-records.ts";

const again = new Error("again");

test("what a lane has settled does not come again under a later grant; under an older one it may", () => {
  const again =
    (grant: number) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.handles(1, 0n, [2, 1], { member: "m" });
      story.settles(0n, 2);
      story.handles(1, 0n, [grant, 7], { member: "n" });
    };
  tells(again(3), again(1), /under the grant 3, though its settlement under the grant 2 was confirmed at 5 ms/);
});

test("what a lane has settled does not come again to its owner either", () => {
  tells(
    (story) => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
      story.settles(0n, 1);
      story.handles(1, 0n, [1, 2]);
    },
    (story) => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
      story.handles(1, 0n, [1, 2]);
      story.settles(0n, 1);
    },
    /under the grant 1, though its settlement/,
  );
});

test("after a seek that went back before it, what was settled comes again; after one that did not, it does not", () => {
  const after =
    (to: bigint) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
      story.settles(0n, 1);
      story.seeks(to);
      story.handles(1, 0n, [2, 1]);
    };
  tells(after(1n), after(0n), /though its settlement under the grant 1/);
});

test("a seek that nobody heard of may take effect later", () => {
  const after =
    (to: bigint) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.seeksUnheard(to);
      story.handles(1, 0n, [1, 1]);
      story.settles(0n, 1);
      story.handles(1, 0n, [2, 1]);
    };
  tells(after(1n), after(0n), /though its settlement under the grant 1/);
});

test("what was settled after a seek stays settled", () => {
  tells(
    (story) => {
      story.seeks(0n);
      story.stores(1, 0n);
      story.handles(1, 0n, [2, 1]);
      story.settles(0n, 2);
      story.handles(1, 0n, [3, 1]);
    },
    (story) => {
      story.seeks(0n);
      story.stores(1, 0n);
      story.handles(1, 0n, [2, 1]);
      story.handles(1, 0n, [3, 1]);
      story.settles(0n, 3);
    },
    /though its settlement/,
  );
});

test("the group's position goes back by a seek only", () => {
  const back =
    (seek: boolean) =>
    (story: Story): void => {
      story.describes(5n, 9n);
      if (seek) story.seeks(0n);
      story.describes(3n, 9n);
      story.describes(4n, 9n);
    };
  const story = new Story();
  back(false)(story);
  assert.match(story.found()[0]!, /^the position of group "g" in partition 0 was 5 at 1 ms and is back at 3 at 2 ms/);
  const sought = new Story();
  back(true)(sought);
  assert.deepEqual(sought.found(), []);
});

test("the end of a partition never goes back, not even by a seek", () => {
  const to =
    (next: bigint) =>
    (story: Story): void => {
      story.describes(0n, 9n);
      story.seeks(0n);
      story.describes(0n, next);
    };
  tells(to(8n), to(9n), /^the end of topic "t", partition 0, was 9 .* and is back at 8/);
});

test("answers of calls that overlap may contradict each other", () => {
  const story = new Story();
  const early = story.history.moment();
  story.describes(5n, 9n);
  story.nowMs += 1;
  story.history.described(early, {
    ...{ topic: "t", retentionMs: 0, countMax: undefined, whenFull: "refuse", delayedCount: 0 },
    partitions: [{ first: 0n, next: 8n }],
    groups: [{ group: "g", members: 1, lanes: [{ low: 3n, lag: 0, held: 0, oldestPublishedAt: undefined }] }],
  });
  assert.deepEqual(story.found(), []);
});

/** Message 1 is given up in the way that is told; at the end these are the dead letters. */
function givenUp(error: Error, deadLetters: readonly DeadLetterRecord[], attempt = 1): (story: Story) => void {
  return (story) => {
    story.stores(1, 0n);
    for (let number = 1; number < attempt; number += 1) {
      story.throws(again, 1, 0n, [1, number], { attempt: number });
    }
    story.throws(error, 1, 0n, [1, attempt], { attempt });
    story.rests(deadLetters);
  };
}

test("who gives a message up finds it among the dead letters", () => {
  const right = givenUp(deadLetterError("no"), [deadLetter(1, 0n)]);
  const story = new Story();
  givenUp(deadLetterError("no"), [])(story);
  assert.match(story.found().at(-1)!, /gave up message 1 .* \("no"\), and it is not among its dead letters/);
  tells(
    givenUp(deadLetterError("no"), [deadLetter(1, 0n), deadLetter(1, 0n)]),
    right,
    /2 times among its dead letters/,
  );
});

test("the last failure, and no earlier one, makes a dead letter", () => {
  const reason = "Error: again";
  const dead = (failures: number): DeadLetterRecord[] => [deadLetter(1, 0n, { reason, failures })];
  tells(givenUp(again, dead(2), 2), givenUp(again, dead(3), 3), /after 2 failures, though more attempts were allowed/, {
    attemptsMax: 2,
  });
});

test("a dead letter says how often and why its handler failed, and from where it comes", () => {
  const right = givenUp(deadLetterError("no"), [deadLetter(1, 0n)]);
  const wrong = (more: Partial<DeadLetterRecord>): ((story: Story) => void) =>
    givenUp(deadLetterError("no"), [deadLetter(1, 0n, more)]);
  tells(wrong({ failures: 2 }), right, /with 2 failures, which fits none of its deliveries \(attempt 1 dead letter\)/);
  tells(wrong({ reason: "yes" }), right, /with 1 failures, which fits none/);
  const elsewhere = new Story();
  wrong({ origin: { topic: "t", partition: 0, position: 5n } })(elsewhere);
  assert.match(elsewhere.found().join("\n"), /position 5 among its dead letters \("no"\), which was never delivered/);
});

test("what was handled well is no dead letter", () => {
  const story = new Story();
  story.stores(1, 0n);
  story.handles(1, 0n, [1, 1]);
  story.rests([deadLetter(1, 0n)]);
  assert.match(story.found()[0]!, /which fits none of its deliveries \(attempt 1 resolved\)/);
});

test("a message that was given up is not delivered again under a later grant, but under an older one it may", () => {
  const again =
    (grant: number) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.throws(deadLetterError("no"), 1, 0n, [2, 1]);
      story.handles(1, 0n, [grant, 1], { member: "n" });
      story.rests([deadLetter(1, 0n)]);
    };
  tells(again(3), again(1), /though it was delivered again at 5 ms under a later grant/);
});

test("where a dead letter is stored before its message is settled, each grant may make one, and a later one handle it", () => {
  const died =
    (grants: readonly number[], deadCount: number) =>
    (story: Story): void => {
      story.stores(1, 0n);
      for (const grant of grants) story.throws(deadLetterError("no"), 1, 0n, [grant, 1], { member: `m${grant}` });
      story.handles(1, 0n, [9, 1], { member: "n" });
      story.rests(Array.from({ length: deadCount }, () => deadLetter(1, 0n)));
    };
  tells(died([1, 2], 3), died([1, 2], 2), /3 times among its dead letters/, { atomic: false });
});

test("where a retry is stored elsewhere before its message is settled, it may come again when that is settled", () => {
  const settledBefore =
    (attempt: number) =>
    (story: Story): void => {
      const keyless = { key: undefined, attempt };
      story.stores(1, 0n, { key: undefined });
      story.throws(again, 1, 0n, [1, 1], { key: undefined });
      story.settles(0n, 2);
      story.handles(1, 0n, [3, 1], { ...keyless, member: "n" });
    };
  const wrong = (story: Story): void => settledBefore(2)(story);
  const strict = new Story();
  wrong(strict);
  assert.match(strict.found().join(), /though its settlement/);
  tells(settledBefore(1), settledBefore(2), /though its settlement/, { atomic: false });
});

test("only what has expired is a dead letter as expired", () => {
  const after =
    (waitMs: number) =>
    (story: Story): void => {
      story.stores(1, 0n, { expiresAt: startsAt + 500 });
      story.nowMs += waitMs;
      story.history.look();
      story.rests([deadLetter(1, 0n, { reason: "expired", failures: 0 })]);
    };
  tells(after(100), after(500), /\("expired"\), though no member's clock can have said so/);
});

test("a handler that was given up is a timeout, after the time that it was given", () => {
  const reason = 'timeout: The handler of message 0 of topic "t", partition 0, group "g" did not end';
  const after =
    (waitMs: number) =>
    (story: Story): void => {
      story.stores(1, 0n);
      const hanging = story.begins(1, 0n, [1, 1]);
      story.nowMs += waitMs;
      hanging.resolved();
      story.rests([deadLetter(1, 0n, { reason })]);
    };
  tells(after(500), after(1_000), /which fits none of its deliveries/, { attemptsMax: 0, abandonedAfterMs: 1_000 });
});
