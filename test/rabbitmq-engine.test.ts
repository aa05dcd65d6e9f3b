/** What is RabbitMQ's own: requirements, the first queues, connections that break at a chosen request, producers, records. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { connect } from "amqplib";
import { type Batch, TenonError } from "tenon/contracts";
import { type RabbitmqClient, type RabbitmqEngineOptions, rabbitmq } from "tenon/rabbitmq";
import { systemWorld, type Timers } from "tenon/world";
import { closedAfter } from "./closed-after.ts";
import { engine as find } from "./engines.ts";
import { refusesHiddenNames } from "./hidden-names.ts";
import { removeAll, testPrefix } from "./rabbitmq-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("rabbitmq");
const url = `${server.url}?heartbeat=5`;

/** Breaks the connection at a request, before it is sent or after it was answered. */
interface Break {
  readonly method: string;
  /** A part of what the request is about: a queue, an exchange, a key. */
  readonly about: string;
  readonly when: "before" | "after";
  times: number;
}

class Breaking {
  next: Break | undefined;
  #client: RabbitmqClient | undefined;
  readonly connect = async (): Promise<RabbitmqClient> => {
    const client: RabbitmqClient = await connect(url);
    this.#client = client;
    const create = client.createConfirmChannel.bind(client);
    client.createConfirmChannel = async () => {
      const channel = await create();
      return new Proxy(channel, {
        get: (target, name) => {
          const value = Reflect.get(target, name, target);
          if (typeof value !== "function") return value;
          return (...parameters: unknown[]) => this.#call(client, String(name), parameters, value.bind(target));
        },
      });
    };
    return client;
  };

  cut(): void {
    this.#client?.connection.stream?.destroy(new Error("cut"));
  }

  #call(client: RabbitmqClient, name: string, parameters: unknown[], call: (...parameters: unknown[]) => unknown) {
    const { next } = this;
    const about = parameters.slice(0, 2).join(" ");
    if (next === undefined || next.times === 0 || next.method !== name || !about.includes(next.about))
      return call(...parameters);
    next.times -= 1;
    const cut = () => client.connection.stream?.destroy(new Error("cut"));
    if (next.when === "before") {
      cut();
      return new Promise(() => undefined);
    }
    if (name === "publish") {
      // The confirmation has come, and nobody hears of it.
      return call(...parameters.slice(0, 4), cut);
    }
    return Promise.resolve(call(...parameters)).then(() => {
      cut();
      return new Promise(() => undefined);
    });
  }
}

async function open(t: TestContext, options: Partial<RabbitmqEngineOptions> = {}, prefix = testPrefix()) {
  const breaking = new Breaking();
  const engine = await rabbitmq({ connect: breaking.connect, prefix, queues: "make", ...options });
  t.after(async () => {
    breaking.next = undefined;
    await engine.close();
    await removeAll(server.url, prefix);
  });
  return { engine, breaking, prefix };
}

async function withOrders(t: TestContext, partitions = 1) {
  const opened = await open(t);
  await opened.engine.messages.declare("orders", { partitions, groups: ["group"] });
  return opened;
}

/** What an outage lets fail is repeated. */
async function untilDone<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof TenonError && error.code === "unavailable")) throw error;
    }
  }
}

function batch(texts: readonly string[], more: Partial<Batch> = {}): Batch {
  return { topic: "orders", partition: 0, messages: texts.map((text) => ({ body: Buffer.from(text) })), ...more };
}

