import assert from "node:assert/strict";
import { after, test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { MessageEngine } from "../contracts/messages.ts";
import { type EmbeddedEngine, memory } from "../engines/embedded/index.ts";
import { Audit, orders, until } from "./fixtures.test.ts";
import { type MessagingEngine, type MoveProgress, moveTopic, moving } from "./index.ts";

const limits = { timeout: 60_000 };
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const declaration = { partitions: 4, groups: ["billing"] };

async function engines(): Promise<{ from: EmbeddedEngine; to: EmbeddedEngine } & AsyncDisposable> {
  const [from, to] = [await memory(), await memory()];
  await from.messages.declare("orders", declaration);
  return {
    from,
    to,
    async [Symbol.asyncDispose]() {
      await Promise.all([from.close(), to.close()]);
    },
  };
}

function refused(code: string): (error: unknown) => boolean {
  return (error) => error instanceof TenonError && error.code === code;
}

for (const stage of ["copying", "closing", "copied", "moved", "forwarding"] as const) {
  test(`a move that is interrupted when ${stage} goes on when it is called again`, limits, async () => {
    await using parts = await engines();
    const { from, to } = parts;
    const both = moving(from, to, { pollMs: 10 });
    const audit = new Audit();
    await using target = orders(both);
    await using consumer = await target.consume("billing", (message) => audit.handled("billing", message));
    let publishing = true;
    const publisher = (async () => {
      for (let count = 0; publishing; count++) {
        await audit.publish(target, `k${count % 9}`);
        if (count % 5 === 0) await both.world.timers.sleep(1);
      }
    })();
    await until(both, () => audit.publishedCount >= 1_000);
    await audit.publish(target, "delayed", { delayMs: 2_000 });
    const interruption = new AbortController();
    const onProgress = (progress: MoveProgress): void => {
      if (progress.stage === stage) interruption.abort(new Error("interrupted"));
    };
    const options = { from, to, topic: "orders", pollMs: 5 };
    await assert.rejects(moveTopic({ ...options, onProgress, signal: interruption.signal }), /interrupted/);
    await moveTopic(options);
    const count = audit.publishedCount;
    await until(both, () => audit.publishedCount >= count + 100);
    publishing = false;
    await publisher;
    await until(both, () => audit.handledCount("billing") === audit.publishedCount);
    audit.verify("billing");
    assert.ok((await to.messages.describe("orders")).partitions.some(({ next }) => next > 0n));
    await moveTopic(options);
    void consumer;
  });
}

/** The engine with some of its calls replaced. */
function altered(engine: MessagingEngine, changes: (sound: MessageEngine) => Partial<MessageEngine>): MessagingEngine {
  const { messages, world } = engine;
  const calls = changes(messages);
  return {
    world,
    messages: new Proxy(messages, {
      get(target, name) {
        const value: unknown = Reflect.get(calls, name) ?? Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    }),
  };
}

test(
  "a message that the other engine cannot take ends the move, and publishers go on where they are",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to } = parts;
    const audit = new Audit();
    await using target = orders(from);
    for (let count = 0; count < 50; count++) await audit.publish(target, `k${count % 9}`);
    const narrow = altered(to, (sound) => ({
      async append(batch) {
        const isSealed = (await from.messages.describe("orders")).sealed !== undefined;
        if (isSealed) throw new TenonError("invalid", "a message exceeds the limit");
        return await sound.append(batch);
      },
    }));
    let sealed = false;
    const onProgress = ({ stage }: MoveProgress): void => {
      sealed ||= stage === "closing";
    };
    // What comes between the last look and the seal is copied behind it.
    const late = altered(from, (sound) => ({
      async declare(topic, { sealed: note, ...rest }) {
        if (note?.includes("closing")) await audit.publish(target, "late");
        await sound.declare(topic, { ...rest, sealed: note });
      },
    }));
    await assert.rejects(
      moveTopic({ from: late, to: narrow, topic: "orders", pollMs: 5, onProgress }),
      refused("invalid"),
    );
    assert.ok(sealed);
    assert.equal((await from.messages.describe("orders")).sealed, undefined, "the topic is open again");
    await audit.publish(target, "k1");
    await using consumer = await target.consume("billing", (message) => audit.handled("billing", message));
    await until(from, () => audit.handledCount("billing") === audit.publishedCount);
    audit.verify("billing");
    void consumer;
  },
);

test("a group that is declared while its topic is copied is carried over from its own beginning", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  const audit = new Audit();
  await using target = orders(from);
  for (let count = 0; count < 50; count++) await target.publish({ key: "old", value: count }, { key: "old" });
  const lagOfMove = async (): Promise<number> => {
    const { groups } = await from.messages.describe("orders");
    return groups.find(({ group }) => group === "tenon..move")!.lanes.reduce((sum, { lag }) => sum + lag, 0);
  };
  const lateGroup = altered(from, (sound) => ({
    async declare(topic, { sealed, ...rest }) {
      if (sealed?.includes("closing")) {
        await sound.declare(topic, { partitions: 4, groups: ["late"] });
        for (let count = 0; count < 50; count++) await audit.publish(target, "new");
        await until(from, async () => (await lagOfMove()) === 0);
      }
      await sound.declare(topic, { ...rest, sealed });
    },
  }));
  await moveTopic({ from: lateGroup, to, topic: "orders", pollMs: 5 });
  await using there = orders(to);
  await using consumer = await there.consume("late", (message) => audit.handled("late", message));
  await until(to, () => audit.handledCount("late") === 50);
  audit.verify("late");
  void consumer;
});

