import assert from "node:assert/strict";
import { test } from "node:test";
import {
  contentOf,
  type EngineContent,
  type Fences,
  messageOf,
  nameOf,
  noteFence,
} from "../../../test/durability/content.ts";
import { History, keyValueChange, type NamedBatch, type NamedChange } from "../../../test/durability/history.ts";
import { TenonError } from "../../contracts/errors.ts";
import type { Lane } from "../../contracts/messages.ts";
import { SimulatedCrash, type Simulation, simulatedWorld } from "../../simulation/index.ts";
import type { World } from "../../world/world.ts";
import { type EmbeddedEngine, type EmbeddedOptions, embedded } from "./index.ts";

const slow = process.env.TENON_SLOW === "1";
/** A prime, so that the operations of the workload's rounds are met in turn. */
const stride = Number(process.env.TENON_FAULT_STRIDE ?? (slow ? 1 : 37));
const directory = "/data/engine";
const partitions = 2;
/** Small enough that a short run seals and cleans several segments. */
const small: EmbeddedOptions = { directory, segmentBytes: 4096, retentionMs: 0, reserveBytes: 3000 };
const deadlineMs = 600_000;

/** What outlives engines and crashes: what was asked for, and what was promised. */
class Record {
  readonly history = new History();
  readonly fences: Fences = new Map();
  #names = 0;

  names(count: number, bytes: number): string[] {
    return Array.from({ length: count }, () => `m${this.#names++}/${bytes}`);
  }
}

/** One call that may fail, but never hang. */
async function within<T>(world: World, what: string, promise: Promise<T>): Promise<T> {
  const controller = new AbortController();
  const late = world.timers.sleep(deadlineMs, { signal: controller.signal }).then(
    () => {
      throw new Error(`${what} hangs`);
    },
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    controller.abort();
  }
}

class Workload {
  readonly #engine: EmbeddedEngine;
  readonly #record: Record;

  constructor(engine: EmbeddedEngine, record: Record) {
    this.#engine = engine;
    this.#record = record;
  }

