import assert from "node:assert/strict";
import { test } from "node:test";
import { Violation } from "../system.ts";
import { Story, startsAt, tells } from "./fixtures.test.ts";
import { checkMessaging } from "./messaging-checker.ts";

test("a Violation is thrown for the first breach, and nothing for a history without one", () => {
  const story = new Story();
  story.handles(7, 0n, [1, 1]);
  assert.throws(() => checkMessaging(story.history, { topic: "t", groups: ["g"] }), Violation);
  checkMessaging(story.history, { topic: "another", groups: ["g"] });
  checkMessaging(new Story().history, { topic: "t", groups: ["g"] });
});

test("an acknowledged message that nobody was given is lost, once all is at rest", () => {
  tells(
    (story) => {
      story.stores(1, 0n);
      story.rests();
    },
    (story) => story.stores(1, 0n),
    /^message 1 \(key "k"\) at partition 0, position 0 is lost to group "g": it was acknowledged at 2 ms, and was never delivered/,
  );
});

test("a message whose only handler did not end well is lost; one that ended well under a lane that was lost is not", () => {
  tells(
    (story) => {
      story.stores(1, 0n);
      story.begins(1, 0n, [1, 1]);
      story.rests();
    },
    (story) => {
      story.stores(1, 0n);
      story.begins(1, 0n, [1, 1]);
      story.handles(1, 0n, [2, 1]);
      story.rests();
    },
    /its last delivery there, at 3 ms, never ended/,
  );
});

test("an acknowledged delayed message that nobody has seen is lost", () => {
  const dueAt = startsAt + 2;
  tells(
    (story) => {
      story.stores(1, undefined, { dueAt });
      story.rests();
    },
    (story) => {
      story.stores(1, undefined, { dueAt });
      story.handles(1, 0n, [1, 1], { publishedAt: dueAt });
      story.rests();
    },
    /^message 1 \(key "k"\) is lost to group "g": it was acknowledged at 2 ms, and nobody has seen it/,
  );
});

test("what expired may be missing where expired messages are dropped, and not before it expired", () => {
  const story =
    (expiresAt: number) =>
    (told: Story): void => {
      told.stores(1, 0n, { expiresAt });
      told.nowMs += 100;
      told.history.look();
      told.rests();
    };
  tells(story(startsAt + 200), story(startsAt + 50), /is lost to group "g"/, { whenExpired: "drop" });
});

test("lag at rest is told", () => {
  tells(
    (story) => story.rests([], 3),
    (story) => story.rests([], 0),
    /^group "g" has not settled 3 messages/,
  );
});

test("what a seek left out is not lost, and what it went back before must come again", () => {
  tells(
    (story) => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.seeks(1n);
      story.rests();
    },
    (story) => {
      story.stores(1, 0n);
      story.stores(2, 1n);
      story.seeks(1n);
      story.handles(2, 1n, [2, 1]);
      story.rests();
    },
    /^message 2/,
  );
  tells(
    (story) => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
      story.seeks(0n);
      story.rests();
    },
    (story) => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
      story.seeks(0n);
      story.handles(1, 0n, [2, 1]);
      story.rests();
    },
    /^message 1 .* is lost/,
  );
});

test("what every group had settled need not come again after a seek when something had been removed by then", () => {
  const story =
    (firstBefore: bigint, firstAfter: bigint) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
      story.describes(1n, 2n, firstBefore);
      story.seeks(0n);
      story.describes(0n, 2n, firstAfter);
      story.describes(0n, 2n, 1n);
      story.rests();
    };
  tells(story(0n, 0n), story(0n, 1n), /^message 1 .* is lost/);
  tells(story(0n, 0n), story(1n, 1n), /^message 1 .* is lost/);
});

test("what a group has yet to settle may not be removed, whatever else was", () => {
  const story =
    (handledByOther: boolean) =>
    (story: Story): void => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
      if (handledByOther) story.handles(1, 0n, [1, 1], { group: "h" });
      story.describes(1n, 2n, 1n);
      story.seeks(0n);
      story.rests();
    };
  tells(story(false), story(true), /^message 1 .* is lost to group "g"/, { groups: ["g", "h"] });
});

test("seeking to now leaves out what had been published, and nothing that is published later", () => {
  tells(
    (story) => {
      story.seeks("now");
      story.stores(1, 0n);
      story.rests();
    },
    (story) => {
      story.stores(1, 0n);
      story.seeks("now");
      story.rests();
    },
    /is lost to group "g"/,
  );
});

