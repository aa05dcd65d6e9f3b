import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../../../contracts/errors.ts";
import type { Batch, JoinOptions, Membership, MessageEngine, NewMessage } from "../../../contracts/messages.ts";
import { simulatedWorld } from "../../../simulation/index.ts";
import type { World } from "../../../world/world.ts";
import { memory } from "../../embedded/index.ts";
import { Later, laterBounds } from "./later.ts";
import { keeperGroup, laterName, laterPlaceOf } from "./later-names.ts";
import type { LaterBounds, LaterStore, LaterTopic } from "./later-store.ts";

const orders: LaterTopic = { name: "orders", number: 7, partitions: 1 };

/** Topics of the embedded engine in the place of topics of one that does not delay. */
class EmbeddedLaterStore implements LaterStore {
  readonly world: World;
  readonly members: Membership[] = [];
  /** Stands between the keeper and the topic. */
  deliverBy = (apply: () => Promise<readonly (bigint | undefined)[]>) => apply();
  keptCount = 0;
  /** Whether somebody has deleted what the topic stands on. */
  isDeleted = false;
  /** Stands before looking whether the topic is there. */
  look = async () => {};
  readonly #messages: MessageEngine;
  /** Of all processes. */
  readonly #hears: Set<() => void>;

  constructor(world: World, messages: MessageEngine, hears: Set<() => void>) {
    this.#hears = hears;
    this.world = world;
    this.#messages = messages;
  }

  now(): number {
    return this.world.clock.now();
  }

