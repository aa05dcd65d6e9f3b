import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { MessageEngine } from "../contracts/messages.ts";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import { DeadLetter, json, type MessageContext, type Topic, text, topic } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 1 };

async function isSettled<T>(notes: Topic<T>): Promise<boolean> {
  return (await notes.lag("g")).messages === 0;
}

test("a message that keeps failing is retried attemptsMax times and becomes a dead letter; then its key goes on", () =>
  onMemory(async ({ engine, until, world }) => {
    const notes = topic(engine, "notes", options);
    const receipt = await notes.publish("bad", { key: "k", id: "i", headers: { h: "v" } });
    await notes.publish("good", { key: "k" });
    const seen: [string, number][] = [];
    const consumer = await notes.consume(
      "g",
      (value, { attempt }) => {
        seen.push([value, attempt]);
        if (value === "bad") throw new RangeError("too much");
      },
      { retry: { attemptsMax: 3, delayMs: 10 } },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(seen, [
      ["bad", 1],
      ["bad", 2],
      ["bad", 3],
      ["bad", 4],
      ["good", 1],
    ]);
    const letters = notes.deadLetters("g");
    assert.equal(await letters.count(), 1);
    assert.equal((await notes.lag("g")).deadLetters, 1);
    const [letter] = await letters.peek();
    assert.ok(letter !== undefined);
    assert.equal(Buffer.from(letter.body).toString(), "bad");
    assert.equal(letter.value, "bad");
    assert.equal(letter.key, "k");
    assert.equal(letter.id, "i");
    assert.deepEqual(letter.headers, { h: "v" });
    assert.equal(letter.reason, "RangeError: too much");
    assert.equal(letter.failures, 4);
    assert.deepEqual(letter.origin, { topic: "notes", partition: receipt.partition, position: receipt.position });
    assert.ok(letter.deadAt <= world.clock.now() && letter.deadAt > world.clock.now() - 60_000);
    assert.equal(await letters.count(), 1);
  }));

test("a retry never comes before the instant that was recorded for it, nor much later, and that lies below the doubling bound", () =>
  onMemory(async ({ engine, faults, until, world }) => {
    const notes = topic(engine, "notes", options);
    await notes.publishMany(Array.from({ length: 40 }, (_, index) => ({ value: "a", key: `key-${index}` })));
    const dueAt = new Map<bigint, number>();
    faults.commit = (change, apply) => {
      for (const held of change.held ?? []) {
        const waitMs = held.dueAt - world.clock.now();
        assert.ok(waitMs <= 1_000 * 2 ** (held.failures - 1), `${waitMs} ms after ${held.failures} failures`);
        dueAt.set(held.position, held.dueAt);
      }
      return apply();
    };
    const lateMs: number[] = [];
    await using _consumer = await notes.consume("g", (_, { attempt, position }) => {
      if (attempt > 1) lateMs.push(world.clock.now() - dueAt.get(position)!);
      if (attempt < 6) throw new Error("again");
    });
    await until(() => isSettled(notes));
    assert.equal(lateMs.length, 200);
    assert.ok(Math.min(...lateMs) >= 0, String(lateMs));
    assert.ok(Math.max(...lateMs) <= 5, String(lateMs));
  }));

test("throwing DeadLetter ends the retries at once", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("bad");
    let count = 0;
    await using _consumer = await notes.consume("g", async () => {
      count += 1;
      throw new DeadLetter("no address", { cause: new Error("secret") });
    });
    await until(async () => (await notes.deadLetters("g").count()) === 1);
    const [letter] = await notes.deadLetters("g").peek(1);
    assert.equal(letter?.reason, "no address");
    assert.equal(letter?.failures, 1);
    assert.equal(count, 1);
  }));

test("a message that cannot be decoded is a dead letter, its handler is not called, and the reason quotes nothing of it", () =>
  onMemory(async ({ engine, until }) => {
    const raw = topic(engine, "notes", options);
    const typed = topic(engine, "notes", { ...options, codec: json<{ a: number }>() });
    await raw.publish("secret-payload", { key: "k" });
    await typed.publish({ a: 1 }, { key: "k" });
    const seen: unknown[] = [];
    await using _consumer = await typed.consume("g", (value) => void seen.push(value));
    await until(() => isSettled(typed));
    assert.deepEqual(seen, [{ a: 1 }]);
    const [letter] = await typed.deadLetters("g").peek(10);
    assert.equal(letter?.value, undefined);
    assert.equal(Buffer.from(letter!.body).toString(), "secret-payload");
    assert.equal(letter?.failures, 0);
    assert.match(letter!.reason, /^undecodable: A body of 14 bytes is not JSON/);
    assert.doesNotMatch(letter!.reason, /secret/);
  }));

