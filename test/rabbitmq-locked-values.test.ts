/** Whose lock is kept and for how long, on the real server, by a clock and timers that only the test moves. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { connect } from "amqplib";
import { type Cancel, systemWorld, type World } from "tenon/world";
import type { RabbitmqClient, RabbitmqClientChannel, RabbitmqQueueOptions } from "../src/engines/rabbitmq/clients.ts";
import { RabbitmqConnection } from "../src/engines/rabbitmq/connection.ts";
import { LockedValues } from "../src/engines/rabbitmq/locked-values.ts";
import { engine as find } from "./engines.ts";
import { testPrefix } from "./rabbitmq-host.ts";

// Nothing else keeps the process alive while a test waits.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("rabbitmq");
const keptMs = 100;
/** So many changes, and a process that is alone keeps the lock. */
const enough = 9;

const classic = { durable: true };
const quorum = { durable: true, arguments: { "x-queue-type": "quorum" } };

/** Time passes when the test says so. */
class HandTime {
  readonly #due = new Map<object, { readonly at: number; readonly call: () => void }>();
  #now = 0;

  get world(): World {
    return {
      ...systemWorld(),
      clock: { now: () => Date.now(), monotonic: () => this.#now },
      timers: {
        schedule: (ms, call) => this.#schedule(ms, call),
        sleep: (ms) => new Promise((resolve) => this.#schedule(ms, resolve)),
      },
    };
  }

  pass(ms: number): void {
    this.#now += ms;
    for (const [timer, { at, call }] of [...this.#due]) {
      if (at > this.#now || !this.#due.delete(timer)) continue;
      call();
    }
  }

  #schedule(ms: number, call: () => void): Cancel {
    const timer = {};
    this.#due.set(timer, { at: this.#now + ms, call });
    return () => this.#due.delete(timer);
  }
}

/** One process's view of the values, and what it asks the server for. */
class Process {
  readonly time = new HandTime();
  readonly asked: string[] = [];
  readonly values: LockedValues;
  readonly connection: RabbitmqConnection;
  client: RabbitmqClient | undefined;

  /** The request before which the connection breaks. */
  cutAt: string | undefined;

  static async start(lock: RabbitmqQueueOptions): Promise<Process> {
    const process = new Process(lock);
    await process.connection.open();
    return process;
  }

  private constructor(lock: RabbitmqQueueOptions) {
    this.connection = new RabbitmqConnection({
      world: this.time.world,
      connect: () => this.#connect(),
      commandTimeoutMs: 10_000,
      connectTimeoutMs: 10_000,
    });
    this.values = new LockedValues(this.connection, { lock, state: quorum });
  }

  async #connect(): Promise<RabbitmqClient> {
    const client: RabbitmqClient = await connect(`${server.url}?heartbeat=5`);
    const create = client.createConfirmChannel.bind(client);
    client.createConfirmChannel = async () => this.#listening(await create());
    this.client = client;
    return client;
  }

  #listening(channel: RabbitmqClientChannel): RabbitmqClientChannel {
    return new Proxy(channel, {
      get: (target, name) => {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...parameters: unknown[]) => {
          if (["get", "publish"].includes(String(name))) this.asked.push(String(name));
          if (name === this.cutAt) this.cut();
          return value.apply(target, parameters);
        };
      },
    });
  }

  cut(): void {
    this.client!.connection.stream!.destroy(new Error("cut"));
  }

  /** Adds to the text that the value is. */
  add(name: string, text: string): Promise<void> {
    return this.values.hold(name, "a test", (value) => value.write(Buffer.from(`${value.bytes}${text}`)));
  }

  async addTimes(name: string, count: number): Promise<void> {
    for (let times = 0; times < count; times++) await this.add(name, ".");
  }

  read(name: string): Promise<string> {
    return this.values.hold(name, "a test", async ({ bytes }) => bytes.toString());
  }
}

async function site(t: TestContext, lock: RabbitmqQueueOptions = classic) {
  const [alone, other] = await Promise.all([Process.start(lock), Process.start(lock)]);
  const name = `${testPrefix()}.value`;
  await other.connection.with("a test", (channel) => other.values.make(channel, name, Buffer.alloc(0)));
  t.after(async () => {
    await other.connection.with("a test", (channel) => other.values.remove(channel, name));
    for (const { connection } of [alone, other]) connection.close();
  });
  return { alone, other, name };
}

const dots = ".".repeat(enough);

