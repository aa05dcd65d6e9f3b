import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { LaneCommit } from "../contracts/messages.ts";
import { type Bench, onDisk, onMemory } from "./fixtures.test.ts";
import { type Consumer, type MessageContext, type Topic, text, topic } from "./index.ts";

const options = { codec: text(), groups: ["g"], partitions: 4 };

function range(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

async function isSettled(notes: Topic<string>, group = "g"): Promise<boolean> {
  return (await notes.lag(group)).messages === 0;
}

test("every group gets every message once", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, groups: ["one", "two"] });
    await Promise.all(range(500).map((value) => notes.publish(value, { key: value })));
    for (const group of ["one", "two"]) {
      const seen: string[] = [];
      const consumer = await notes.consume(group, (value) => void seen.push(value));
      await until(() => isSettled(notes, group));
      await consumer.close();
      assert.deepEqual([...seen].sort(), range(500).sort());
    }
  }));

test("a handler learns everything about its message", () =>
  onMemory(async ({ engine, until, world }) => {
    const notes = topic(engine, "notes", options);
    const at = world.clock.now();
    const receipt = await notes.publish("a", { key: "k", id: "i", headers: { h: "v" } });
    await notes.publish("b");
    const contexts: MessageContext[] = [];
    const consumer = await notes.consume("g", (_, context) => void contexts.push(context));
    await until(() => contexts.length === 2);
    await consumer.close();
    const first = contexts.find((context) => context.id === "i")!;
    assert.equal(first.key, "k");
    assert.deepEqual(first.headers, { h: "v" });
    assert.equal(first.topic, "notes");
    assert.equal(first.group, "g");
    assert.equal(first.partition, receipt.partition);
    assert.equal(first.position, receipt.position);
    assert.equal(first.publishedAt, at);
    assert.equal(first.attempt, 1);
    assert.equal(first.signal.aborted, false);
    const second = contexts.find((context) => context.id !== "i")!;
    assert.equal(second.key, undefined);
    assert.deepEqual(second.headers, {});
  }));

test("equal keys go in order and one at a time, also across retries, while at most `concurrency` handlers run", () =>
  onMemory(async ({ engine, until, world, sleep }) => {
    const notes = topic(engine, "notes", options);
    const keys = range(20);
    for (const value of range(30)) await Promise.all(keys.map((key) => notes.publish(`${key}:${value}`, { key })));
    const handled = new Map<string, string[]>(keys.map((key) => [key, []]));
    const running = new Set<string>();
    let peak = 0;
    const consumer = await notes.consume(
      "g",
      async (value, { key }) => {
        assert.ok(!running.has(key!), "two of one key at the same time");
        running.add(key!);
        peak = Math.max(peak, running.size);
        await sleep(world.random.float() * 20);
        running.delete(key!);
        if (world.random.float() < 0.2) throw new Error("by chance");
        handled.get(key!)!.push(value);
      },
      { concurrency: 7, retry: { delayMs: 50 } },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    for (const key of keys)
      assert.deepEqual(
        handled.get(key),
        range(30).map((value) => `${key}:${value}`),
      );
    assert.equal(peak, 7);
  }));

test("messages without a key, and synchronous handlers, run side by side with everything else", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publishMany(range(100).map((value) => ({ value })));
    let running = 0;
    let peak = 0;
    const consumer = await notes.consume("g", (value) => {
      if (Number(value) % 2 === 0) return;
      running += 1;
      peak = Math.max(peak, running);
      return sleep(5).then(() => {
        running -= 1;
      });
    });
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(peak, 50);
  }));

test("a failing message holds back its key and nothing else, far beyond the prefetch", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publish("bad", { key: "k" });
    await notes.publishMany(range(300).map((value) => ({ value, key: "k" })));
    await notes.publishMany(range(300).map((value) => ({ value, key: `other-${value}` })));
    let others = 0;
    const behind: string[] = [];
    let healed = false;
    const consumer = await notes.consume(
      "g",
      (value, { key }) => {
        if (value === "bad" && !healed) throw new Error("not yet");
        if (key === "k") behind.push(value);
        else others += 1;
      },
      { prefetch: 50, retry: { delayMs: 50_000 } },
    );
    // Long before the first retry: what waits behind the failing message takes no room from the others.
    await sleep(500);
    assert.equal(others, 300);
    assert.deepEqual(behind, []);
    healed = true;
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(behind, ["bad", ...range(300)]);
  }));