test("a group that ends with its member is not carried over", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  await using target = orders(from);
  await using broadcast = await target.broadcast(() => undefined);
  void broadcast;
  await target.publish({ key: "k", value: 0 }, { key: "k" });
  await moveTopic({ from, to, topic: "orders", pollMs: 5 });
  assert.deepEqual(
    (await to.messages.describe("orders")).groups.map(({ group }) => group),
    ["billing"],
  );
});

test("what cannot be moved is refused before anything is done", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  const options = { from, to, topic: "orders" };
  await assert.rejects(moveTopic({ ...options, topic: "missing" }), refused("not-found"));
  await assert.rejects(moveTopic({ ...options, to: from }), refused("invalid"));
  await assert.rejects(moveTopic({ ...options, lagMax: Number.NaN }), refused("invalid"));
  const withoutSeal = altered(from, (sound) => ({ capabilities: { ...sound.capabilities, seal: false } }));
  await assert.rejects(moveTopic({ ...options, from: withoutSeal }), refused("unsupported"));
  await using used = orders(to);
  await used.publish({ key: "k", value: 0 }, { key: "k" });
  await assert.rejects(moveTopic(options), refused("conflict"));
  await to.messages.remove("orders");
  await from.messages.declare("orders", { partitions: 4, sealed: "closed for the year" });
  await assert.rejects(moveTopic(options), refused("denied"));
  assert.deepEqual(await to.messages.topics(), []);
  assert.equal((await from.messages.describe("orders")).sealed, "closed for the year");
});

test("history that is only kept does not count against a topic's limit because the topic moves", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  const limit = { partitions: 4, groups: ["billing"], countMax: 100, retentionMs: 3_600_000 };
  await from.messages.declare("orders", limit);
  const audit = new Audit();
  const both = moving(from, to, { pollMs: 10 });
  await using target = orders(both);
  await using consumer = await target.consume("billing", (message) => audit.handled("billing", message));
  const settled = async (): Promise<boolean> => {
    const { groups } = await from.messages.describe("orders");
    return groups.every(({ lanes }) => lanes.every(({ lag }) => lag === 0));
  };
  for (let round = 0; round < 4; round++) {
    for (let count = 0; count < 60; count++) await audit.publish(target, `k${count % 9}`);
    await until(from, settled);
  }
  const holds = altered(to, () => ({
    append: () => Promise.reject(new TenonError("unavailable", "the other engine is away")),
  }));
  const interruption = new AbortController();
  const options = { from, to: holds, topic: "orders", pollMs: 5, signal: interruption.signal, lagMax: 0 };
  const move = assert.rejects(moveTopic(options), /interrupted/);
  await until(from, async () => {
    const { groups } = await from.messages.describe("orders");
    return groups.some(({ group }) => group === "tenon..move");
  });
  await audit.publish(target, "k0");
  interruption.abort(new Error("interrupted"));
  await move;
  await moveTopic({ from, to, topic: "orders", pollMs: 5 });
  await audit.publish(target, "k0");
  await until(to, () => audit.handledCount("billing") === audit.publishedCount);
  audit.verify("billing");
  assert.equal((await to.messages.describe("orders")).countMax, 100);
  void consumer;
});

test(
  "a group that is new while publishers have gone ahead misses nothing that is published from then on",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to } = parts;
    await from.messages.declare("orders", { partitions: 4, sealed: "tenon: being moved, copied" });
    await to.messages.declare("orders", { partitions: 4, groups: ["billing"] });
    const audit = new Audit();
    const both = moving(from, to, { pollMs: 5 });
    await using target = orders(both);
    await using consumer = await target.consume("new", (message) => audit.handled("new", message));
    await audit.publish(target, "k");
    await from.messages.declare("orders", { partitions: 4, sealed: "tenon: moved, fences above 0" });
    await until(to, () => audit.handledCount("new") === 1);
    audit.verify("new");
    void consumer;
  },
);

test("a move that stood still while another came to the end neither seals nor opens the topic", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  const [reached, goesOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const stands = altered(from, (sound) => ({
    async describe(topic) {
      const description = await sound.describe(topic);
      const lanes = description.groups.find(({ group }) => group === "tenon..move")?.lanes ?? [];
      if (lanes.length > 0 && lanes.every(({ lag }) => lag === 0)) {
        reached.resolve();
        await goesOn.promise;
      }
      return description;
    },
  }));
  const first = moveTopic({ from: stands, to, topic: "orders", pollMs: 5 }).catch((error: unknown) => error);
  await reached.promise;
  // Its session ends.
  await from.messages.removeGroup("orders", "tenon..move");
  await from.messages.declare("orders", { partitions: 4, sealed: "tenon: moved, fences above 7" });
  goesOn.resolve();
  assert.ok((await first) instanceof TenonError);
  assert.equal((await from.messages.describe("orders")).sealed, "tenon: moved, fences above 7");
});