  async isThere({ name }: LaterTopic): Promise<boolean> {
    await this.look();
    return !this.isDeleted && (await this.#messages.topics()).includes(name);
  }

  async levels({ number }: LaterTopic): Promise<readonly number[]> {
    const places = (await this.#messages.topics()).map(laterPlaceOf);
    return places.flatMap((place) => (place?.topic === number ? [place.level] : []));
  }

  async make({ number, partitions }: LaterTopic, level: number): Promise<void> {
    await this.#messages.declare(laterName({ topic: number, level }), { partitions, groups: [keeperGroup] });
    for (const hear of this.#hears) hear();
  }

  async remove({ number }: LaterTopic, level: number): Promise<void> {
    await this.#messages.remove(laterName({ topic: number, level }));
  }

  append(_topic: LaterTopic, batch: Batch) {
    return this.#messages.append(batch);
  }

  deliver(_topic: LaterTopic, batch: Batch) {
    return this.deliverBy(() => this.#messages.append(batch));
  }

  keep({ number }: LaterTopic, level: number, batch: Omit<Batch, "topic">) {
    this.keptCount += batch.messages.length;
    return this.#messages.append({ ...batch, topic: laterName({ topic: number, level }) });
  }

  async join({ number }: LaterTopic, level: number, options: JoinOptions): Promise<Membership> {
    const member = await this.#messages.join(laterName({ topic: number, level }), keeperGroup, options);
    this.members.push(member);
    return member;
  }

  listen(_topic: LaterTopic, hear: () => void): () => void {
    this.#hears.add(hear);
    return () => this.#hears.delete(hear);
  }
}

interface Bench {
  readonly world: World;
  readonly messages: MessageEngine;
  /** Another process. */
  keeping(bounds?: Partial<LaterBounds>): { readonly store: EmbeddedLaterStore; readonly later: Later };
  /** When each text came, in their order. */
  readonly arrived: { readonly text: string; readonly at: number }[];
  until(count: number): Promise<void>;
}

async function onBench(work: (bench: Bench) => Promise<void>): Promise<void> {
  const simulation = simulatedWorld({ seed: 1 });
  await simulation.run(async () => {
    const { world } = simulation;
    const { messages, close } = await memory({ world }).then((engine) => ({
      messages: engine.messages,
      close: () => engine.close(),
    }));
    await messages.declare("orders", { partitions: 1, groups: ["group"] });
    const member = await messages.join("orders", "group", { sessionMs: 10_000, revokeMs: 1_000, windowMax: 100 });
    const lane = await member.nextLane();
    const arrived: Bench["arrived"][number][] = [];
    const consuming = (async () => {
      for (;;) {
        for (const { body, position } of await lane.fetch(100)) {
          arrived.push({ text: Buffer.from(body).toString(), at: world.clock.now() });
          await lane.commit({ settled: [position] });
        }
      }
    })().catch(() => undefined);
    const hears = new Set<() => void>();
    await work({
      world,
      messages,
      arrived,
      keeping(bounds = {}) {
        const store = new EmbeddedLaterStore(world, messages, hears);
        return { store, later: new Later(store, { ...laterBounds, ...bounds }) };
      },
      async until(count) {
        for (let turn = 0; arrived.length < count; turn++) {
          assert.ok(turn < 100_000, `only ${arrived.length} of ${count} came`);
          await world.timers.sleep(100);
        }
      },
    });
    await close();
    await consuming;
  });
}

function delayed(text: string, dueAt: number): NewMessage {
  return { body: Buffer.from(text), dueAt };
}

function batch(...messages: readonly NewMessage[]): Batch {
  return { topic: "orders", partition: 0, messages };
}

for (const [what, bounds] of [
  ["messages", { windowMax: 8 }],
  ["bytes", { bytesMax: 60 }],
] as const) {
  test(`however many more wait than the bound of ${what} lets be looked at, each comes once, never early and soon`, () =>
    onBench(async ({ world, keeping, arrived, until }) => {
      const { later, store } = keeping(bounds);
      const dueAt = new Map<string, number>();
      const add = async (text: string, delayMs: number) => {
        dueAt.set(text, world.clock.now() + delayMs);
        await later.append(orders, batch(delayed(text, dueAt.get(text)!)));
      };
      for (let i = 0; i < 200; i++) await add(`m${i}`, 20_000 + Math.floor(world.random.float() * 3_600_000));
      // What comes last is due first.
      await add("soon", 6_000);
      await until(201);
      assert.deepEqual(arrived.map(({ text }) => text).toSorted(), [...dueAt.keys()].toSorted());
      for (const { text, at } of arrived) {
        const lateMs = at - dueAt.get(text)!;
        assert.ok(lateMs >= 0 && lateMs <= 4_000, `${text} came ${lateMs} ms late`);
      }
      assert.equal(arrived[0]!.text, "soon");
      // Each hop leaves at most three quarters of the way.
      assert.ok(store.keptCount > 400 && store.keptCount < 201 * 40, `${store.keptCount} were kept`);
    }));
}

test("one that waits for long holds nobody up, however many pass it by", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const { later } = keeping({ windowMax: 8 });
    await later.append(orders, batch(delayed("late", world.clock.now() + 3_600_000)));
    for (let i = 0; i < 100; i++) {
      await later.append(orders, batch(delayed(`m${i}`, world.clock.now() + 100)));
      await until(i + 1);
    }
    assert.ok(arrived.every(({ text }) => text !== "late"));
    await until(101);
    assert.equal(arrived.at(-1)!.text, "late");
  }));

test("what an owner had copied and not settled when it vanished is not copied again", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const [first, second] = [keeping(), keeping()];
    const copied = Promise.withResolvers<void>();
    first.store.deliverBy = async (apply) => {
      await apply();
      copied.resolve();
      return new Promise<never>(() => undefined);
    };
    const dueAt = world.clock.now() + 1_000;
    await first.later.append(orders, batch(delayed("a", dueAt), delayed("b", dueAt), delayed("c", dueAt + 5_000)));
    await copied.promise;
    await first.store.members[0]!.abandon!();
    second.later.consumed(orders);
    await until(3);
    await world.timers.sleep(60_000);
    assert.deepEqual(
      arrived.map(({ text }) => text),
      ["a", "b", "c"],
    );
  }));