test("the prefetch bounds what is fetched and not yet durably settled", () =>
  onMemory(async ({ engine, faults, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publishMany(range(200).map((value) => ({ value })));
    const gate = Promise.withResolvers<void>();
    faults.commit = (_, apply) => gate.promise.then(apply);
    let seen = 0;
    const consumer = await notes.consume(
      "g",
      () => {
        seen += 1;
      },
      { prefetch: 30 },
    );
    await sleep(1_000);
    assert.equal(seen, 30);
    gate.resolve();
    await until(() => isSettled(notes));
    assert.equal(seen, 200);
    await consumer.close();
  }));

test("a failed attempt is recorded: the next owner counts on and waits as long", () =>
  onDisk([
    async ({ engine, faults, until }) => {
      const notes = topic(engine, "notes", options);
      await notes.publish("a", { key: "k" });
      await notes.publish("b", { key: "k" });
      let failures = 0;
      let recorded = false;
      faults.commit = async (change, apply) => {
        await apply();
        recorded = change.held?.length === 1;
      };
      await notes.consume(
        "g",
        () => {
          failures += 1;
          throw new Error("not here");
        },
        { retry: { delayMs: 40_000 } },
      );
      await until(() => failures === 1 && recorded);
    },
    async ({ engine, until, world }) => {
      const notes = topic(engine, "notes", options);
      const seen: [string, number][] = [];
      const dueAt = await heldUntil(engine.messages, "notes");
      const consumer = await notes.consume("g", (value, { attempt }) => {
        seen.push([value, attempt]);
        if (seen.length === 1) assert.ok(world.clock.now() >= dueAt);
      });
      await until(() => seen.length === 2);
      await consumer.close();
      assert.deepEqual(seen, [
        ["a", 2],
        ["b", 1],
      ]);
    },
  ]));

/** When the held message of the group is due, as its lane says. */
async function heldUntil(messages: Bench["engine"]["messages"], name: string): Promise<number> {
  const membership = await messages.join(name, "g", { sessionMs: 10_000, revokeMs: 10_000, windowMax: 100 });
  let dueAt = 0;
  for (let lanes = 0; lanes < options.partitions; lanes += 1) {
    const lane = await membership.nextLane();
    for (const held of lane.held) dueAt = held.dueAt;
  }
  await membership.leave();
  assert.ok(dueAt > 0);
  return dueAt;
}

test("a handler past its timeout has its signal aborted, its key waits, and its late success counts", () =>
  onMemory(async ({ engine, until, world, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publish("slow", { key: "k" });
    await notes.publish("next", { key: "k" });
    const started = world.clock.monotonic();
    const events: [string, number][] = [];
    const consumer = await notes.consume(
      "g",
      async (value, { signal, attempt }) => {
        events.push([`${value} ${attempt}`, world.clock.monotonic() - started]);
        if (value !== "slow") return;
        signal.addEventListener("abort", () => {
          assert.equal((signal.reason as TenonError).code, "timeout");
          events.push(["aborted", world.clock.monotonic() - started]);
        });
        await sleep(500);
      },
      { handlerTimeoutMs: 200, abandonAfterMs: 1_000 },
    );
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(
      events.map(([event]) => event),
      ["slow 1", "aborted", "next 1"],
    );
    assert.ok(events[1]![1] >= 200 && events[1]![1] < 210, String(events));
    assert.ok(events[2]![1] >= 500, String(events));
  }));

test("every handler has its own time, however many run", () =>
  onMemory(async ({ engine, until, world, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    const took: number[] = [];
    let ended = 0;
    await using _consumer = await notes.consume(
      "g",
      async (value, { signal }) => {
        const started = world.clock.monotonic();
        signal.addEventListener("abort", () => took.push(world.clock.monotonic() - started));
        await sleep(Number(value) % 3 === 0 ? 400 : 100);
        ended += 1;
      },
      { handlerTimeoutMs: 200 },
    );
    for (const value of range(30)) {
      await notes.publish(value);
      await sleep(17);
    }
    await until(() => ended === 30);
    assert.equal(took.length, 10);
    for (const ms of took) assert.ok(ms >= 200 && ms < 202, String(took));
  }));

test("a handler that is given up counts as a failure; what it answers later changes nothing, and its fence is the smaller one", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publish("a", { key: "k" });
    const hung = Promise.withResolvers<void>();
    const fences: bigint[] = [];
    const attempts: number[] = [];
    const gate = Promise.withResolvers<void>();
    const consumer = await notes.consume(
      "g",
      (_, { attempt, fence }) => {
        attempts.push(attempt);
        fences.push(fence);
        return attempt === 1 ? hung.promise : gate.promise;
      },
      { handlerTimeoutMs: 100, abandonAfterMs: 100, retry: { delayMs: 10 } },
    );
    await until(() => attempts.length === 2);
    hung.resolve();
    await until(() => true);
    assert.equal(await isSettled(notes), false);
    gate.resolve();
    await until(() => isSettled(notes));
    await consumer.close();
    assert.deepEqual(attempts, [1, 2]);
    assert.ok(fences[1]! > fences[0]!);
  }));

test("fences grow over grants and restarts and fit a signed 64-bit integer", () => {
  const fences: bigint[] = [];
  const process = async ({ engine, until }: Bench): Promise<void> => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publish("a");
    const before = fences.length;
    const consumer = await notes.consume("g", (_, { fence }) => void fences.push(fence));
    await until(async () => fences.length > before && (await isSettled(notes)));
    await consumer.close();
  };
  return onDisk([process, process, process]).then(() => {
    assert.equal(fences.length, 3);
    for (let index = 1; index < 3; index += 1) assert.ok(fences[index]! > fences[index - 1]!);
    assert.ok(fences[2]! < 2n ** 63n);
  });
});