  async run(): Promise<void> {
    await Promise.all([
      this.declare("orders", ["billing", "archive"]),
      this.declare("later", ["billing"]),
      this.declare("invoices", ["archive"]),
    ]);
    for (let round = 0; round < 5; round++) {
      await Promise.all([
        this.append({ topic: "orders", partition: 0, names: this.#record.names(3, 40) }),
        this.append({ topic: "orders", partition: 1, names: this.#record.names(1 + round, 200) }),
        this.commit([{ type: "add", key: "sum", by: round + 1 }]),
        this.commit([
          { type: "put", key: `key ${round % 3}`, value: `value ${round}`.repeat(1 + 60 * (round % 3)) },
          { type: "put", key: `other ${round}`, value: "x".repeat(1500) },
          { type: "delete", key: `other ${round - 2}` },
        ]),
        this.delay({ topic: "later", partition: 0, names: this.#record.names(4, 100) }, 300 * (round + 1)),
        this.append({ topic: "orders", partition: 0, names: this.#record.names(2, 300) }),
        this.commit([{ type: "put", key: "first", value: `${round}`, ifAbsent: true }]),
        this.commit([
          { type: "add", key: "stock", by: -1, min: -2 },
          { type: "put", key: `reservation ${round}`, value: "1" },
        ]),
      ]);
      await this.consume(round);
      // The cleaner looks every five seconds, and delayed messages become due meanwhile.
      if (round % 2 === 1) await this.#engine.world.timers.sleep(5_500);
      if (round === 3) await this.seek();
    }
  }

  declare(topic: string, groups: readonly string[]): Promise<unknown> {
    return this.#follow({ type: "declare", topic, partitions, groups }, () =>
      this.#engine.messages.declare(topic, { partitions, groups }),
    );
  }

  append(append: NamedBatch): Promise<unknown> {
    return this.#follow({ type: "append", append }, () => this.#engine.messages.append(batchOf(append)));
  }

  delay(append: NamedBatch, delayMs: number): Promise<unknown> {
    const dueAt = this.#engine.world.clock.now() + delayMs;
    const messages = append.names.map((name) => messageOf(name, { dueAt }));
    return this.#follow({ type: "delay", append }, () => this.#engine.messages.append({ ...append, messages }));
  }

  commit(changes: readonly NamedChange[]): Promise<unknown> {
    return this.#follow({ type: "commit", changes }, () => this.#engine.keyValue.commit(changes.map(keyValueChange)));
  }

  async seek(): Promise<void> {
    await this.#follow({ type: "seek", topic: "invoices", group: "archive", low: 1 }, () => {
      const positions = new Map([0, 1].map((partition) => [partition, 1n]));
      return this.#engine.messages.seek("invoices", "archive", { positions });
    });
  }

  /** Settles most of what is there, out of order, holds one message, and publishes one in the same change. */
  async consume(round: number): Promise<void> {
    for (const group of round % 2 === 0 ? ["billing"] : ["billing", "archive"]) {
      const member = await this.#settles(
        this.#engine.messages.join("orders", group, { sessionMs: 10_000, revokeMs: 1_000, windowMax: 1_000 }),
      );
      if (member === undefined) return;
      for (let granted = 0; granted < partitions; granted++) {
        const lane = await this.#settles(member.nextLane({ signal: this.#engine.ended }));
        if (lane === undefined) return;
        noteFence(this.#record.fences, lane);
        await this.#work(lane, group, round);
      }
      await this.#settles(member.leave());
    }
  }

  async #work(lane: Lane, group: string, round: number): Promise<void> {
    const ended = this.#engine.ended;
    const description = await this.#settles(this.#engine.messages.describe("orders"));
    const lag = description?.groups.find((each) => each.group === group)?.lanes[lane.partition]?.lag ?? 0;
    if (lag === 0) return;
    const stored = await this.#settles(lane.fetch(lag, { signal: ended }));
    if (stored === undefined) return;
    const spared = round === 4 ? 0 : 1;
    const half = Math.ceil((stored.length - spared) / 2);
    const later = stored.slice(half, stored.length - spared);
    const held = stored.slice(stored.length - spared);
    await Promise.all([
      this.#commitLane(lane, group, later, held, []),
      this.#commitLane(
        lane,
        group,
        stored.slice(0, half),
        [],
        [
          { topic: "invoices", partition: round % partitions, names: this.#record.names(2, 50) },
          { topic: "invoices", partition: (round + 1) % partitions, names: this.#record.names(1, 900) },
        ],
      ),
    ]);
  }

  #commitLane(
    lane: Lane,
    group: string,
    settled: Awaited<ReturnType<Lane["fetch"]>>,
    held: Awaited<ReturnType<Lane["fetch"]>>,
    appends: readonly NamedBatch[],
  ): Promise<unknown> {
    const dueAt = this.#engine.world.clock.now() + 1_000;
    const holds = held.map((stored) => ({ name: nameOf(stored), failures: 2, deliveries: 1, dueAt }));
    const operation = {
      type: "settle",
      topic: lane.topic,
      group,
      partition: lane.partition,
      settled: settled.map(nameOf),
      held: holds,
      appends,
    } as const;
    return this.#follow(operation, () =>
      lane.commit({
        settled: settled.map((stored) => stored.position),
        held: holds.map((hold, index) => ({ ...hold, position: held[index]!.position })),
        appends: appends.map(batchOf),
      }),
    );
  }

  #follow<T>(...[operation, start]: Parameters<typeof History.prototype.follow<T>>): Promise<T | undefined> {
    return within(this.#engine.world, operation.type, this.#record.history.follow(operation, start));
  }

  /** What may fail in a way that a caller understands. */
  async #settles<T>(promise: Promise<T>): Promise<T | undefined> {
    try {
      return await within(this.#engine.world, "a call", promise);
    } catch (error) {
      if (error instanceof TenonError) return undefined;
      throw error;
    }
  }
}

function batchOf(append: NamedBatch) {
  const { topic, partition, names } = append;
  return { topic, partition, messages: names.map((name) => messageOf(name)) };
}

/** Opens, compares with what was promised, works, closes, and opens again. */
async function live(simulation: Simulation, record: Record): Promise<void> {
  const { world } = simulation;
  const open = () => within(world, "opening", embedded({ ...small, world }));
  for (let time = 0; time < 2; time++) {
    const engine = await open();
    // What an engine that failed left undecided is decided now, before anything is built on it.
    if (time > 0) {
      const content = await within(world, "reading", contentAnyway(engine, record));
      if (content === undefined) return within(world, "close", closeAnyway(engine));
      record.history.reconcile(content);
    }
    await new Workload(engine, record).run();
    await within(world, "close", closeAnyway(engine));
  }
}

/** `undefined` when the disk fails while it is read. */
async function contentAnyway(engine: EmbeddedEngine, record: Record): Promise<EngineContent | undefined> {
  try {
    return await contentOf(engine, record.fences, record.history.wasDelayed);
  } catch (error) {
    if (error instanceof TenonError) return undefined;
    throw error;
  }
}

async function closeAnyway(engine: EmbeddedEngine): Promise<void> {
  await engine.close().catch((error: unknown) => {
    if (!(error instanceof TenonError)) throw error;
  });
}

async function survives(run: Promise<void>): Promise<"done" | "crashed" | "failed"> {
  try {
    await run;
    return "done";
  } catch (error) {
    if (error instanceof SimulatedCrash) return "crashed";
    if (error instanceof TenonError && ["unavailable", "overloaded", "closed"].includes(error.code)) return "failed";
    throw error;
  }
}

/** What is left must be what was promised; and once more, when only what was durable by then is left. */
async function verify(simulation: Simulation, record: Record): Promise<void> {
  simulation.disk.clearFaults();
  for (let time = 0; time < 2; time++) {
    if (time === 1) {
      simulation.crash("lost");
      simulation.restart();
    }
    const { world } = simulation;
    await simulation.run(async () => {
      const engine = await within(world, "opening", embedded({ ...small, world }));
      const content = await within(world, "reading", contentOf(engine, record.fences, record.history.wasDelayed));
      record.history.reconcile(content);
      if (time === 1) await within(world, "close", engine.close());
    });
  }
}

interface Case {
  readonly seed: number;
  readonly plan: (simulation: Simulation) => { readonly struck: boolean };
}

/** Answers whether the fault struck. */
async function runCase({ seed, plan }: Case): Promise<boolean> {
  const simulation = simulatedWorld({ seed, eventsMax: 300_000 });
  const record = new Record();
  const fault = plan(simulation);
  const outcome = await survives(simulation.run(() => live(simulation, record)));
  const struck = fault.struck;
  if (!struck) assert.equal(outcome, "done");
  if (outcome !== "crashed") simulation.crash("seeded");
  simulation.restart();
  await verify(simulation, record);
  return struck;
}

/** Operations until a run is clean; the fast suite takes a part of them. */
async function everyOperation(caseAt: (n: number) => Case): Promise<number> {
  for (let n = 1; ; n += stride) {
    const struck = await runCase(caseAt(n)).catch((error: unknown) => {
      throw new Error(`operation ${n}, seed ${caseAt(n).seed}`, { cause: error });
    });
    if (!struck) return n;
  }
}

test("the workload seals, cleans and reopens, and everything is what was promised", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax: 300_000 });
  const record = new Record();
  await simulation.run(() => live(simulation, record));
  const names = await simulation.run(() => simulation.world.disk.list(directory));
  const segments = names.filter((name) => name.endsWith(".journal"));
  assert.ok(segments.length > 3 && segments[0]! > "0000000000000004.journal", `segments: ${segments.join(" ")}`);
  simulation.crash("lost");
  simulation.restart();
  await verify(simulation, record);
});