test("what cannot be appended is tried again until it can", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const { store, later } = keeping();
    let failures = 0;
    store.deliverBy = async (apply) => {
      failures += 1;
      if (failures === 1) throw new TenonError("unavailable", "it is not there");
      if (failures === 2) throw new TenonError("overloaded", "it is full");
      // Nobody knows that this one was stored.
      if (failures === 3) throw await apply().then(() => new TenonError("unavailable", "?", { outcome: "unknown" }));
      return apply();
    };
    await later.append(orders, batch(delayed("a", world.clock.now() + 1_000)));
    await until(1);
    await world.timers.sleep(60_000);
    assert.deepEqual([arrived.length, failures], [1, 4]);
  }));

test("what the engine does not remember of the keeper's copies is copied by another producer", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const { store, later } = keeping();
    let failures = 0;
    store.deliverBy = async (apply) => {
      failures += 1;
      // The copy that is under way, and the same one by the lane's next owner.
      if (failures <= 2) throw new TenonError("conflict", "a sequence beyond the next");
      return apply();
    };
    await later.append(orders, batch(delayed("a", world.clock.now() + 1_000), delayed("b", world.clock.now() + 2_000)));
    await until(2);
    await world.timers.sleep(60_000);
    assert.deepEqual([arrived.map(({ text }) => text), failures], [["a", "b"], 4]);
  }));

test("a message whose producer stores it once more, as it did not hear of the first time, comes once", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const { store, later } = keeping();
    const { messages } = batch(delayed("a", world.clock.now() + 1_000), delayed("b", world.clock.now() + 2_000));
    const marked = { ...batch(...messages), producer: { id: "p", epoch: 0, sequence: 0 } };
    // The topic itself has no part in it here.
    store.append = async () => [undefined, undefined];
    for (let times = 0; times < 3; times++) await later.append(orders, marked);
    await later.append(orders, { ...marked, producer: { ...marked.producer, sequence: 2 } });
    await until(4);
    await world.timers.sleep(60_000);
    assert.deepEqual(arrived.map(({ text }) => text).toSorted(), ["a", "a", "b", "b"]);
  }));

test("what is delayed goes with a topic that is gone, also when it was made while that one was being removed", () =>
  onBench(async ({ world, messages, keeping }) => {
    const { later } = keeping();
    const gone = { ...orders, name: "gone", number: 8 };
    await assert.rejects(later.append(gone, { ...batch(delayed("a", world.clock.now() + 1)), topic: "gone" }), {
      code: "not-found",
    });
    await world.timers.sleep(5_000);
    assert.deepEqual(await messages.topics(), ["orders"]);
    await later.append(orders, batch(delayed("a", world.clock.now() + 1_000)));
    assert.equal((await messages.topics()).length, 2);
    await messages.remove("orders");
    await world.timers.sleep(5_000);
    assert.deepEqual(await messages.topics(), []);
  }));

for (const code of ["conflict", "unavailable"] as const) {
  test(`what is delayed goes with a topic that somebody deleted behind the engine's back, where appending fails as ${code}`, () =>
    onBench(async ({ world, messages, keeping }) => {
      const { store, later } = keeping();
      await later.append(orders, batch(delayed("a", world.clock.now() + 1_000)));
      store.isDeleted = true;
      store.deliverBy = async () => {
        throw new TenonError(code, "not this one");
      };
      await world.timers.sleep(60_000);
      assert.deepEqual(await messages.topics(), ["orders"]);
    }));
}

test("a keeper that ended begins anew also when nobody can tell at first whether the topic is there", () =>
  onBench(async ({ world, keeping, until }) => {
    const { store, later } = keeping();
    await later.append(orders, batch(delayed("a", world.clock.now() + 30_000)));
    let failures = 0;
    store.look = async () => {
      failures += 1;
      if (failures <= 2) throw new TenonError("unavailable", "nobody answers");
    };
    await world.timers.sleep(1_000);
    // As if its membership had ended.
    for (const member of store.members) await member.leave();
    later.gone(orders, 0);
    await until(1);
    assert.equal(failures, 3);
  }));