test("redriving gives the dead letter to its group alone, at the end, with no failures counted", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, groups: ["g", "other"] });
    const seen: { group: string; value: string; context: MessageContext }[] = [];
    let healed = false;
    const handler = (value: string, context: MessageContext): void => {
      seen.push({ group: context.group, value, context });
      if (context.group === "g" && !healed) throw new DeadLetter("not yet");
    };
    await using _one = await notes.consume("g", handler);
    await using _other = await notes.consume("other", handler);
    // The id is within the engine's window for duplicates all the time.
    await notes.publish("a", { key: "k", id: "i", headers: { h: "v" } });
    const letters = notes.deadLetters("g");
    await until(async () => (await letters.count()) === 1);
    assert.equal(await letters.redrive(), 1);
    await until(async () => seen.length === 3 && (await letters.count()) === 1);
    healed = true;
    assert.equal(await letters.redrive({ limit: 5 }), 1);
    await until(async () => seen.length === 4 && (await isSettled(notes)) && (await notes.lag("other")).messages === 0);
    assert.equal(await letters.count(), 0);
    assert.equal(await letters.redrive(), 0);
    assert.deepEqual(await letters.peek(), []);
    assert.deepEqual(seen.map(({ group }) => group).sort(), ["g", "g", "g", "other"]);
    const last = seen.at(-1)!.context;
    assert.deepEqual([last.attempt, last.key, last.id, last.headers], [1, "k", "i", { h: "v" }]);
  }));

test("peek and redrive take at most their limit, the oldest first", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    const consumer = await notes.consume("g", () => {
      throw new DeadLetter("dead");
    });
    for (const value of ["a", "b", "c", "d", "e"]) await notes.publish(value, { key: "k" });
    const letters = notes.deadLetters("g");
    await until(async () => (await letters.count()) === 5);
    await consumer.close();
    assert.deepEqual(
      (await letters.peek(2)).map(({ value }) => value),
      ["a", "b"],
    );
    assert.equal(await letters.redrive({ limit: 3 }), 3);
    assert.deepEqual(
      (await letters.peek()).map(({ value }) => value),
      ["d", "e"],
    );
    assert.equal((await notes.lag("g")).messages, 3);
    await assert.rejects(letters.redrive({ limit: 0 }), { code: "invalid" });
    await assert.rejects(letters.peek(0), { code: "invalid" });
    const enough = AbortSignal.abort(new Error("enough"));
    await assert.rejects(letters.redrive({ signal: enough }), /enough/);
    await assert.rejects(letters.peek(1, { signal: enough }), /enough/);
  }));

test("a redrive that dies after publishing and before removing duplicates, and loses nothing", () =>
  onMemory(async ({ engine, faults, until }) => {
    const notes = topic(engine, "notes", options);
    const consumer = await notes.consume("g", () => {
      throw new DeadLetter("dead");
    });
    await notes.publish("a");
    const letters = notes.deadLetters("g");
    await until(async () => (await letters.count()) === 1);
    await consumer.close();
    faults.commit = () => Promise.reject(new TenonError("unavailable", "gone"));
    await assert.rejects(letters.redrive(), { code: "unavailable" });
    faults.commit = undefined;
    assert.equal(await letters.count(), 1);
    assert.equal(await letters.redrive(), 1);
    assert.equal((await notes.lag("g")).messages, 2);
  }));

test("a keyless message that waits longer than a minute waits in the retry topic, and stays the same message", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    const receipt = await notes.publish("a", { id: "i", headers: { h: "v" } });
    const contexts: MessageContext[] = [];
    const retry = { delayMs: 10_000_000, delayMsMax: 10_000_000 };
    const handler = (_: string, context: MessageContext): void => {
      contexts.push(context);
      if (context.attempt < 4) throw new Error("again");
    };
    const consumer = await notes.consume("g", handler, { retry });
    await until(async () => (await waiting(engine.messages)) === 1);
    assert.deepEqual((await notes.describe()).groups[0]?.lanes[0]?.lag, 0);
    const lag = await notes.lag("g");
    assert.deepEqual([lag.messages, lag.held], [1, 1]);
    await consumer.close();
    await using _next = await notes.consume("g", handler, { retry });
    await until(() => contexts.length === 4);
    await until(() => isSettled(notes));
    assert.deepEqual(
      contexts.map(({ attempt }) => attempt),
      [1, 2, 3, 4],
    );
    for (const context of contexts) {
      const { topic: name, partition, position, id, headers, publishedAt, key } = context;
      assert.deepEqual(
        { name, partition, position, id, headers, key },
        {
          ...{ name: "notes", partition: receipt.partition, position: receipt.position },
          ...{ id: "i", headers: { h: "v" }, key: undefined },
        },
      );
      assert.equal(publishedAt, contexts[0]!.publishedAt);
    }
  }));