describe("a locked value on RabbitMQ", { skip: server.skip, concurrency: 3 }, () => {
  test("is not read again by a process that is alone in changing it, and a change is one message", async (t) => {
    const { alone, name } = await site(t);
    await alone.addTimes(name, enough);
    alone.asked.length = 0;
    await alone.addTimes(name, 2);
    assert.equal(await alone.read(name), `${dots}..`);
    await alone.add(name, "!");
    assert.equal(await alone.read(name), `${dots}..!`);
    assert.deepEqual(alone.asked, ["publish", "publish", "publish"]);
  });

  test("goes to whoever waits for it when it was kept for its time, as it was left", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    const added = other.add(name, "other");
    alone.time.pass(keptMs);
    await added;
    assert.equal(await alone.read(name), `${dots}other`);
  });

  test("is kept for as long as it is changed again and again, and nobody waits for it", async (t) => {
    const { alone, name } = await site(t);
    await alone.addTimes(name, enough);
    alone.asked.length = 0;
    for (let times = 0; times < 10; times++) {
      alone.time.pass(keptMs / 2);
      await alone.add(name, "!");
    }
    assert.deepEqual([...new Set(alone.asked)], ["publish"]);
  });

  test("goes to whoever waits for it, however often it is changed meanwhile", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    let isAdded = false;
    const added = other.add(name, "other").then(() => {
      isAdded = true;
    });
    while (!isAdded) {
      alone.time.pass(keptMs / 2);
      await alone.add(name, "!");
    }
    await added;
    assert.match(await other.read(name), /^\.{9}!*other!*$/);
  });

  test("is kept no longer than for its time where its lock is in a quorum queue", async (t) => {
    const { alone, other, name } = await site(t, quorum);
    await alone.addTimes(name, enough);
    const added = other.add(name, "other");
    alone.time.pass(keptMs - 1);
    await alone.add(name, "!");
    alone.time.pass(1);
    await added;
    assert.equal(await other.read(name), `${dots}!other`);
  });

  test("fails with what became of the change when the connection is lost while it asks who waits", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    alone.time.pass(keptMs / 2);
    alone.cutAt = "publish";
    await assert.rejects(alone.add(name, "!"), { code: "unavailable", outcome: "unknown" });
    assert.equal(await other.read(name), dots);
  });

  test("that was due while it was worked on is given back when the work is done", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    await alone.values.hold(name, "a test", async (value) => {
      alone.time.pass(keptMs);
      await value.write(Buffer.from("late"));
    });
    assert.equal(await other.read(name), "late");
  });

  test("is kept by nobody while two processes change it in turn", async (t) => {
    const { alone, other, name } = await site(t);
    // No time passes: whoever kept it would keep it for ever.
    for (let times = 0; times < 2 * enough; times++) {
      await alone.add(name, "a");
      await other.add(name, "b");
    }
    assert.equal(await alone.read(name), "ab".repeat(2 * enough));
  });

  test("is not kept for being read", async (t) => {
    const { alone, other, name } = await site(t);
    for (let times = 0; times < 2 * enough; times++) assert.equal(await alone.read(name), "");
    await other.add(name, "b");
    assert.equal(await other.read(name), "b");
  });

  test("goes on at once when its holder lets it go", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    alone.values.letGo(name);
    assert.equal(await other.read(name), dots);
  });

  test("takes with it what was written quietly when it is given back, and not before", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    await alone.values.hold(name, "a test", async (value) => {
      await value.write(Buffer.from("loud"));
      value.writeQuietly(Buffer.from("quiet"));
    });
    assert.equal(await alone.read(name), "quiet");
    alone.asked.length = 0;
    alone.time.pass(keptMs);
    assert.deepEqual(alone.asked, ["publish"]);
    assert.equal(await other.read(name), "quiet");
  });

  test("is as it was last written for certain when its holder dies with a quiet one in hand", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    await alone.values.hold(name, "a test", async (value) => {
      await value.write(Buffer.from("loud"));
      value.writeQuietly(Buffer.from("quiet"));
    });
    alone.cut();
    assert.equal(await other.read(name), "loud");
  });

  test("is read anew when the connection was lost while it was kept", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    const connected = new Promise<void>((resolve) => alone.connection.onConnected(resolve));
    alone.cut();
    await other.add(name, "other");
    // The connection is made anew by a timer, and its loss is heard of in some turn after it.
    const passing = setInterval(() => alone.time.pass(1), 1);
    await connected;
    clearInterval(passing);
    await alone.add(name, "!");
    assert.equal(await other.read(name), `${dots}other!`);
  });

  test("is read anew after work that failed, with what it had written by then", async (t) => {
    const { alone, other, name } = await site(t);
    await alone.addTimes(name, enough);
    const failing = alone.values.hold(name, "a test", async (value) => {
      await value.write(Buffer.from("written"));
      throw new Error("the work failed");
    });
    await assert.rejects(failing, /the work failed/);
    assert.equal(await other.read(name), "written");
    assert.equal(await alone.read(name), "written");
  });

  test("is refused while the server has an alarm, and kept all the same", async (t) => {
    const { alone, name } = await site(t);
    await alone.addTimes(name, enough);
    const events = alone.client as unknown as { emit(event: string, reason?: string): void };
    events.emit("blocked", "low on disk");
    await assert.rejects(alone.add(name, "!"), { code: "overloaded", outcome: "not-applied" });
    events.emit("unblocked");
    alone.asked.length = 0;
    await alone.add(name, "!");
    assert.deepEqual(alone.asked, ["publish"]);
  });

  test("sends nothing any more when it was removed while it was kept", async (t) => {
    const { alone, name } = await site(t);
    await alone.addTimes(name, enough);
    await alone.values.hold(name, "a test", async (value) => {
      await value.write(Buffer.from("loud"));
      value.writeQuietly(Buffer.from("quiet"));
    });
    alone.asked.length = 0;
    await alone.connection.with("a test", (channel) => alone.values.remove(channel, name));
    alone.time.pass(keptMs);
    assert.deepEqual(alone.asked, []);
  });
});
