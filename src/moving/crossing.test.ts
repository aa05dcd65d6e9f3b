import assert from "node:assert/strict";
import { after, test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { MessageEngine } from "../contracts/messages.ts";
import { type EmbeddedEngine, memory } from "../engines/embedded/index.ts";
import { type MessagingEngine, moveTopic, moving } from "./index.ts";

const limits = { timeout: 60_000 };
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const topic = "orders";
const batch = { topic, partition: 0, messages: [{ body: Buffer.from("1"), key: "k" }] };

async function engines(): Promise<{ from: EmbeddedEngine; to: EmbeddedEngine } & AsyncDisposable> {
  const [from, to] = [await memory(), await memory()];
  await from.messages.declare(topic, { partitions: 1, groups: ["billing"] });
  return {
    from,
    to,
    async [Symbol.asyncDispose]() {
      await Promise.all([from.close(), to.close()]);
    },
  };
}

/** The engine as one of its users sees it. */
function seen(engine: MessagingEngine, members: Partial<MessageEngine>): MessagingEngine {
  const messages = new Proxy(engine.messages, {
    get: (target, name) => {
      const value: unknown = members[name as keyof MessageEngine] ?? Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  return { messages, world: engine.world };
}

const lost = () => new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });

async function storedCount({ messages }: MessagingEngine): Promise<bigint> {
  const [{ next } = { next: 0n }] = (await messages.describe(topic)).partitions;
  return next;
}

test(
  "a batch whose reply was lost before the topic left is not stored once more on the other engine",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to } = parts;
    let answers = false;
    const append: MessageEngine["append"] = async (given) => {
      const positions = await from.messages.append(given);
      if (answers) return positions;
      throw lost();
    };
    const both = moving(seen(from, { append }), to, { pollMs: 10 });
    const marked = { ...batch, producer: { id: "p", epoch: 0, sequence: 0 } };
    await assert.rejects(both.messages.append(marked), /reply was lost/);
    await moveTopic({ from, to, topic, pollMs: 5 });
    await both.messages.describe(topic);
    answers = true;
    assert.deepEqual(await both.messages.append(marked), [0n]);
    assert.equal(await storedCount(to), 1n);
    const next = { ...batch, producer: { id: "p", epoch: 0, sequence: 1 } };
    assert.deepEqual(await both.messages.append(next), [1n]);
    assert.equal(await storedCount(to), 2n);
  },
);

test("a batch that was not stored before the topic left is stored on the other engine", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  let reaches = false;
  const append: MessageEngine["append"] = async (given) => {
    if (!reaches) throw lost();
    return await from.messages.append(given);
  };
  const both = moving(seen(from, { append }), to, { pollMs: 10 });
  const marked = { ...batch, producer: { id: "p", epoch: 0, sequence: 0 } };
  await assert.rejects(both.messages.append(marked), /reply was lost/);
  await moveTopic({ from, to, topic, pollMs: 5 });
  await both.messages.describe(topic);
  // Only the engine that was left knows.
  await assert.rejects(both.messages.append(marked), /reply was lost/);
  reaches = true;
  assert.deepEqual(await both.messages.append(marked), [0n]);
  assert.equal(await storedCount(to), 1n);
});

test(
  "a member that joins where the topic was, because it was held up meanwhile, gets its lanes where the topic is",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to } = parts;
    await from.messages.append(batch);
    const asked = Promise.withResolvers<void>();
    const arrives = Promise.withResolvers<void>();
    const join: MessageEngine["join"] = async (...parameters) => {
      asked.resolve();
      await arrives.promise;
      return await from.messages.join(...parameters);
    };
    const both = moving(seen(from, { join }), to, { pollMs: 10 });
    const joining = both.messages.join(topic, "billing", { sessionMs: 5_000, revokeMs: 5_000, windowMax: 10 });
    await asked.promise;
    await moveTopic({ from, to, topic, pollMs: 5 });
    arrives.resolve();
    const member = await joining;
    const lane = await member.nextLane();
    const [stored] = await lane.fetch(1);
    await lane.commit({ settled: [stored!.position] });
    const lagOf = async ({ messages }: MessagingEngine) => (await messages.describe(topic)).groups[0]!.lanes[0]!.lag;
    assert.equal(await lagOf(to), 0);
    assert.equal(await lagOf(from), 1);
    await member.leave();
  },
);