test("what was being sent on when its owner vanished is looked at when it is due, however late the next owner comes", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const bounds = { windowMax: 4, unitMs: 1 };
    const [first, second] = [keeping(bounds), keeping(bounds)];
    const sentOn = Promise.withResolvers<void>();
    const keep = first.store.keep.bind(first.store);
    first.store.keep = (topic, level, of) => {
      if (level === 0) return keep(topic, level, of);
      sentOn.resolve();
      return new Promise<never>(() => undefined);
    };
    const dueAt = world.clock.now() + 1_200_000;
    for (let i = 0; i < 6; i++) await first.later.append(orders, batch(delayed(`m${i}`, dueAt)));
    await sentOn.promise;
    for (const member of first.store.members) await member.abandon!();
    // Level 10 takes 1,049 s here, more than is left then.
    await world.timers.sleep(800_000);
    second.later.consumed(orders);
    await until(6);
    for (const { text, at } of arrived) assert.ok(at - dueAt <= 4_000, `${text} came ${at - dueAt} ms late`);
  }));

test("something may be due all the time: what is behind the bound is looked at as well", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const { later, store } = keeping({ windowMax: 100, unitMs: 100 });
    // By then the next one is due.
    store.deliverBy = async (apply) => {
      const answers = await apply();
      await world.timers.sleep(25);
      return answers;
    };
    const start = world.clock.now() + 20;
    const all = Array.from({ length: 1_000 }, (_, i) => delayed(`m${i}`, start + i * 20));
    await later.append(orders, batch(...all.slice(0, 90)));
    await until(20);
    await later.append(orders, batch(...all.slice(90)));
    const dueAt = world.clock.now() + 1_000;
    await later.append(orders, batch(delayed("soon", dueAt)));
    await until(1_001);
    const { at } = arrived.find(({ text }) => text === "soon")!;
    assert.ok(at - dueAt < 8_000, `it came ${at - dueAt} ms late`);
  }));

test("a level that was made anew is kept by those who kept it before, and what is copied there is taken for nothing else", () =>
  onBench(async ({ world, messages, keeping, arrived, until }) => {
    const [first, second] = [keeping(), keeping()];
    const level = laterName({ topic: orders.number, level: 0 });
    await first.later.append(orders, batch(delayed("one", world.clock.now() + 1_000)));
    second.later.consumed(orders);
    await until(1);
    // As by a removal that came no further.
    await messages.remove(level);
    await world.timers.sleep(10_000);
    await first.later.append(orders, batch(delayed("two", world.clock.now() + 30_000)));
    await world.timers.sleep(5_000);
    for (const member of first.store.members) await member.abandon!();
    await until(2);
    assert.deepEqual(
      arrived.map(({ text }) => text),
      ["one", "two"],
    );
  }));

test("a large batch of small messages is kept in parts", () =>
  onBench(async ({ world, keeping, arrived, until }) => {
    const { later } = keeping();
    const dueAt = world.clock.now() + 1_000;
    const body = Buffer.alloc(120);
    // Within the engine's limit as they are, and not with what each bears while it waits.
    const messages = Array.from({ length: 100_000 }, () => ({ body, dueAt }));
    await later.append(orders, batch(...messages));
    await until(messages.length);
    assert.equal(arrived.length, messages.length);
  }));

test("nothing is kept in a level that somebody else is only making, before its group is there", () =>
  onBench(async ({ world, messages, keeping, arrived, until }) => {
    const [first, second] = [keeping(), keeping()];
    const made = Promise.withResolvers<void>();
    const make = first.store.make.bind(first.store);
    first.store.make = async (topic, level) => {
      await messages.declare(laterName({ topic: topic.number, level }), { partitions: topic.partitions });
      await made.promise;
      await make(topic, level);
    };
    const join = second.store.join.bind(second.store);
    second.store.join = (...asked) => made.promise.then(() => join(...asked));
    const dueAt = world.clock.now() + 5_000;
    const slow = first.later.append(orders, batch(delayed("slow", dueAt)));
    second.later.consumed(orders);
    await world.timers.sleep(1_000);
    await second.later.append(orders, batch(delayed("fast", dueAt)));
    made.resolve();
    await slow;
    await until(2);
    assert.deepEqual(arrived.map(({ text }) => text).toSorted(), ["fast", "slow"]);
  }));
