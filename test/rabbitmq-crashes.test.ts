/** A process dies at each of the operations that it asks of the server, one after the other; what another one finds then is whole. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { connect } from "amqplib";
import { type RabbitmqClient, type RabbitmqClientChannel, type RabbitmqEngine, rabbitmq } from "tenon/rabbitmq";
import { systemWorld } from "tenon/world";
import { engine as find } from "./engines.ts";
import { mortalWorld } from "./mortal-world.ts";
import { endSessionsSoon, removeAll, testPrefix } from "./rabbitmq-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("rabbitmq");
const url = `${server.url}?heartbeat=5`;
const slow = process.env.TENON_SLOW === "1";
/** Which operations a process dies at: every one in the long rounds, some of them otherwise. */
const step = slow ? 1 : 4;

/** A process that dies just before the N-th operation that it asks for from `arm` on. */
class MortalProcess {
  readonly engine: RabbitmqEngine;
  readonly #world: ReturnType<typeof mortalWorld>;
  readonly #life: { left: number; readonly ended: PromiseWithResolvers<void>; die: () => void };

  static async start(prefix: string): Promise<MortalProcess> {
    const world = mortalWorld(systemWorld());
    const life = { left: Number.POSITIVE_INFINITY, ended: Promise.withResolvers<void>(), die: () => undefined };
    const engine = await rabbitmq({
      prefix,
      world,
      queues: "make",
      async connect() {
        const client = await connect(url);
        life.die = () => (client.connection as unknown as RabbitmqClient["connection"]).stream?.destroy() as undefined;
        return counted(client, () => {
          life.left -= 1;
          if (life.left !== 0) return;
          life.die();
          void world.die();
          life.ended.resolve();
        });
      },
    });
    return new MortalProcess(engine, world, life);
  }

  private constructor(
    engine: RabbitmqEngine,
    world: ReturnType<typeof mortalWorld>,
    life: { left: number; readonly ended: PromiseWithResolvers<void>; die: () => void },
  ) {
    this.engine = engine;
    this.#world = world;
    this.#life = life;
  }

  /** Whether the work was done before it came to that operation. */
  async lives(operations: number, work: (engine: RabbitmqEngine) => Promise<unknown>): Promise<boolean> {
    this.#life.left = operations;
    const died = this.#life.ended.promise.then(() => false);
    const done = work(this.engine).then(() => true);
    done.catch(() => undefined);
    const lives = await Promise.race([died, done.catch(() => died)]);
    this.#life.die();
    await this.#world.die();
    return lives;
  }
}

const operations: ReadonlySet<string> = new Set<keyof RabbitmqClientChannel>([
  ...(["assertQueue", "deleteQueue", "bindQueue", "assertExchange", "deleteExchange", "publish"] as const),
  ...(["get", "ack", "nack", "consume"] as const),
]);

function counted(client: RabbitmqClient, count: () => void): RabbitmqClient {
  const wrap = (channel: RabbitmqClientChannel) =>
    new Proxy(channel, {
      get(target, name) {
        const value = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        return (...parameters: unknown[]) => {
          if (operations.has(String(name))) count();
          return value.apply(target, parameters);
        };
      },
    });
  return {
    connection: client.connection,
    createConfirmChannel: async () => wrap(await client.createConfirmChannel()),
    close: () => client.close(),
    on: (event: "error", listener: (error: Error) => void) => client.on(event, listener),
  } as RabbitmqClient;
}

const text = (value: string) => ({ body: Buffer.from(value) });

function append({ messages }: RabbitmqEngine, ...texts: readonly string[]) {
  return messages.append({ topic: "orders", partition: 0, messages: texts.map(text) });
}

/** What the group has before it, up to and with `last`. */
async function read({ messages }: RabbitmqEngine, group: string, last: string): Promise<readonly string[]> {
  const member = await messages.join("orders", group, { sessionMs: 10_000, revokeMs: 1_000, windowMax: 1_000 });
  const lane = await member.nextLane();
  const texts: string[] = [];
  while (texts.at(-1) !== last) {
    const stored = await lane.fetch(100);
    texts.push(...stored.map(({ body }) => Buffer.from(body).toString()));
    await lane.commit({ settled: stored.map(({ position }) => position) });
  }
  await member.leave();
  return texts;
}

async function site(t: TestContext) {
  const prefix = testPrefix();
  const survivor = await rabbitmq({ connect: () => connect(url), prefix, queues: "make" });
  t.after(async () => {
    await survivor.close();
    await removeAll(server.url, prefix);
  });
  return { prefix, survivor };
}

