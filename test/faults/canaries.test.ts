/** The checkers can fail: each of these is wrong in one way, and must be found. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { Redis } from "ioredis";
import { type Batch, type KeyValueEngine, type LeaseEngine, type MessageEngine, TenonError } from "tenon/contracts";
import { mutex } from "tenon/coordination";
import { type RedisEngine, redis } from "tenon/redis";
import { redisServerMissing, startRedis } from "../redis-server.ts";
import { CounterLedger, LockLedger, MessageLedger } from "./ledgers.ts";
import { drawPlan, type Fault } from "./plan.ts";
import { type RunEngine, redisSite, runStorm } from "./run.ts";
import { startTcpProxy } from "./tcp-proxy.ts";
import type { Engine } from "./workload.ts";

const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

/** An engine with one of its parts replaced. Its methods stand on its prototype, and private fields belong to the real one. */
function instead<Part extends object>(part: Part, changes: Partial<Part>): Part {
  return new Proxy(part, {
    get(target, name) {
      if (name in changes) return changes[name as keyof Part];
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

const ignore = () => undefined;

function engineWith(engine: RunEngine, parts: Partial<Engine>): Engine {
  const { messages, keyValue, leases, world } = engine;
  return { messages, keyValue, leases, world, ...parts };
}

const answersBeforeTheServer = (messages: MessageEngine) =>
  instead(messages, {
    append: async (batch: Batch) => {
      messages.append(batch).catch(ignore);
      return batch.messages.map(() => undefined);
    },
  });

const appendsWithoutMark = (messages: MessageEngine) =>
  instead(messages, {
    append: ({ topic, partition, messages: all }: Batch) => messages.append({ topic, partition, messages: all }),
  });

/** Answers as the server will, if it does. */
const commitsBeforeTheServer = (keyValue: KeyValueEngine) =>
  instead(keyValue, {
    commit: async (changes) => {
      keyValue.commit(changes).catch(ignore);
      return { committed: true, version: 0n, counters: changes.map(() => undefined) };
    },
  });

const repeatsCommits = (keyValue: KeyValueEngine) =>
  instead(keyValue, {
    commit: async (changes) => {
      for (;;) {
        try {
          return await keyValue.commit(changes);
        } catch (error) {
          if (!(error instanceof TenonError && error.code === "unavailable")) throw error;
        }
      }
    },
  });

const saysItIsNotDone = (keyValue: KeyValueEngine) =>
  instead(keyValue, {
    commit: async (changes) => {
      try {
        return await keyValue.commit(changes);
      } catch (error) {
        throw error instanceof TenonError ? new TenonError(error.code, error.message) : error;
      }
    },
  });

const renewsBeforeTheServer = ({ clock }: RedisEngine["world"], leases: LeaseEngine) =>
  instead(leases, {
    renew: async (lease) => {
      leases.renew(lease).catch(ignore);
      return { ...lease, since: { monotonic: clock.monotonic(), wall: clock.now() } };
    },
  });

interface Canary {
  readonly name: string;
  readonly through: (engine: RunEngine) => Engine;
  readonly finds: RegExp;
  readonly faults: readonly Fault["type"][];
  readonly outageMsMax?: number;
}

const canaries: readonly Canary[] = [
  {
    name: "that acknowledges messages before the server has answered",
    through: (engine) => engineWith(engine, { messages: answersBeforeTheServer(engine.messages) }),
    finds: /is lost|came before|stands before/,
    faults: ["cutAll", "resetAfter", "kill", "refuse"],
  },
  {
    name: "that appends without the producer's mark",
    through: (engine) => engineWith(engine, { messages: appendsWithoutMark(engine.messages) }),
    finds: /is stored twice/,
    faults: ["loseReplies", "loseReply"],
  },
  {
    name: "that confirms commits before the server has answered",
    through: (engine) => engineWith(engine, { keyValue: commitsBeforeTheServer(engine.keyValue) }),
    finds: /is lost|is \d+, not \d+ to/,
    faults: ["cutAll", "kill", "refuse"],
  },
  {
    name: "that repeats commits by itself",
    through: (engine) => engineWith(engine, { keyValue: repeatsCommits(engine.keyValue) }),
    finds: /was done before it was asked for|is \d+, not \d+ to/,
    faults: ["loseReplies", "loseReply"],
  },
  {
    name: "that says a commit was not done when it does not know",
    through: (engine) => engineWith(engine, { keyValue: saysItIsNotDone(engine.keyValue) }),
    finds: /was not done, and is there|is \d+, not \d+ to/,
    faults: ["loseReplies", "loseReply"],
  },
];

describe("an engine is found out", { skip: redisServerMissing, concurrency: 2 }, () => {
  for (const { name, through, finds, faults: types, outageMsMax = 300 } of canaries) {
    test(name, async () => {
      const found: string[] = [];
      for (let seed = 1; seed <= 5 && !found.some((fault) => finds.test(fault)); seed++) {
        const plan = drawPlan({ seed, steps: 8, outageMsMax, types });
        found.push(...(await runStorm({ seed, site: redisSite("ioredis"), plan, through, stuckMs: 15_000 })).faults);
      }
      assert.match(found.join("\n"), finds);
    });
  }
});

/** A holder that is cut off from Redis while another one waits for its lock. */
async function cutOffWhileHolding(through: (engine: RunEngine) => Engine): Promise<readonly string[]> {
  await using server = await startRedis();
  await using proxy = await startTcpProxy({ serverPort: server.port });
  const connect = (port: number) => () =>
    new Redis(port, "127.0.0.1", { autoResendUnfulfilledCommands: false }).on("error", ignore);
  await using behind = await redis({ connect: connect(proxy.port), commandTimeoutMs: 500 });
  await using other = await redis({ connect: connect(server.port) });
  const options = { ttlMs: 1_000, waitMs: 60_000, timeoutMs: 60_000 };
  const ledger = new LockLedger();
  const lock = await mutex(through(behind) as RedisEngine, "till", options).acquire();
  ledger.acquired("the one cut off", lock.token, 0n);
  await proxy.refuse();
  proxy.cutAll();
  const next = await mutex(other, "till", options).acquire();
  ledger.acquired("the next one", next.token, lock.token);
  ledger.write(
    "the next one",
    next.token,
    lock.signal.aborted ? ["the next one"] : ["the one cut off", "the next one"],
  );
  await next.release();
  return ledger.faults;
}

describe("a lock whose holder is cut off", { skip: redisServerMissing }, () => {
  test("is not believed in when the next one has it", async () => {
    assert.deepEqual(await cutOffWhileHolding((engine) => engine), []);
  });

  test("is found held twice of an engine that takes it for renewed before the server has answered", async () => {
    const faults = await cutOffWhileHolding((engine) =>
      engineWith(engine, { leases: renewsBeforeTheServer(engine.world, engine.leases!) }),
    );
    assert.match(faults.join("\n"), /hold the lock at the same time/);
  });
});

describe("the ledger", () => {
  const handling = (key: string, number: number, position: bigint, fence: bigint) => ({
    key,
    number,
    partition: 0,
    position,
    fence,
  });

  /** Three messages of one key that were acknowledged, at positions 10, 11 and 12. */
  function three(): MessageLedger {
    const ledger = new MessageLedger();
    for (let number = 0; number < 3; number++) {
      ledger.publishes("k", number);
      ledger.acknowledged("k", number, 0, BigInt(10 + number));
    }
    return ledger;
  }

  function faultsOf(ledger: { check(): void; readonly faults: readonly string[] }): readonly string[] {
    ledger.check();
    return ledger.faults;
  }

  test("accepts messages in order, come again from where they were not settled, and zombies that are refused", () => {
    const ledger = three();
    ledger.publishes("k", 3);
    ledger.failed("k", 3, new TenonError("timeout", "", { outcome: "unknown" }));
    ledger.publishes("k", 4);
    ledger.failed("k", 4, new TenonError("timeout", ""));
    const handled: readonly (readonly [number, bigint])[] = [
      [0, 1n],
      [1, 2n],
      [1, 5n],
      [2, 6n],
      [2, 3n],
      [1, 7n],
      [2, 8n],
    ];
    for (const [number, fence] of handled) ledger.handled(handling("k", number, BigInt(10 + number), fence));
    assert.deepEqual(faultsOf(ledger), []);
    assert.deepEqual([ledger.effects, ledger.refused, ledger.missing], [6, 1, 0]);
  });

  test("misses what was acknowledged and never came", () => {
    const ledger = three();
    ledger.handled(handling("k", 0, 10n, 1n));
    ledger.handled(handling("k", 1, 11n, 2n));
    assert.equal(ledger.missing, 1);
    assert.deepEqual(faultsOf(ledger), ["k/2 is lost"]);
  });

  test("sees a message handled before an earlier one of its key", () => {
    const ledger = three();
    ledger.handled(handling("k", 0, 10n, 1n));
    ledger.handled(handling("k", 2, 12n, 2n));
    ledger.handled(handling("k", 1, 11n, 3n));
    assert.deepEqual(faultsOf(ledger), ["k/2 came before k/1"]);
  });

  test("sees a message stored twice, and one that was said not to be stored", () => {
    const ledger = three();
    ledger.publishes("k", 3);
    ledger.failed("k", 3, new TenonError("timeout", ""));
    for (const [number, position] of [
      [0, 10n],
      [1, 11n],
      [2, 12n],
      [3, 13n],
      [3, 14n],
    ] as const)
      ledger.handled(handling("k", number, position, position));
    assert.deepEqual(faultsOf(ledger), ["k/3 is stored twice, at 0/13 and 0/14", "k/3 was not stored, and came"]);
  });

  test("sees messages stored in another order than they were published in, and a fence given twice", () => {
    const ledger = new MessageLedger();
    for (const number of [0, 1]) ledger.publishes("k", number);
    ledger.handled(handling("k", 0, 11n, 1n));
    ledger.handled(handling("k", 1, 10n, 1n));
    assert.deepEqual(faultsOf(ledger), ["two deliveries of key k have the fence 1", "k/1 stands before k/0"]);
  });

  test("sees two who believe to hold a lock, and tokens that do not grow or are not one holder's", () => {
    const ledger = new LockLedger();
    ledger.acquired("a", 5n, 0n);
    ledger.write("a", 5n, ["a"]);
    ledger.acquired("b", 5n, 0n);
    ledger.acquired("c", 4n, 5n);
    ledger.write("b", 5n, ["a", "b"]);
    ledger.write("c", 4n, ["c"]);
    ledger.write("a", 5n, ["a"]);
    assert.deepEqual(faultsOf(ledger), [
      "a and b have the same token 5",
      "c got the token 4 after 5 was granted",
      "a and b hold the lock at the same time",
      "a writes under the token 5 of another",
    ]);
    assert.deepEqual([ledger.writes, ledger.refused], [3, 1]);
  });

  test("sees a commit under an old token after one under a newer", () => {
    const ledger = new LockLedger();
    ledger.committed(2n, 12n);
    ledger.committed(1n, 11n);
    ledger.committed(1n, 13n);
    assert.deepEqual(faultsOf(ledger), ["the token 1 wrote version 13 after 2 had written"]);
  });

  test("sees additions that are lost, double, or done although they failed", () => {
    const ledger = new CounterLedger();
    for (const operation of ["a", "b", "c", "d"]) ledger.adds(operation);
    ledger.added("a", 1);
    ledger.added("b", 1);
    ledger.added("c", undefined);
    ledger.failed("d", new TenonError("unavailable", ""));
    ledger.check(2, new Set(["b", "c", "d"]));
    ledger.checkBounds(4);
    ledger.checkBounds(2);
    assert.deepEqual(ledger.faults, [
      "the counter was 1 twice",
      "c was done before it was asked for",
      "the counter is 2, and there are 3 records",
      "a is lost",
      "d was not done, and is there",
      "the counter is 4, not 3 to 3",
      "the counter is 2, not 3 to 3",
    ]);
  });

  test("takes everything that is no failure of the contracts for a fault of its own", () => {
    const ledger = three();
    assert.throws(() => ledger.failed("k", 0, new TypeError("x")), TypeError);
  });
});