describe("the RabbitMQ engine", { skip: server.skip, concurrency: 3 }, () => {
  test("makes no queues unless it is told to, and says what to do", async () => {
    await assert.rejects(rabbitmq({ connect: () => connect(url), prefix: testPrefix() }), {
      code: "not-found",
      message: /queues: "make"/,
    });
  });

  test("makes its first queues once, however many engines begin at a time", async (t) => {
    const prefix = testPrefix();
    const open = () => rabbitmq({ connect: () => connect(url), prefix, queues: "make" });
    const engines = await Promise.all(
      Array.from({ length: 4 }, () => closedAfter(t, open(), (engine) => engine.close())),
    );
    t.after(() => removeAll(server.url, prefix));
    for (const [index, { messages }] of engines.entries()) await messages.declare(`t${index}`, { partitions: 1 });
    for (const { messages } of engines) assert.deepEqual(await messages.topics(), ["t0", "t1", "t2", "t3"]);
  });

  test("refuses a connection without heartbeat, and names that are none", async () => {
    const silent = () => connect(`${server.url}?heartbeat=0`);
    await assert.rejects(rabbitmq({ connect: silent, prefix: testPrefix(), queues: "make" }), {
      code: "invalid",
      message: /heartbeat/,
    });
    for (const prefix of ["", "a b", "amq.x", "x".repeat(101)]) {
      await assert.rejects(rabbitmq({ connect: () => connect(url), prefix }), { code: "invalid" });
    }
  });

  test("names that delayed messages are kept under are refused", async (t) => {
    await refusesHiddenNames((await open(t)).engine.messages);
  });

  test("refuses a server that is too old, or another one", async () => {
    const told = (properties: object) => async () => {
      const client: RabbitmqClient = await connect(url);
      Object.assign(client.connection.serverProperties, properties);
      return client;
    };
    for (const properties of [{ version: "3.9.29" }, { product: "LavinMQ" }, { capabilities: {} }]) {
      await assert.rejects(rabbitmq({ connect: told(properties), prefix: testPrefix() }), { code: "unsupported" });
    }
  });

  test("says what the server and the connection are like, and what is stated", async (t) => {
    const { engine } = await open(t, { survives: "process" });
    assert.deepEqual(
      engine.requirements.map(({ setting, ok }) => [setting, ok]),
      [
        ["version", true],
        ["heartbeat", true],
        ["survives", true],
      ],
    );
    assert.equal(engine.messages.capabilities.survives, "process");
  });

  test("says `denied` when the credentials are wrong, `unavailable` when nobody listens", async () => {
    const wrong = new URL(url);
    wrong.password = "wrong";
    await assert.rejects(rabbitmq({ connect: () => connect(wrong.href) }), { code: "denied" });
    await assert.rejects(rabbitmq({ connect: () => connect("amqp://127.0.0.1:1?heartbeat=5") }), {
      code: "unavailable",
      outcome: "not-applied",
    });
  });

  test("keeps locks of records in quorum queues where replicas are stated", async (t) => {
    const { engine } = await open(t, { survives: "replicas" });
    await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
    assert.deepEqual(await engine.messages.append(batch(["m"])), [0n]);
  });

  for (const [what, when, outcome] of [
    ["before it had the lock", { method: "get", about: ".p0.lock", when: "before" }, "not-applied"],
    ["before the record was sent", { method: "publish", about: ".p0.state", when: "before" }, "unknown"],
    ["before it heard that the record was stored", { method: "publish", about: ".p0.state", when: "after" }, "unknown"],
    ["before it heard that the groups have it", { method: "publish", about: ".t1", when: "after" }, "unknown"],
  ] as const) {
    test(`stores a batch once that is repeated when the connection was lost ${what}`, async (t) => {
      const { engine, breaking } = await withOrders(t);
      const { messages } = engine;
      await messages.append(batch(["first"], { producer: { id: "p", epoch: 0, sequence: 0 } }));
      const second = batch(["second", "third"], { producer: { id: "p", epoch: 0, sequence: 1 } });
      breaking.next = { ...when, times: 1 };
      await assert.rejects(messages.append(second), (error) => {
        assert.ok(error instanceof TenonError, String(error));
        assert.deepEqual([error.code, error.outcome], ["unavailable", outcome]);
        return true;
      });
      assert.deepEqual(await messages.append(second), [1n, 2n]);
      const member = await messages.join("orders", "group", { sessionMs: 10_000, revokeMs: 1_000, windowMax: 100 });
      const lane = await member.nextLane();
      const texts: string[] = [];
      while (texts.length < 3) texts.push(...(await lane.fetch(10)).map(({ body }) => Buffer.from(body).toString()));
      assert.deepEqual(texts, ["first", "second", "third"]);
      assert.equal((await messages.describe("orders")).groups[0]!.lanes[0]!.lag, 3);
    });
  }

  test("consumes on when the connection was lost again and again while it began to", async (t) => {
    const { engine, breaking } = await withOrders(t);
    const { messages } = engine;
    const member = await messages.join("orders", "group", { sessionMs: 60_000, revokeMs: 1_000, windowMax: 100 });
    const lane = await member.nextLane();
    await messages.append(batch(["m0"]));
    await lane.fetch(1);
    for (let round = 1; round <= 5; round++) {
      // This connection, and the two after it while they are used to consume.
      breaking.next = { method: "prefetch", about: "", when: "before", times: 2 };
      breaking.cut();
      const producer = { id: "p", epoch: 0, sequence: round - 1 };
      await untilDone(() => messages.append(batch([`m${round}`], { producer })));
      const [stored] = await lane.fetch(1);
      assert.equal(Buffer.from(stored!.body).toString(), `m${round}`);
    }
  });

  test("tells members of other processes at once what concerns them", async (t) => {
    const { engine, prefix } = await withOrders(t);
    const other = await rabbitmq({ connect: () => connect(url), prefix });
    t.after(() => other.close());
    const options = { sessionMs: 600_000, revokeMs: 600_000, windowMax: 100 };
    const first = await engine.messages.join("orders", "group", options);
    await first.nextLane();
    // Only news can tell it: nothing is due for minutes.
    const second = await other.messages.join("orders", "group", options);
    const granted = second.nextLane();
    await first.leave();
    assert.equal((await granted).partition, 0);
    const gone = assert.rejects(second.nextLane(), { code: "not-found" });
    await engine.messages.remove("orders");
    await gone;
  });

  test("gives the record of a lane back with the lane, however long it would have kept it", async (t) => {
    const prefix = testPrefix();
    const system = systemWorld();
    // Locks are kept for ever: the timers by which they would be given back stand still.
    const schedule: Timers["schedule"] = (ms, call, options) =>
      ms <= 100 ? () => undefined : system.timers.schedule(ms, call, options);
    const timers = { schedule, sleep: system.timers.sleep.bind(system.timers) };
    const { engine } = await open(t, { world: { ...system, timers } }, prefix);
    await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
    const other = await rabbitmq({ connect: () => connect(url), prefix });
    t.after(() => other.close());
    const options = { sessionMs: 600_000, revokeMs: 600_000, windowMax: 100 };
    const first = await engine.messages.join("orders", "group", options);
    const lane = await first.nextLane();
    for (let number = 0; number < 20; number++) {
      const [position] = await other.messages.append(batch([`m${number}`]));
      await lane.commit({ settled: [position!] });
    }
    await first.leave();
    const second = await other.messages.join("orders", "group", options);
    assert.equal((await second.nextLane()).partition, 0);
  });

  test("fences a producer's lower epochs in every partition of the topic", async (t) => {
    const { engine } = await withOrders(t, 3);
    const { messages } = engine;
    const produce = (partition: number, epoch: number, sequence = 0) =>
      messages.append(batch(["m"], { partition, producer: { id: "p", epoch, sequence } }));
    await produce(0, 1);
    await produce(1, 1);
    await produce(2, 2);
    for (const partition of [0, 1]) {
      await assert.rejects(produce(partition, 1, 1), { code: "lost", outcome: "not-applied" });
    }
    assert.deepEqual(await produce(0, 2), [1n]);
  });

  test("fetches what is beyond the messages that it has in hand when all of those are held", async (t) => {
    const { engine } = await withOrders(t);
    const { messages } = engine;
    // Each is a message of the server of its own.
    for (let number = 0; number < 300; number++) await messages.append(batch([`m${number}`]));
    const member = await messages.join("orders", "group", { sessionMs: 60_000, revokeMs: 1_000, windowMax: 1_000 });
    const lane = await member.nextLane();
    const texts: string[] = [];
    while (texts.length < 300) {
      const stored = await lane.fetch(1_000);
      texts.push(...stored.map(({ body }) => Buffer.from(body).toString()));
      const held = stored.map(({ position }) => ({ position, failures: 1, deliveries: 0, dueAt: 0 }));
      await lane.commit({ settled: [], held });
    }
    assert.deepEqual(
      texts,
      Array.from({ length: 300 }, (_, number) => `m${number}`),
    );
  });
});