describe("a process dies on RabbitMQ", { skip: server.skip, concurrency: 3 }, () => {
  const appending = [
    { what: "while it appends", before: 0, step: slow ? 1 : 2 },
    // It is alone in appending by then, and keeps the partition's lock: an append is two operations.
    { what: "while it appends and keeps the lock", before: 12, step: 1 },
  ];
  for (const { what, before, step } of appending) {
    test(`${what}: each group has the batch as a whole or not at all, and all of them the same`, async (t) => {
      const { prefix, survivor } = await site(t);
      await survivor.messages.declare("orders", { partitions: 1, groups: ["one", "other"] });
      let lives = false;
      let next = 0n;
      for (let number = 1; !lives; number += step) {
        const mortal = await MortalProcess.start(prefix);
        const earlier = Array.from({ length: before }, (_, index) => `${number}.${index}`);
        for (const text of earlier) await append(mortal.engine, text);
        lives = await mortal.lives(number, (engine) => append(engine, `a${number}`, `b${number}`));
        const [position] = await append(survivor, `end${number}`);
        const isThere = position! - next === BigInt(before + 2);
        const expected = [...earlier, ...(isThere ? [`a${number}`, `b${number}`] : []), `end${number}`];
        if (lives) assert.ok(isThere, "what was acknowledged is there");
        for (const group of ["one", "other"]) assert.deepEqual(await read(survivor, group, `end${number}`), expected);
        next = position! + 1n;
      }
    });
  }

  test("while it declares: who declares again has the topic and its groups", async (t) => {
    const { prefix, survivor } = await site(t);
    const declaration = { partitions: 2, groups: ["one", "other"] };
    let lives = false;
    for (let number = 1; !lives; number += step) {
      const mortal = await MortalProcess.start(prefix);
      lives = await mortal.lives(number, (engine) => engine.messages.declare("orders", declaration));
      await survivor.messages.declare("orders", declaration);
      assert.deepEqual(await survivor.messages.topics(), ["orders"]);
      await append(survivor, "end");
      const { groups } = await survivor.messages.describe("orders");
      assert.deepEqual(
        groups.map(({ group, lanes }) => [group, lanes.map(({ lag }) => lag)]),
        [
          ["one", [1, 0]],
          ["other", [1, 0]],
        ],
      );
      await survivor.messages.remove("orders");
    }
  });

  test("while it removes: the topic is there as it was, or gone, and can be declared anew", async (t) => {
    const { prefix, survivor } = await site(t);
    const declaration = { partitions: 1, groups: ["one"] };
    let lives = false;
    for (let number = 1; !lives; number += step) {
      await survivor.messages.declare("orders", declaration);
      await append(survivor, "old");
      const mortal = await MortalProcess.start(prefix);
      lives = await mortal.lives(number, (engine) => engine.messages.remove("orders"));
      const isThere = (await survivor.messages.topics()).includes("orders");
      if (lives) assert.equal(isThere, false);
      await survivor.messages.declare("orders", declaration);
      await append(survivor, "new");
      assert.deepEqual(await read(survivor, "one", "new"), isThere ? ["old", "new"] : ["new"]);
      await survivor.messages.remove("orders");
    }
  });

  test("while it keeps what is delayed: each message comes once, and a batch as a whole or not at all", async (t) => {
    const { prefix, survivor } = await site(t);
    await survivor.messages.declare("orders", { partitions: 1, groups: ["one"] });
    let lives = false;
    for (let number = 1; !lives; number += 2 * step) {
      const mortal = await MortalProcess.start(prefix);
      const dueAt = Date.now() + 50;
      lives = await mortal.lives(number, async ({ messages }) => {
        const delayed = [text(`a${number}`), text(`b${number}`)].map((message) => ({ ...message, dueAt }));
        await messages.append({ topic: "orders", partition: 0, messages: delayed });
        const waits = async () => (await messages.describe("orders")).delayedCount > 0;
        while (await waits()) await survivor.world.timers.sleep(1);
      });
      if (!lives) await endSessionsSoon(server.url, prefix);
      const end = { ...text(`end${number}`), dueAt: Math.max(dueAt, Date.now()) + 200 };
      await survivor.messages.append({ topic: "orders", partition: 0, messages: [end] });
      const texts = await read(survivor, "one", `end${number}`);
      if (lives) assert.ok(texts.length > 1, "what was acknowledged is there");
      assert.deepEqual(texts, [...(texts.length > 1 ? [`a${number}`, `b${number}`] : []), `end${number}`]);
    }
  });
});