test(
  "what falls due while its topic leaves, and is handled there, does not come again where it arrives",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to } = parts;
    await from.messages.declare(topic, { partitions: 1, groups: ["mail"] });
    const both = moving(from, to, { pollMs: 10 });
    const dueAt = from.world.clock.now() + 200;
    await from.messages.append({ ...batch, messages: [{ ...batch.messages[0]!, dueAt }] });
    const member = await from.messages.join(topic, "billing", { sessionMs: 5_000, revokeMs: 5_000, windowMax: 10 });
    const lane = await member.nextLane();
    // Its copy is under way until the progress of both groups has been read.
    const arrives = Promise.withResolvers<void>();
    let describedCount: number | undefined;
    const source = seen(from, {
      join: async (...parameters) => {
        const membership = await from.messages.join(...parameters);
        if (parameters[1] === "billing") describedCount = 0;
        return membership;
      },
      describe: async (name) => {
        if (describedCount !== undefined) describedCount += 1;
        if (describedCount === 2) arrives.resolve();
        return await from.messages.describe(name);
      },
    });
    const target = seen(to, {
      append: async (given) => {
        await arrives.promise;
        return await to.messages.append(given);
      },
      join: async (...parameters) => {
        if (parameters[1] === "billing") arrives.resolve();
        return await to.messages.join(...parameters);
      },
    });
    const move = moveTopic({ from: source, to: target, topic, pollMs: 5 });
    const [stored] = await lane.fetch(1);
    await lane.commit({ settled: [stored!.position] });
    await member.leave();
    await move;
    const { groups } = await both.messages.describe(topic);
    const lags = new Map(groups.map(({ group, lanes }) => [group, lanes[0]!.lag]));
    assert.deepEqual(
      lags,
      new Map([
        ["billing", 0],
        ["mail", 1],
      ]),
    );
  },
);

test(
  "a delayed message that follows comes once, though the move died when it had stored its copy",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to } = parts;
    const dueAt = from.world.clock.now() + 300;
    await from.messages.append({ ...batch, messages: [{ ...batch.messages[0]!, dueAt }] });
    const death = new AbortController();
    const target = seen(to, {
      append: async (given) => {
        const positions = await to.messages.append(given);
        death.abort(new Error("dies"));
        // Nobody hears of it: it is not settled where it was.
        throw death.signal.reason ?? positions;
      },
    });
    await assert.rejects(moveTopic({ from, to: target, topic, pollMs: 5, signal: death.signal }), /dies/);
    assert.equal(await storedCount(to), 1n);
    await moveTopic({ from, to, topic, pollMs: 5 });
    assert.equal(await storedCount(to), 1n);
  },
);

test(
  "what fell due and was handled as its topic left is settled behind what was published where it arrives",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to } = parts;
    const both = moving(from, to, { pollMs: 10 });
    const dueAt = from.world.clock.now() + 1_500;
    await from.messages.append({ ...batch, messages: [{ ...batch.messages[0]!, dueAt }] });
    const member = await from.messages.join(topic, "billing", { sessionMs: 5_000, revokeMs: 5_000, windowMax: 10 });
    const lane = await member.nextLane();
    let published: Promise<unknown> | undefined;
    const target = seen(to, {
      append: async (given) => {
        await published;
        return await to.messages.append(given);
      },
    });
    const onProgress = ({ stage }: { readonly stage: string }): void => {
      if (stage === "copied") published ??= both.messages.append(batch);
    };
    const move = moveTopic({ from, to: target, topic, pollMs: 5, onProgress });
    const [stored] = await lane.fetch(1);
    await lane.commit({ settled: [stored!.position] });
    await member.leave();
    await move;
    assert.equal(await storedCount(to), 2n);
    const [billing] = (await to.messages.describe(topic)).groups;
    assert.equal(billing!.lanes[0]!.lag, 1, "what was published there");
  },
);
