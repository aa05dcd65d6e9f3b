import assert from "node:assert/strict";
import { after, test } from "node:test";
import { TenonError } from "../contracts/errors.ts";
import type { Lane, MessageEngine } from "../contracts/messages.ts";
import { type EmbeddedEngine, memory } from "../engines/embedded/index.ts";
import { Audit, type Numbered, orders, until } from "./fixtures.test.ts";
import { type MoveProgress, moveTopic, moving } from "./index.ts";

const limits = { timeout: 60_000 };
// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

async function engines(): Promise<
  { from: EmbeddedEngine; to: EmbeddedEngine; both: ReturnType<typeof moving> } & AsyncDisposable
> {
  const [from, to] = [await memory(), await memory()];
  return {
    from,
    to,
    both: moving(from, to, { pollMs: 10 }),
    async [Symbol.asyncDispose]() {
      await Promise.all([from.close(), to.close()]);
    },
  };
}

/** The engine itself, with something that happens before each call of one method. */
function observing(engine: EmbeddedEngine, method: keyof MessageEngine, before: () => Promise<void> | void) {
  const messages = new Proxy(engine.messages, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (name !== method) return value.bind(target);
      return async (...args: readonly unknown[]) => {
        await before();
        return await value.apply(target, args);
      };
    },
  });
  return { messages, world: engine.world };
}

async function handledOne(lane: Lane): Promise<Numbered> {
  const [message] = await lane.fetch(1);
  await lane.commit({ settled: [message!.position] });
  return JSON.parse(Buffer.from(message!.body).toString()) as Numbered;
}

test(
  "a topic moves while it is published to and consumed: nothing is lost, doubled or out of order",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to, both } = parts;
    const audit = new Audit();
    await from.messages.declare("orders", { partitions: 4, groups: ["billing", "statistics", "later"] });
    await using target = orders(both);
    let failing = 0;
    await using billing = await target.consume(
      "billing",
      async (message) => {
        failing += 1;
        if (failing % 7 === 0) throw new Error("not now");
        await both.world.timers.sleep(message.value % 3);
        audit.handled("billing", message);
      },
      { retry: { delayMs: 5 } },
    );
    await using statistics = await target.consume("statistics", (message) => audit.handled("statistics", message));
    let publishing = true;
    const publishers = Array.from({ length: 8 }, async (_, publisher) => {
      for (let count = 0; publishing; count++) {
        await audit.publish(target, `${publisher}-${count % 5}`);
        // An engine in memory answers without letting anybody else have a turn.
        await both.world.timers.sleep(0);
      }
    });
    await until(both, () => audit.publishedCount >= 2_000);
    const stages = new Set<string>();
    const report = await moveTopic({
      from,
      to,
      topic: "orders",
      pollMs: 5,
      onProgress: ({ stage }) => stages.add(stage),
    });
    const count = audit.publishedCount;
    await until(both, () => audit.publishedCount >= count + 500);
    publishing = false;
    await Promise.all(publishers);
    await using late = await target.consume("later", (message) => audit.handled("later", message));
    for (const group of ["billing", "statistics", "later"]) {
      await until(both, () => audit.handledCount(group) === audit.publishedCount);
      audit.verify(group);
    }
    assert.deepEqual(report.topics[0], "orders");
    assert.deepEqual([...stages], ["copying", "closing", "copied", "moved", "forwarding"]);
    await until(both, async () =>
      (await to.messages.describe("orders")).groups.every(({ lanes }) => lanes.every(({ lag }) => lag === 0)),
    );
    assert.equal((await from.messages.describe("orders")).groups.length, 3, "the group of the move is gone");
    void [billing, statistics, late];
  },
);

test(
  "what a group has settled, and what it holds with its attempts, is carried over; fences go on growing",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to, both } = parts;
    const audit = new Audit();
    await from.messages.declare("orders", { partitions: 4, groups: ["billing"] });
    await using target = orders(both);
    const seen: { key: string; value: number; attempt: number; fence: bigint }[] = [];
    let failing = true;
    const consume = () =>
      target.consume(
        "billing",
        async (message: Numbered, { attempt, fence }) => {
          seen.push({ ...message, attempt, fence });
          if (failing && message.value % 10 === 0) throw new Error("not now");
        },
        { retry: { delayMs: 50, delayMsMax: 50 } },
      );
    // Each grant has a greater fence.
    for (let count = 0; count < 5; count++) await (await consume()).close();
    const first = await consume();
    for (let count = 0; count < 400; count++) await audit.publish(target, `k${count}`.slice(0, 2));
    await until(both, () => seen.some(({ attempt }) => attempt >= 3));
    await first.close();
    failing = false;
    const before = new Map(seen.map((each) => [`${each.key}/${each.value}`, each]));
    const highest = seen.reduce((max, { fence }) => (fence > max ? fence : max), 0n);
    seen.length = 0;
    await moveTopic({ from, to, topic: "orders", pollMs: 5 });
    await using second = await consume();
    await until(both, async () =>
      (await to.messages.describe("orders")).groups[0]!.lanes.every(({ lag }) => lag === 0),
    );
    for (const { key, value, attempt, fence } of seen) {
      const former = before.get(`${key}/${value}`);
      assert.ok(fence > highest);
      assert.equal(attempt, former === undefined ? 1 : former.attempt + 1, `${key}/${value}`);
      assert.ok(former === undefined || value % 10 === 0, `${key}/${value} was settled and came again`);
    }
    void second;
  },
);