test("members share the partitions, and each key keeps its order while they come and go", () =>
  onMemory(async ({ engine, until, world, sleep }) => {
    const notes = topic(engine, "notes", options);
    const seen = new Map<string, number[]>();
    const handler = async (value: string, { key }: MessageContext): Promise<void> => {
      await sleep(world.random.float() * 5);
      const values = seen.get(key!) ?? [];
      values.push(Number(value));
      seen.set(key!, values);
    };
    const members: Consumer[] = [await notes.consume("g", handler)];
    const publishing = (async () => {
      for (const value of range(200)) {
        await Promise.all(range(10).map((key) => notes.publish(value, { key })));
        await sleep(2);
      }
    })();
    await sleep(50);
    members.push(await notes.consume("g", handler));
    await until(() => members[1]!.partitions.length === 2 && members[0]!.partitions.length === 2);
    members.push(await notes.consume("g", handler));
    await sleep(50);
    await members[0]!.close();
    await sleep(50);
    await members[1]!.close();
    await until(() => members[2]!.partitions.length === 4);
    await publishing;
    await until(() => isSettled(notes));
    await members[2]!.close();
    // Every lane was given back in order, so nothing was handled twice either.
    for (const key of range(10)) assert.deepEqual(seen.get(key), range(200).map(Number), `key ${key}`);
  }));

test("when a lane is lost its handlers' signals abort, their outcomes do not count, and the next grant delivers again", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publish("a", { key: "k" });
    const reasons: string[] = [];
    const first = Promise.withResolvers<void>();
    const fences: bigint[] = [];
    const consumer = await notes.consume("g", (_, { signal, fence }) => {
      fences.push(fence);
      if (fences.length > 1) return;
      signal.addEventListener("abort", () => reasons.push((signal.reason as TenonError).code));
      return first.promise;
    });
    await until(() => fences.length === 1);
    await notes.seek("g", "earliest");
    await until(() => fences.length === 2);
    assert.deepEqual(reasons, ["lost"]);
    assert.ok(fences[1]! > fences[0]!);
    first.resolve();
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(fences.length, 2);
  }));

test("an engine that fails for a while is asked again, and a commit is repeated unchanged", () =>
  onMemory(async ({ engine, faults, until, log }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publishMany(range(20).map((value) => ({ value })));
    let fetches = 0;
    faults.fetch = (_, apply) => {
      fetches += 1;
      return fetches < 3 ? Promise.reject(new TenonError("unavailable", "gone")) : apply();
    };
    const commits: LaneCommit[] = [];
    faults.commit = async (change, apply) => {
      commits.push(change);
      await apply();
      if (commits.length < 3) throw new TenonError("unavailable", "no reply", { outcome: "unknown" });
    };
    const seen: string[] = [];
    const consumer = await notes.consume("g", (value) => void seen.push(value));
    await until(() => isSettled(notes));
    await consumer.close();
    assert.equal(commits[0], commits[1]);
    assert.equal(commits[1], commits[2]);
    assert.deepEqual(seen, range(20));
    assert.ok(log.some((line) => line.startsWith("warn: fetching failed")));
    assert.ok(log.some((line) => line.startsWith("warn: committing progress failed")));
  }));