for (const moment of ["before", "during"] as const) {
  for (const outcome of ["seeded", "lost"] as const) {
    test(`a crash ${moment} any disk operation (${outcome}) leaves what some first calls made, no acknowledged one missing`, async () => {
      const count = await everyOperation((n) => ({
        seed: n,
        plan: (simulation) => simulation.disk.crashAtOperation(n, moment, { outcome }),
      }));
      assert.ok(count > 400, `${count} operations`);
    });
  }
}

for (const [failure, repeat] of [
  ["io", "once"],
  ["io", "from-then-on"],
  ["full", "once"],
  ["full", "from-then-on"],
] as const) {
  test(`when any disk operation fails (${failure}, ${repeat}), every call says truly what became of it`, async () => {
    const count = await everyOperation((n) => ({
      seed: n,
      plan: (simulation) => simulation.disk.failOperation(n, failure, repeat),
    }));
    assert.ok(count > 400, `${count} operations`);
  });
}

test("on a full disk publishing and putting are refused, settling and deleting go on, and room brings everything back", async () => {
  // The space is measured when a segment begins, and the reserve must hold what is written until then.
  const few = Array.from({ length: slow ? 70 : 10 }, (_, index) => 40_000 + index * (slow ? 1_003 : 7_001));
  for (const capacityBytes of [...few, 500_000]) {
    const simulation = simulatedWorld({ seed: capacityBytes, capacityBytes, eventsMax: 300_000 });
    const record = new Record();
    await simulation
      .run(() => fillUp(simulation, record))
      .catch((error: unknown) => {
        throw new Error(`a capacity of ${capacityBytes} bytes`, { cause: error });
      });
    simulation.crash("seeded");
    simulation.restart();
    await verify(simulation, record);
  }
});