test("a message with a key waits in its place however long, for its key must wait with it", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("a", { key: "k" });
    await notes.publish("b", { key: "k" });
    const seen: string[] = [];
    await using _consumer = await notes.consume(
      "g",
      (value, { attempt }) => {
        seen.push(value);
        if (value === "a" && attempt < 4) throw new Error("again");
      },
      { retry: { delayMs: 10_000_000, delayMsMax: 10_000_000 } },
    );
    await until(() => isSettled(notes));
    assert.deepEqual(seen, ["a", "a", "a", "a", "b"]);
    const [partition] = (await engine.messages.describe("notes..g..retry")).partitions;
    assert.equal(partition?.next, 0n);
  }));

async function waiting(messages: MessageEngine): Promise<number> {
  return (await messages.describe("notes..g..retry")).delayedCount;
}

test("a full engine keeps the dead letter waiting and everything else going", () =>
  onMemory(async ({ engine, faults, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("bad", { key: "k" });
    await notes.publish("behind", { key: "k" });
    for (let count = 0; count < 50; count += 1) await notes.publish("good", { key: `other-${count}` });
    let full = true;
    faults.commit = (change, apply) => {
      if (full && change.appends !== undefined) return Promise.reject(new TenonError("overloaded", "the disk is full"));
      return apply();
    };
    const seen: string[] = [];
    await using _consumer = await notes.consume("g", (value) => {
      if (value === "bad") throw new DeadLetter("dead");
      seen.push(value);
    });
    await until(async () => (await notes.lag("g")).messages === 2);
    assert.ok(!seen.includes("behind"), "its key waits until the dead letter is stored");
    full = false;
    await until(() => isSettled(notes));
    assert.equal(await notes.deadLetters("g").count(), 1);
    assert.equal(seen.at(-1), "behind");
  }));

test("a dead letter whose commit had an unknown outcome is stored once", () =>
  onMemory(async ({ engine, faults, until }) => {
    const notes = topic(engine, "notes", options);
    await notes.publish("bad");
    let commits = 0;
    faults.commit = async (_, apply) => {
      commits += 1;
      await apply();
      if (commits < 4) throw new TenonError("unavailable", "no reply", { outcome: "unknown" });
    };
    await using _consumer = await notes.consume("g", () => {
      throw new DeadLetter("dead");
    });
    await until(async () => commits >= 4 && (await isSettled(notes)));
    assert.equal(await notes.deadLetters("g").count(), 1);
  }));

test("deliveries of what a dead process may have had are recorded before they are made, and nothing else's", () =>
  onDisk([
    async ({ engine, until }) => {
      const notes = topic(engine, "notes", options);
      await notes.publish("a");
      let started = false;
      await notes.consume("g", () => {
        started = true;
        return new Promise(() => {});
      });
      await until(() => started);
    },
    async ({ engine, faults, until }) => {
      const notes = topic(engine, "notes", options);
      await notes.publish("b");
      const events: string[] = [];
      faults.commit = async (change, apply) => {
        await apply();
        for (const held of change.held ?? []) events.push(`recorded ${held.position} ${held.deliveries}`);
      };
      await using _consumer = await notes.consume("g", (value, { attempt }) => void events.push(`${value} ${attempt}`));
      await until(() => isSettled(notes));
      assert.deepEqual(events.sort(), ["a 1", "b 1", "recorded 0 1"].sort());
    },
  ]));

test("a message that kills its process is delivered alone in the end, and then is a dead letter; the others get through", () => {
  const deliveries: string[][] = [];
  const alone: boolean[] = [];
  const process = async ({ engine, until, sleep }: Bench): Promise<void> => {
    const notes = topic(engine, "notes", { ...options, partitions: 3 });
    const own: string[] = [];
    deliveries.push(own);
    if (deliveries.length === 1) {
      await notes.publishMany(["killer", "quick-0", "quick-1"].map((value) => ({ value, partition: 2 })));
    }
    // These are not suspected, and run when the one that goes alone comes.
    if (deliveries.length === 5) await notes.publishMany(["new-0", "new-1"].map((value) => ({ value, partition: 0 })));
    let running = 0;
    let died = false;
    await notes.consume("g", async (value) => {
      own.push(value);
      running += 1;
      if (value === "killer") {
        const first = running === 1;
        if (deliveries.length === 5) await notes.publish("late", { partition: 0 });
        await sleep(20);
        alone.push(first && running === 1);
        died = true;
        await new Promise(() => {});
      }
      await sleep(value.startsWith("quick") ? 1 : 60);
      running -= 1;
    });
    await until(async () => died || (await notes.deadLetters("g").count()) > 0);
    if (died) return;
    await until(() => isSettled(notes));
    const letters = await notes.deadLetters("g").peek();
    assert.deepEqual(
      letters.map(({ value }) => value),
      ["killer"],
    );
    assert.match(letters[0]!.reason, /died with its handler 4 times/);
  };
  return onDisk([process, process, process, process, process, process]).then(() => {
    // The first time it was not known to be dangerous; then three deliveries were recorded, and the fourth was made alone.
    assert.equal(alone.length, 5);
    assert.equal(alone[4], true, "alone when it began and when it died, though others were there");
    assert.ok(!deliveries[5]!.includes("killer"));
    assert.ok(deliveries[4]!.includes("new-0"), "others ran before the one that goes alone");
    assert.equal(new Set(deliveries.flat()).size, 6);
  });
});

test("a suspect that is only given back in order is not blamed for it", () =>
  onDisk([
    async ({ engine, until }) => {
      const notes = topic(engine, "notes", options);
      await notes.publish("a");
      let started = false;
      await notes.consume("g", () => {
        started = true;
        return new Promise(() => {});
      });
      await until(() => started);
    },
    async ({ engine, until }) => {
      const notes = topic(engine, "notes", options);
      for (let round = 0; round < 6; round += 1) {
        let started = false;
        const consumer = await notes.consume(
          "g",
          () => {
            started = true;
            return new Promise(() => {});
          },
          { drainTimeoutMs: 20 },
        );
        await until(() => started);
        await consumer.close();
      }
      assert.equal(await notes.deadLetters("g").count(), 0);
      const membership = await engine.messages.join("notes", "g", {
        sessionMs: 10_000,
        revokeMs: 10_000,
        windowMax: 100,
      });
      const lane = await membership.nextLane();
      for (const { deliveries } of lane.held) assert.equal(deliveries, 0);
      await membership.leave();
    },
  ]));

test("an error whose message cannot be read becomes a dead letter as any other", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", { codec: text(), partitions: 1, groups: ["readers"] });
    await notes.publish("x");
    const hostile = Object.defineProperty(new Error(), "message", {
      get() {
        throw new Error("not even this");
      },
    });
    const consumer = await notes.consume("readers", () => Promise.reject(hostile), { retry: { attemptsMax: 0 } });
    while ((await notes.deadLetters("readers").count()) === 0) await engine.world.timers.sleep(10);
    const [letter] = await notes.deadLetters("readers").peek(1);
    assert.equal(letter!.reason, "the handler threw an error that cannot be described");
    await consumer.close();
  }));