test("closing lets running handlers end, commits what they settled, and delivers nothing more", () =>
  onMemory(async ({ engine, until, sleep }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publishMany(range(10).map((value) => ({ value })));
    const ended: string[] = [];
    let started = 0;
    const handler = async (value: string): Promise<void> => {
      started += 1;
      await sleep(100);
      ended.push(value);
    };
    const consumer = await notes.consume("g", handler, { concurrency: 4 });
    await until(() => started === 4);
    await consumer.close();
    await consumer.close();
    await consumer.closed;
    assert.equal(ended.length, 4);
    assert.equal(started, 4);
    assert.equal((await notes.lag("g")).messages, 6);
    await using _rest = await notes.consume("g", handler);
    await until(() => isSettled(notes));
    assert.deepEqual([...ended].sort(), range(10));
  }));

test("closing waits no longer than drainTimeoutMs; what still runs is released to the next member at once", () =>
  onMemory(async ({ engine, until, world }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    await notes.publish("hangs", { key: "k" });
    let signal: AbortSignal | undefined;
    const hung = Promise.withResolvers<void>();
    const consumer = await notes.consume(
      "g",
      (_, context) => {
        signal = context.signal;
        return hung.promise;
      },
      { drainTimeoutMs: 200 },
    );
    await until(() => signal !== undefined);
    const started = world.clock.monotonic();
    await consumer.close();
    const took = world.clock.monotonic() - started;
    assert.ok(took >= 200 && took < 300, String(took));
    assert.equal(signal?.aborted, true);
    hung.resolve();
    const attempts: number[] = [];
    await using _next = await notes.consume("g", (_, { attempt }) => void attempts.push(attempt));
    await until(() => isSettled(notes));
    assert.deepEqual(attempts, [1]);
  }));

test("a consumer whose engine closes says so", () =>
  onMemory(async ({ until, world }) => {
    const { memory } = await import("../engines/embedded/index.ts");
    const engine = await memory({ world });
    const notes = topic(engine, "notes", options);
    await notes.publish("a");
    let signal: AbortSignal | undefined;
    const consumer = await notes.consume("g", (_, context) => {
      signal = context.signal;
      return new Promise(() => {});
    });
    await until(() => signal !== undefined);
    await engine.close();
    await assert.rejects(consumer.closed, { code: "closed" });
    assert.equal(signal?.aborted, true);
    await consumer.close();
    await assert.rejects(notes.publish("b"), { code: "closed" });
    await assert.rejects(notes.describe(), { code: "closed" });
    await notes.close();
  }));

test("options that make no sense are refused before anything is joined", () =>
  onMemory(async ({ engine }) => {
    const notes = topic(engine, "notes", options);
    const invalid = { code: "invalid" };
    const handler = (): void => {};
    for (const wrong of [
      { concurrency: 0 },
      { prefetch: 1.5 },
      { prefetchBytes: 0 },
      { handlerTimeoutMs: 0 },
      { abandonAfterMs: Number.POSITIVE_INFINITY },
      { drainTimeoutMs: -1 },
      { windowMax: 0 },
      { sessionMs: Number.NaN },
      { retry: { attemptsMax: -1 } },
    ]) {
      await assert.rejects(notes.consume("g", handler, wrong), invalid, JSON.stringify(wrong));
    }
    await assert.rejects(notes.consume("..", handler), invalid);
    await assert.rejects(notes.consume("g", undefined as never), invalid);
    await assert.rejects(notes.consume("g", handler, { signal: AbortSignal.abort(new Error("enough")) }), /enough/);
    assert.equal((await notes.describe()).groups.find(({ group }) => group === "g")?.members, 0);
    await assert.rejects(notes.lag("nobody"), { code: "not-found" });
  }));

test("slow messages take their own turns and no others', however large messages are", () =>
  onMemory(async ({ engine, until }) => {
    const notes = topic(engine, "notes", { ...options, partitions: 1 });
    const slow = range(3);
    // One answer holds one or two of them.
    const large = " ".repeat(300_000);
    for (const value of range(12)) await notes.publish(value + large, { key: value });
    const seen: string[] = [];
    const gate = Promise.withResolvers<void>();
    const handle = async (value: string) => {
      seen.push(value.trim());
      if (slow.includes(value.trim())) await gate.promise;
    };
    const consumer = await notes.consume("g", handle, {
      concurrency: 4,
      prefetchBytes: 1,
      handlerTimeoutMs: 1_000_000_000,
    });
    await until(() => seen.length === 12);
    gate.resolve();
    await until(() => isSettled(notes));
    await consumer.close();
  }));
