import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { TenonError } from "../src/contracts/errors.ts";
import * as coordination from "../src/coordination/index.ts";
import { memory } from "../src/engines/embedded/index.ts";
import * as keyValues from "../src/key-value/index.ts";
import * as messaging from "../src/messaging/index.ts";
import * as moving from "../src/moving/index.ts";
import * as streams from "../src/streams/index.ts";
import * as traffic from "../src/traffic/index.ts";

/** Whatever is given an engine, with arguments that are right but for it. */
const entries: Readonly<Record<string, (engine: never) => unknown>> = {
  topic: (engine) => messaging.topic(engine, "orders", { codec: messaging.bytes() }),
  topicAdministration: (engine) => messaging.topicAdministration(engine),
  exchange: (engine) => messaging.exchange(engine, "orders", { type: "topic", codec: messaging.bytes() }),
  requester: (engine) =>
    messaging.requester(engine, "orders", { request: messaging.bytes(), reply: messaging.bytes() }),
  replier: (engine) =>
    messaging.replier(engine, "orders", () => new Uint8Array(), {
      request: messaging.bytes(),
      reply: messaging.bytes(),
    }),
  keyValue: (engine) => keyValues.keyValue(engine, { codec: keyValues.bytes() }),
  mutex: (engine) => coordination.mutex(engine, "nightly"),
  multiLock: (engine) => coordination.multiLock(engine, ["nightly"]),
  readWriteLock: (engine) => coordination.readWriteLock(engine, "nightly"),
  semaphore: (engine) => coordination.semaphore(engine, "nightly", { permits: 2 }),
  election: (engine) => coordination.election(engine, "nightly", { candidate: "one" }),
  countdownLatch: (engine) => coordination.countdownLatch(engine, "nightly", { count: 2 }),
  barrier: (engine) => coordination.barrier(engine, "nightly", { parties: 2 }),
  limiter: (engine) => traffic.limiter(engine, "logins", { type: "tokenBucket", ratePerSecond: 1, burst: 1 }),
  concurrencyLimiter: (engine) =>
    traffic.concurrencyLimiter(engine, "logins", { type: "concurrency", limit: 1, holdMs: 1_000 }),
  log: (engine) => streams.log(engine, "clicks", { codec: streams.bytes() }),
  moving: (engine) => moving.moving(engine, engine),
  moveTopic: (engine) => moving.moveTopic({ from: engine, to: engine, topic: "orders" }),
};

/** Functions of blocks that are given no engine, but a part of one, or none. */
const others = [
  ...["bytes", "json", "text", "schemaCodec"],
  ...["fenced", "sqlFence", "fenceTable", "pipe", "localLimiter", "localConcurrencyLimiter"],
];

async function refusal(entry: (engine: never) => unknown, engine: unknown): Promise<unknown> {
  try {
    await entry(engine as never);
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: "it took that for an engine" });
}

describe("what is given an engine", () => {
  for (const [name, entry] of Object.entries(entries)) {
    test(`${name}() says so when it is given something else`, async () => {
      await using engine = await memory();
      const cases: readonly (readonly [unknown, RegExp])[] = [
        [memory(), /was given the promise of an engine as .+; await it first/],
        [undefined, /needs an engine as (its first argument|from), .* and was given undefined/],
        [null, /and was given null/],
        ["redis://127.0.0.1", /and was given string/],
        [{ world: engine.world }, /and was given an object that is none/],
        // What has a property of that name by chance: a logger, the options of a client, what was loaded for a page.
        [{ log: () => undefined, world: engine.world }, /and was given an object that is none/],
        [{ sql: "SELECT 1", messages: [], leases: {}, keyValue: null }, /and was given an object that is none/],
      ];
      for (const [given, message] of cases) {
        const error = await refusal(entry, given);
        assert.ok(error instanceof TenonError && error.code === "invalid", String(error));
        assert.match(error.message, message);
        assert.ok(error.message.startsWith(`${name}() `), String(error));
        if (given instanceof Promise) await (await given).close();
      }
    });

    test(`${name}() says which contract an engine lacks`, async () => {
      await using engine = await memory();
      // As engines of SQL are.
      const poor = { name: "poor", world: engine.world, sql: { dialect: "sqlite" } };
      const error = await refusal(entry, poor);
      assert.ok(error instanceof TenonError && error.code === "invalid", String(error));
      assert.match(error.message, /^\w+\(\) needs .*, and the engine poor carries no .*: it carries SQL\./);
    });

    test(`${name}() takes an engine`, async () => {
      await using engine = await memory();
      // Moves refuse to go from an engine to itself, and take it for an engine.
      await Promise.resolve(entry(engine as never)).catch((error: unknown) => {
        assert.doesNotMatch(String(error), /needs an engine|needs .* and the engine/);
      });
    });
  }

  test("what is given two engines says which one is none", async () => {
    await using engine = await memory();
    const seconds: readonly (readonly [(engine: never) => unknown, string])[] = [
      [(to) => moving.moving(engine, to), "moving() needs an engine as its second argument"],
      [(to) => moving.moveTopic({ from: engine, to, topic: "orders" }), "moveTopic() needs an engine as to"],
    ];
    for (const [entry, message] of seconds) {
      const error = await refusal(entry, undefined);
      assert.ok(String(error).includes(message), String(error));
    }
  });

  test("what is given something of an engine says so when it is given the engine, or nothing", async () => {
    await using engine = await memory();
    const entries: readonly (readonly [(given: never) => unknown, RegExp])[] = [
      [(given) => coordination.fenced(given, "r", 1n, []), /^fenced\(\) needs the key-values of an engine/],
      [(given) => streams.pipe(given, "p", () => []), /^pipe\(\) needs a log as its first argument/],
    ];
    for (const [entry, message] of entries) {
      for (const given of [engine, undefined, null, memory]) {
        const error = await refusal(entry, given);
        assert.ok(error instanceof TenonError && error.code === "invalid", String(error));
        assert.match(error.message, message);
      }
    }
  });

  test("every function of these blocks is known here", () => {
    const functions = [messaging, keyValues, coordination, traffic, streams, moving].flatMap((block) =>
      Object.entries<unknown>(block)
        .filter(([name, exported]) => typeof exported === "function" && /^[a-z]/.test(name))
        .map(([name]) => name),
    );
    assert.deepEqual([...new Set(functions)].sort(), [...Object.keys(entries), ...others].sort());
  });
});