test("a lane has no more in hand than it could hold, and what is beyond comes when there is room", () =>
  onMemory(async ({ engine, faults, until }) => {
    const heldMax = 3;
    const messages: MessageEngine = { ...engine.messages, capabilities: { ...engine.messages.capabilities, heldMax } };
    const notes = topic({ ...engine, messages }, "notes", options);
    await notes.publishMany(Array.from({ length: 20 }, (_, index) => ({ value: `${index}`, key: `key-${index}` })));
    const held = new Set<bigint>();
    faults.commit = (change, apply) => {
      for (const position of change.settled) held.delete(position);
      for (const { position } of change.held ?? []) held.add(position);
      assert.ok(held.size <= heldMax, `${held.size} entries are held`);
      return apply();
    };
    const failed = new Set<string>();
    const consumer = await notes.consume(
      "g",
      (value) => {
        if (failed.has(value)) return;
        failed.add(value);
        throw new Error("the first time");
      },
      { retry: { delayMs: 1_000 } },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(failed.size, 20);
    assert.equal(await notes.deadLetters("g").count(), 0);
  }));

test("a limit that the engine does not have is refused when the topic is made", () =>
  onMemory(async ({ engine }) => {
    const made = (countLimits: "none" | "refuse", more: { countMax: number; whenFull?: "evict" }) => () =>
      topic(
        { ...engine, messages: { ...engine.messages, capabilities: { ...engine.messages.capabilities, countLimits } } },
        "notes",
        { ...options, ...more },
      );
    assert.throws(made("none", { countMax: 5 }), { code: "unsupported" });
    assert.throws(made("refuse", { countMax: 5, whenFull: "evict" }), { code: "unsupported" });
    await made("refuse", { countMax: 5 })().close();
  }));