test("a move that is interrupted while publishers wait lets them go on, and consumers with them", limits, async () => {
  await using parts = await engines();
  const { from, to, both } = parts;
  const audit = new Audit();
  await from.messages.declare("orders", { partitions: 4, groups: ["billing"] });
  await using target = orders(both);
  await using billing = await target.consume("billing", (message) => audit.handled("billing", message));
  for (let count = 0; count < 100; count++) await audit.publish(target, `k${count % 7}`);
  const interrupt = new AbortController();
  // The end of those who publish is known, and has to be waited for.
  const onProgress = ({ stage }: MoveProgress) => stage === "closing" && interrupt.abort(new Error("interrupted"));
  await assert.rejects(
    moveTopic({ from, to, topic: "orders", pollMs: 5, signal: interrupt.signal, onProgress }),
    /interrupted/,
  );
  assert.equal((await from.messages.describe("orders")).sealed, undefined);
  for (let count = 0; count < 100; count++) await audit.publish(target, `k${count % 7}`);
  await until(both, () => audit.handledCount("billing") === audit.publishedCount);
  await moveTopic({ from, to, topic: "orders", pollMs: 5 });
  for (let count = 0; count < 100; count++) await audit.publish(target, `k${count % 7}`);
  await until(both, () => audit.handledCount("billing") === audit.publishedCount);
  audit.verify("billing");
  void billing;
});

test("consumers stay while publishers are held up, for the move may still be given up", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  let looks = 0;
  const observed = observing(from, "describe", () => {
    looks += 1;
  });
  const both = moving(observed, to, { pollMs: 5 });
  const audit = new Audit();
  await from.messages.declare("orders", { partitions: 4, groups: ["billing", "statistics"] });
  await using target = orders(both);
  await using billing = await target.consume("billing", (message) => audit.handled("billing", message));
  await from.messages.declare("orders", { partitions: 4, sealed: "tenon: being moved, closing" });
  await using statistics = await target.consume("statistics", (message) => audit.handled("statistics", message));
  const before = looks;
  await until(both, () => looks > before + 4);
  await from.messages.declare("orders", { partitions: 4, sealed: "" });
  for (let count = 0; count < 100; count++) await audit.publish(target, `k${count % 7}`);
  for (const group of ["billing", "statistics"]) {
    await until(both, () => audit.handledCount(group) === audit.publishedCount);
    audit.verify(group);
  }
  void [billing, statistics];
});

test(
  "a group that comes while a move copies misses nothing, also when that move is interrupted then",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to, both } = parts;
    const [before, since] = [new Audit(), new Audit()];
    await from.messages.declare("orders", { partitions: 4, groups: ["billing"] });
    await using target = orders(both);
    for (let count = 0; count < 100; count++) await before.publish(target, `before-${count % 7}`);
    const copiedCount = async (): Promise<number> =>
      (await to.messages.describe("orders")).partitions.reduce((sum, { first, next }) => sum + Number(next - first), 0);
    const interrupted = observing(from, "declare", async () => {
      await from.messages.declare("orders", { partitions: 4, groups: ["late"] });
      for (let count = 0; count < 100; count++) await since.publish(target, `since-${count % 7}`);
      await until(both, async () => (await copiedCount()) === 200);
      throw new Error("interrupted");
    });
    await assert.rejects(moveTopic({ from: interrupted, to, topic: "orders", pollMs: 5 }), /interrupted/);
    await moveTopic({ from, to, topic: "orders", pollMs: 5 });
    await using late = await target.consume("late", (message) => since.handled("late", message));
    await until(both, () => since.handledCount("late") >= 100);
    since.verify("late");
    void late;
  },
);

test(
  "a delayed message that is copied behind what was published there is not handled again, and hides nothing",
  limits,
  async () => {
    await using parts = await engines();
    const { from, to, both } = parts;
    const audit = new Audit();
    await from.messages.declare("orders", { partitions: 4, groups: ["billing"] });
    await using target = orders(both);
    await audit.publish(target, "k", { delayMs: 1_000 });
    const options = { sessionMs: 60_000, revokeMs: 60_000, windowMax: 100 };
    const member = await from.messages.join("orders", "billing", options);
    const waits = Promise.withResolvers<void>();
    const onProgress = ({ waitsFor }: MoveProgress) => waitsFor && waits.resolve();
    const moved = moveTopic({ from, to, topic: "orders", pollMs: 5, onProgress });
    await waits.promise;
    await audit.publish(target, "k");
    const lanes: Lane[] = [];
    while (lanes.length < 4) lanes.push(await member.nextLane());
    const handled = await Promise.any(lanes.map(handledOne));
    assert.deepEqual(handled, { key: "k", value: 0 });
    await member.leave();
    await moved;
    audit.handled("billing", handled);
    await using billing = await target.consume("billing", (message) => audit.handled("billing", message));
    await until(both, async () =>
      (await to.messages.describe("orders")).groups[0]!.lanes.every(({ lag }) => lag === 0),
    );
    audit.verify("billing");
    void billing;
  },
);

test("an ordinary publisher is told that the topic has moved", limits, async () => {
  await using parts = await engines();
  const { from, to } = parts;
  await using target = orders(from);
  await target.publish({ key: "k", value: 0 }, { key: "k" });
  await moveTopic({ from, to, topic: "orders" });
  await assert.rejects(
    target.publish({ key: "k", value: 1 }, { key: "k" }),
    (error) => error instanceof TenonError && error.code === "denied",
  );
});