async function fillUp(simulation: Simulation, record: Record): Promise<void> {
  const { world } = simulation;
  const { history } = record;
  const engine = await within(world, "opening", embedded({ ...small, segmentBytes: 8192, reserveBytes: 8192, world }));
  const work = new Workload(engine, record);
  await work.declare("orders", ["billing"]);
  await work.commit([{ type: "put", key: "kept", value: "1" }]);
  const publish = () => {
    const append: NamedBatch = { topic: "orders", partition: 0, names: record.names(4, 200) };
    return history.follow({ type: "append", append }, () => engine.messages.append(batchOf(append)));
  };
  let accepted = 0;
  while ((await publish()) !== undefined) accepted += 4;
  assert.ok(accepted > 0 && !engine.ended.aborted, "a full disk ended the engine");
  await assertRefused(engine.messages.append(batchOf({ topic: "orders", partition: 1, names: record.names(1, 10) })));
  await assertRefused(engine.keyValue.commit([{ type: "put", key: "more", value: Buffer.alloc(10) }]));
  await assertRefused(engine.keyValue.commit([{ type: "add", key: "count", by: 1 }]));
  const { freeBytes, totalBytes } = await world.disk.freeSpace(directory);
  // A disk of few segments may be filled further before the space is measured again.
  if (totalBytes > 40 * 8192) assert.ok(freeBytes >= totalBytes * 0.06, `only ${freeBytes} bytes are left`);
  // Deleting and settling make room, so they must not need any.
  const deleted = await work.commit([{ type: "delete", key: "kept" }]);
  assert.notEqual(deleted, undefined, "a delete was refused");
  const member = await engine.messages.join("orders", "billing", {
    sessionMs: 10_000,
    revokeMs: 10_000,
    windowMax: 10_000,
  });
  for (let granted = 0; granted < partitions; granted++) {
    const lane = await within(world, "a lane", member.nextLane());
    noteFence(record.fences, lane);
    if (lane.partition === 0) await settleEverything(history, lane, accepted);
  }
  await member.leave();
  // The cleaner gives back what is settled, and the space is measured again.
  await world.timers.sleep(30_000);
  assert.notEqual(await publish(), undefined, "publishing is refused although there is room again");
  assert.notEqual(await work.commit([{ type: "put", key: "again", value: "1" }]), undefined);
  await engine.close();
}

async function assertRefused(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, { name: "TenonError", code: "overloaded", outcome: "not-applied" });
}

async function settleEverything(history: History, lane: Lane, count: number): Promise<void> {
  for (let left = count; left > 0; ) {
    const stored = await lane.fetch(Math.min(left, 8));
    left -= stored.length;
    const { topic, group, partition } = lane;
    const operation = {
      type: "settle",
      topic,
      group,
      partition,
      settled: stored.map(nameOf),
      held: [],
      appends: [],
    } as const;
    const settled = stored.map(({ position }) => position);
    const answer = await history.follow(operation, async () => {
      await lane.commit({ settled });
      return true;
    });
    assert.equal(answer, true, "settling was refused");
  }
}