test("nothing comes that was not published, or before it was", () => {
  tells(
    (story) => story.handles(1, 0n, [1, 1]),
    (story) => {
      story.stores(1, 0n);
      story.handles(1, 0n, [1, 1]);
    },
    /^group "g" was given message 1 \(key "k"\) at 1 ms, which nobody had published/,
  );
  tells(
    (story) => {
      story.handles(1, 0n, [1, 1]);
      story.stores(1, 0n);
    },
    (story) => {
      const call = story.calls(1);
      story.handles(1, 0n, [1, 1]);
      call.acknowledged({ partition: 0, position: 0n });
    },
    /which nobody had published/,
  );
});

test("what was refused does not come; what is unknown may", () => {
  const told =
    (outcome: "not-applied" | "unknown") =>
    (story: Story): void => {
      story.fails(1, outcome);
      story.handles(1, 0n, [1, 1]);
    };
  tells(told("not-applied"), told("unknown"), /of which p was told at 2 ms that it was not applied/);
});

test("a message comes with its own key, and in its own partition", () => {
  const under =
    (key: string) =>
    (story: Story): void => {
      story.stores(1, 0n, { key: "k" });
      story.handles(1, 0n, [1, 1], { key });
    };
  tells(under("other"), under("k"), /which was published with the key "k"/);
  const inPartition =
    (partition: number) =>
    (story: Story): void => {
      story.fails(1, "unknown", { partition: 2 });
      story.handles(1, 0n, [1, 1], { partition });
    };
  tells(inPartition(1), inPartition(2), /in partition 1, which was published to partition 2/);
});

test("one place holds one message", () => {
  tells(
    (story) => {
      story.stores(1, 0n, { key: "a" });
      story.stores(2, 0n, { key: "b", publisher: "q", partition: 0, dueAt: startsAt });
    },
    (story) => {
      story.stores(1, 0n, { key: "a" });
      story.stores(2, 1n, { key: "b", publisher: "q", partition: 0, dueAt: startsAt });
    },
    /^partition 0, position 0 holds two messages: 1 and 2/,
  );
});

test("an acknowledged call is one stored message; a second one needs a call that may have been applied", () => {
  const after =
    (outcome: "not-applied" | "unknown") =>
    (story: Story): void => {
      story.fails(1, outcome);
      story.stores(1, 1n);
      story.handles(1, 0n, [1, 1]);
      story.handles(1, 1n, [1, 2]);
    };
  tells(after("not-applied"), after("unknown"), /is stored 2 times, at 0\/1, 0\/0, though 1 calls/);
});

test("with an id a message is stored once, until the engine may have forgotten the id", () => {
  const after =
    (waitMs: number) =>
    (story: Story): void => {
      story.fails(1, "unknown", { id: "i" });
      story.nowMs += waitMs;
      story.stores(1, 1n, { id: "i" });
      story.handles(1, 0n, [1, 1]);
      story.handles(1, 1n, [1, 2]);
    };
  tells(after(1_000), after(120_000), /though all calls had the id "i"/);
  // A clock that jumps ahead, and back, forgets as well.
  const jumped = new Story();
  jumped.fails(1, "unknown", { id: "i" });
  jumped.engineAheadMs = 200_000;
  jumped.history.look();
  jumped.engineAheadMs = 0;
  jumped.nowMs += 1;
  jumped.stores(1, 1n, { id: "i" });
  jumped.handles(1, 0n, [1, 1]);
  jumped.handles(1, 1n, [1, 2]);
  assert.deepEqual(jumped.found(), []);
});

test("messages of one publisher stand in the order of its calls, also those of which it was told nothing certain", () => {
  const at =
    (first: bigint, second: bigint) =>
    (story: Story): void => {
      story.fails(1, "unknown");
      story.stores(2, second, { key: "other" });
      story.handles(1, first, [1, 1]);
    };
  tells(at(5n, 4n), at(4n, 5n), /^message 1 .* position 5 stands behind message 2 .* position 4/);
});

test("messages of two publishers stand in the order of their calls when the one had ended before the other began", () => {
  tells(
    (story) => {
      story.stores(1, 5n, { publisher: "p" });
      story.stores(2, 4n, { publisher: "q" });
    },
    (story) => {
      const call = story.calls(1, { publisher: "p" });
      story.stores(2, 4n, { publisher: "q" });
      call.acknowledged({ partition: 0, position: 5n });
    },
    /^message 1 .* stands behind message 2/,
  );
});
