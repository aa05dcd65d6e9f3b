/** What the Redis engine does beyond the contract, and what only a server can show: memory given back, outages, pauses, a full server. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import type { JoinOptions, Lane, NewMessage } from "tenon/contracts";
import { TenonError } from "tenon/contracts";
import type { Connection } from "../src/engines/redis/connection.ts";
import { engine } from "./engines.ts";
import { ioredisFlavour, type Process, type ProcessOptions, removeKeys, startProcess } from "./redis-messages-host.ts";
import { redisServerMissing, startRedis } from "./redis-server.ts";

const redis = await engine("redis");
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const joining: JoinOptions = { sessionMs: 10_000, revokeMs: 10_000, windowMax: 10_000 };

/** Processes of one prefix on a server, and a client to look at what they leave there. */
class Bench {
  readonly client: Redis;
  readonly prefix = `tenon-test-${randomUUID()}`;
  readonly #url: string;
  readonly #processes: Process[] = [];

  constructor(url: string) {
    this.#url = url;
    this.client = new Redis(url);
    this.client.on("error", () => undefined);
  }

  async start(options?: ProcessOptions): Promise<Process> {
    const process = await startProcess(ioredisFlavour(this.#url), this.prefix, options);
    this.#processes.push(process);
    return process;
  }

  async keys(): Promise<string[]> {
    return (await this.client.keys(`${this.prefix}:*`)).sort();
  }

  /** Of the first partition of the only topic. */
  async partitionKey(): Promise<string> {
    return (await this.keys()).find((key) => /\}:\d+:0$/.test(key)) ?? "";
  }

  async streamLength(partition = 0): Promise<number> {
    const streams = (await this.keys()).filter((key) => key.endsWith(`:${partition}:m`) && !key.includes(":g"));
    return streams.length === 0 ? 0 : this.client.xlen(streams[0]!);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) await process.close();
    await removeKeys([this.client], this.prefix);
    this.client.disconnect();
  }
}

function append(process: Process, ...messages: (string | NewMessage)[]) {
  const batch = messages.map((message) => (typeof message === "string" ? { body: Buffer.from(message) } : message));
  return process.messages.append({ topic: "orders", partition: 0, messages: batch });
}

async function soleLane(process: Process, options: Partial<JoinOptions> = {}, group = "group") {
  const member = await process.messages.join("orders", group, { ...joining, ...options });
  return { member, lane: await member.nextLane() };
}

async function settleAll(lane: Lane, count: number): Promise<void> {
  for (let settled = 0; settled < count; ) {
    const messages = await lane.fetch(count - settled);
    await lane.commit({ settled: messages.map(({ position }) => position) });
    settled += messages.length;
  }
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}

/** Waits until it is true; the test's own timeout says when that is too late. */
async function eventually(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}

const onRedis = { skip: redis.skip, timeout: 30_000 };
const onOwnServer = { skip: redisServerMissing, timeout: 60_000 };

test("without a retention, what every group has settled is given back", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group", "other"] });
  for (let round = 0; round < 10; round++) {
    await append(process, ...Array.from({ length: 100 }, () => ({ body: Buffer.alloc(1_000) })));
  }
  const first = await soleLane(process);
  await settleAll(first.lane, 1_000);
  const { partitions } = await process.messages.describe("orders");
  assert.equal(partitions[0]!.first, 0n, "the other group has settled nothing");
  const second = await soleLane(process, {}, "other");
  await settleAll(second.lane, 1_000);
  assert.equal((await process.messages.describe("orders")).partitions[0]!.first, 1_000n);
  assert.equal(await bench.streamLength(), 0);
});

test("a retention keeps what is settled for that long, and no longer", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"], retentionMs: 400 });
  await append(process, { body: Buffer.alloc(5_000) });
  await append(process, "kept");
  const { lane } = await soleLane(process);
  const before = process.world.clock.now();
  await settleAll(lane, 1);
  assert.equal((await process.messages.describe("orders")).partitions[0]!.first, 0n);
  await eventually(async () => (await process.messages.describe("orders")).partitions[0]!.first === 1n);
  assert.ok(process.world.clock.now() >= before + 400);
  assert.equal(await bench.streamLength(), 1);
});

test("going back within the retention keeps what is settled anew for as long again", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"], retentionMs: 600 });
  await append(process, "a", "b");
  const { lane, member } = await soleLane(process);
  await settleAll(lane, 2);
  await sleep(300);
  await process.messages.seek("orders", "group", "earliest");
  await settleAll(await member.nextLane(), 2);
  const before = process.world.clock.now();
  await eventually(async () => (await process.messages.describe("orders")).partitions[0]!.first === 2n);
  assert.ok(process.world.clock.now() >= before + 590, "the first settlement does not count any more");
});

test("a topic without groups keeps nothing beyond its retention", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1 });
  for (let round = 0; round < 20; round++) await append(process, { body: Buffer.alloc(5_000) });
  const { partitions } = await process.messages.describe("orders");
  assert.deepEqual([partitions[0]!.first, partitions[0]!.next], [20n, 20n]);
  assert.equal(await bench.streamLength(), 0);
});

test("publishing alone gives back what only an ephemeral group kept whose member is gone", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1 });
  await process.messages.declare("bounded", { partitions: 1, countMax: 1 });
  await process.messages.declare("source", { partitions: 1, groups: ["group"] });
  const gone = await bench.start();
  for (const topic of ["orders", "bounded"]) {
    await gone.messages.join(topic, "mine", { ...joining, sessionMs: 200, ephemeral: true });
  }
  const source = await process.messages.join("source", "group", joining);
  const lane = await source.nextLane();
  const batch = (topic: string) => ({ topic, partition: 0, messages: [{ body: Buffer.alloc(5_000) }] });
  for (let round = 0; round < 20; round++) await process.messages.append(batch("orders"));
  const stream = (await bench.keys()).find((key) => /\{orders\}:\d+:0:m$/.test(key))!;
  await process.messages.append(batch("bounded"));
  await assert.rejects(process.messages.append(batch("bounded")), { code: "overloaded" });
  await gone.die();
  // Nobody describes, joins or renews anything of these topics from here on.
  await eventually(async () => {
    await process.messages.append(batch("orders"));
    return (await bench.client.xlen(stream)) === 0;
  });
  await eventually(async () => {
    const refused = await lane.commit({ settled: [], appends: [batch("bounded")] }).catch((error: unknown) => error);
    if (refused !== undefined) assert.equal((refused as TenonError).code, "overloaded");
    return refused === undefined;
  });
});

test("a removed topic leaves nothing but producers' marks, which expire", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 3, groups: ["a", "b"], retentionMs: 60_000 });
  const producer = { id: "producer", epoch: 0, sequence: 0 };
  const dueAt = process.world.clock.now() + 60_000;
  const messages = [{ body: Buffer.from("m"), id: "one" }, { body: Buffer.from("n") }];
  await process.messages.append({ topic: "orders", partition: 0, messages, producer });
  await append(process, { body: Buffer.from("later"), dueAt });
  const { lane } = await soleLane(process, {}, "a");
  const positions = (await append(process, "x", "y", "z")) as bigint[];
  const held = [{ position: positions[1]!, failures: 1, deliveries: 0, dueAt: 0 }];
  await lane.commit({ settled: [positions[0]!, positions[2]!], held });
  await process.messages.join("orders", "mine", { ...joining, ephemeral: true });
  await process.messages.remove("orders");
  const left = await bench.keys();
  assert.equal(left.length, 2, left.join(", "));
  assert.ok(left[0]!.endsWith(":q:producer") && left[1]!.endsWith(":counters"), left.join(", "));
  assert.ok((await bench.client.pttl(left[0]!)) > 0);
});

test("the id of a delayed message leads to its position once it has one", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  const message = { body: Buffer.from("m"), id: "one", dueAt: process.world.clock.now() + 100 };
  assert.deepEqual(await append(process, message), [undefined]);
  assert.deepEqual(await append(process, message), [undefined]);
  await eventually(async () => (await process.messages.describe("orders")).delayedCount === 0);
  assert.deepEqual(await append(process, { ...message, dueAt: undefined }), [0n]);
});

test("a batch with ids and delays is answered again with all of its positions", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  const dueAt = process.world.clock.now() + 60_000;
  const messages = [{ body: Buffer.from("a"), id: "a" }, { body: Buffer.from("b"), dueAt }, { body: Buffer.from("c") }];
  const produce = (sequence: number) =>
    process.messages.append({ topic: "orders", partition: 0, messages, producer: { id: "p", epoch: 0, sequence } });
  const original = await produce(0);
  assert.deepEqual(original, [0n, undefined, 1n]);
  assert.deepEqual(await produce(3), [0n, undefined, 2n], "the id is known");
  assert.deepEqual(await produce(0), original);
  for (let sequence = 6; sequence <= 18; sequence += 3) await produce(sequence);
  await assert.rejects(produce(0), { code: "conflict" });
  assert.deepEqual(await produce(18), [0n, undefined, 7n]);
});

test("what is settled before it was fetched does not come", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  await append(process, "a", "b", "c", "d", "e");
  const { lane } = await soleLane(process);
  await lane.commit({ settled: [1n] });
  assert.equal((await lane.fetch(1))[0]!.position, 0n);
  await lane.commit({ settled: [3n] });
  const rest = [...(await lane.fetch(1)), ...(await lane.fetch(1))];
  assert.deepEqual(
    rest.map(({ position }) => position),
    [2n, 4n],
  );
});

test("a lane that waits hears of messages without asking", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const [waiting, other] = [await bench.start(), await bench.start()];
  await waiting.messages.declare("orders", { partitions: 1, groups: ["group"] });
  const { lane } = await soleLane(waiting);
  const first = lane.fetch(1);
  await eventually(async () => (await bench.client.hget(await bench.partitionKey(), "w")) === "1");
  // Without timers it never looks by itself.
  await waiting.world.die();
  await append(other, "a");
  assert.equal((await first)[0]!.position, 0n);
});

test("Redis is read while less than half a MiB is left here, and no further", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  // Each is a run of its own, and six of them more than half a MiB.
  for (let n = 0; n < 30; n++) await append(process, { body: Buffer.alloc(100_000) });
  const { lane } = await soleLane(process);
  const laneKey = (await bench.keys()).find((key) => /:g1:0$/.test(key))!;
  const readTo = (cursor: string) => eventually(async () => (await bench.client.hget(laneKey, "c")) === cursor);
  assert.equal((await lane.fetch(6)).length, 6);
  await readTo("12");
  assert.equal((await lane.fetch(1)).length, 1);
  await readTo("18");
  assert.equal((await lane.fetch(5)).length, 5);
  // Six are left: there is no script behind them.
  await lane.commit({ settled: [] });
  assert.equal(await bench.client.hget(laneKey, "c"), "18");
  assert.equal((await lane.fetch(1)).length, 1);
  await readTo("24");
});

test("eviction brings the fullest partitions down to one level", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 3, groups: ["a", "b"], countMax: 9, whenFull: "evict" });
  const fill = (partition: number, count: number) => {
    const messages = Array.from({ length: count }, () => ({ body: Buffer.from("m") }));
    return process.messages.append({ topic: "orders", partition, messages });
  };
  await fill(0, 5);
  await fill(1, 3);
  await fill(2, 1);
  await fill(2, 4);
  const { groups } = await process.messages.describe("orders");
  for (const { lanes } of groups)
    assert.deepEqual(
      lanes.map(({ lag }) => lag),
      [2, 2, 5],
    );
});

test("a message id is known through one change of generations, and forgotten with the second", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  const message = { body: Buffer.from("m"), id: "one" };
  assert.deepEqual(await append(process, message), [0n]);
  const topicKey = (await bench.partitionKey()).replace(/:0$/, "");
  const passTwoMinutes = async () => {
    const since = Number(await bench.client.hget(topicKey, "is"));
    await bench.client.hset(topicKey, "is", since - 121_000);
  };
  await passTwoMinutes();
  assert.deepEqual(await append(process, message), [0n]);
  await passTwoMinutes();
  assert.deepEqual(await append(process, message), [1n]);
});

test("settling out of order over a long stretch stays exact, and its bits are given back", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  const count = 100_000;
  for (let from = 0; from < count; from += 10_000) {
    await append(process, ...Array.from({ length: 10_000 }, (_, index) => String(from + index)));
  }
  const { lane } = await soleLane(process, { windowMax: count });
  // The lowest stays behind, then every third, so that bits stretch over all and their base moves.
  const settle = (positions: number[]) => lane.commit({ settled: positions.map(BigInt) });
  const all = Array.from({ length: count }, (_, index) => index);
  await settle(all.filter((position) => position % 3 === 1));
  assert.equal((await process.messages.describe("orders")).groups[0]!.lanes[0]!.lag, count - 33_333);
  for (let from = 0; from < count; from += 7_000) {
    await settle(all.slice(from, from + 7_000).filter((position) => position % 3 === 0));
    const upTo = Math.min(count, from + 7_000);
    const settled = Math.ceil(upTo / 3) + 33_333;
    const described = (await process.messages.describe("orders")).groups[0]!.lanes[0]!;
    assert.deepEqual([described.lag, described.low], [count - settled, 2n]);
  }
  for (let from = 0; from < count; from += 9_000) {
    await settle(all.slice(from, from + 9_000).filter((position) => position % 3 === 2));
  }
  const done = (await process.messages.describe("orders")).groups[0]!.lanes[0]!;
  assert.deepEqual([done.lag, done.low], [0, BigInt(count)]);
  assert.ok(!(await bench.keys()).some((key) => key.endsWith(":b")));
});

test(
  "a member that a stalled server cuts off knows by itself that its session is over, and begins anew",
  onOwnServer,
  async () => {
    await using server = await startRedis({ appendfsync: "nothing" });
    await using bench = new Bench(server.url);
    const process = await bench.start({ commandTimeoutMs: 20_000 });
    await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
    await append(process, "a", "b");
    const { lane, member } = await soleLane(process, { sessionMs: 700 });
    await lane.fetch(2);
    const before = performance.now();
    server.pause();
    await aborted(lane.lost);
    assert.ok(performance.now() - before < 10_000, "without waiting for an answer");
    await assert.rejects(lane.commit({ settled: [0n] }), { code: "lost", outcome: "not-applied" });
    server.resume();
    const next = await member.nextLane();
    assert.ok(next.fence > lane.fence);
    assert.equal(next.suspectBelow, 2n, "what the former session fetched is suspect");
    await settleAll(next, 2);
  },
);

test("lanes of a process that stands still pass on, and nothing that it does afterwards counts", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const stopped = await bench.start();
  await stopped.messages.declare("orders", { partitions: 1, groups: ["group"] });
  await append(stopped, "a", "b");
  const { lane } = await soleLane(stopped, { sessionMs: 300 });
  await lane.fetch(2);
  const other = await bench.start();
  const successor = await other.messages.join("orders", "group", joining);
  // A process that stands still sends nothing: its timers do not fire.
  await stopped.world.die();
  const taken = await successor.nextLane();
  assert.ok(taken.fence > lane.fence);
  assert.equal(taken.suspectBelow, 2n);
  await assert.rejects(lane.commit({ settled: [0n, 1n] }), { code: "lost", outcome: "not-applied" });
  assert.ok(lane.lost.aborted);
  assert.equal((await other.messages.describe("orders")).groups[0]!.lanes[0]!.lag, 2);
});

test(
  "Redis itself refuses what comes under a superseded grant, although nobody told the owner",
  onOwnServer,
  async () => {
    await using server = await startRedis({ appendfsync: "nothing" });
    await using bench = new Bench(server.url);
    const deaf = await bench.start();
    await deaf.messages.declare("orders", { partitions: 2, groups: ["group"] });
    for (const partition of [0, 1]) {
      await deaf.messages.append({ topic: "orders", partition, messages: [{ body: Buffer.from("a") }] });
    }
    const member = await deaf.messages.join("orders", "group", joining);
    const lanes = [await member.nextLane(), await member.nextLane()];
    const [first, second] = lanes.sort((a, b) => a.partition - b.partition) as [Lane, Lane];
    await first.fetch(1);
    // Without timers it neither renews its session nor connects again.
    await deaf.world.die();
    await bench.client.call("CLIENT", "KILL", "TYPE", "pubsub");
    const other = await bench.start();
    await other.messages.seek("orders", "group", "earliest");
    assert.deepEqual([first.lost.aborted, second.lost.aborted], [false, false]);
    // At once, for the first that is refused asks what else has passed on.
    await Promise.all([
      assert.rejects(first.commit({ settled: [0n] }), { code: "lost", outcome: "not-applied" }),
      assert.rejects(second.fetch(1), { code: "lost" }),
    ]);
    assert.deepEqual([first.lost.aborted, second.lost.aborted], [true, true]);
    assert.equal((await other.messages.describe("orders")).groups[0]!.lanes[0]!.lag, 1);
  },
);

test(
  "a server that is killed and comes back has everything that was acknowledged, and everybody goes on",
  onOwnServer,
  async () => {
    await using server = await startRedis();
    await using bench = new Bench(server.url);
    const process = await bench.start();
    await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
    const { lane } = await soleLane(process);
    await append(process, "a", "b", "c");
    await settleAll(lane, 1);
    const waiting = lane.fetch(10);
    await server.stop();
    await server.start();
    const messages = await waiting.catch(() => lane.fetch(10));
    assert.deepEqual(
      messages.map(({ body }) => Buffer.from(body).toString()),
      ["b", "c"],
    );
    await lane.commit({ settled: [1n] });
    const waitingAgain = lane.fetch(10);
    await append(process, "d");
    assert.deepEqual(
      (await waitingAgain).map(({ position }) => position),
      [3n],
    );
    assert.equal((await process.messages.describe("orders")).groups[0]!.lanes[0]!.lag, 2);
  },
);

test("positions that a failover lost and that are given again are not passed by", onRedis, async () => {
  await using bench = new Bench(redis.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  await append(process, "a");
  await append(process, "b");
  const { lane, member } = await soleLane(process);
  assert.equal((await lane.fetch(2)).length, 2);
  // What a replica holds that took over before it heard of the last message.
  const partition = await bench.partitionKey();
  await bench.client.del(`${partition}:m`);
  await bench.client.xadd(`${partition}:m`, "1-1", "1", Buffer.from([0, 1, 0, 0, 0, 97]));
  await bench.client.hset(partition, "n", "1");
  await assert.rejects(lane.fetch(1), { code: "lost" });
  const next = await member.nextLane();
  const [first] = await next.fetch(10);
  assert.deepEqual([first!.position, Buffer.from(first!.body).toString()], [0n, "a"]);
});

test("a server that lost everything gives neither topics' numbers nor fences again", onOwnServer, async () => {
  await using server = await startRedis({ appendfsync: "nothing" });
  await using bench = new Bench(server.url);
  const process = await bench.start();
  const declaration = { partitions: 1, groups: ["group"] };
  await process.messages.declare("orders", declaration);
  await process.messages.declare("orders..group..dead", declaration);
  const { lane, member } = await soleLane(process);
  const second = async () => (await bench.client.time())[0];
  const before = await second();
  await eventually(async () => (await second()) !== before);
  await bench.client.flushall();
  // In the other order, so that counters alone would give each the other's number.
  const other = await bench.start();
  await other.messages.declare("orders..group..dead", declaration);
  await other.messages.declare("orders", declaration);
  await append(process, "a");
  assert.equal((await other.messages.describe("orders")).partitions[0]!.next, 1n);
  assert.equal((await other.messages.describe("orders..group..dead")).partitions[0]!.next, 0n);
  const next = await soleLane(other);
  assert.ok(next.lane.fence > lane.fence);
  await assert.rejects(lane.commit({ settled: [0n] }), { code: "lost" });
  await assert.rejects(member.nextLane(), { code: "not-found" });
});

test("a full server takes no more messages and goes on to have them settled", onOwnServer, async () => {
  await using server = await startRedis({ appendfsync: "nothing" });
  await using bench = new Bench(server.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  const { lane } = await soleLane(process);
  const message = { body: Buffer.alloc(100_000) };
  await append(process, message);
  await bench.client.config("SET", "maxmemory", "6mb");
  let stored = 1;
  const refusal = await (async () => {
    for (;;) {
      try {
        await append(process, message);
        stored += 1;
      } catch (error) {
        return error as TenonError;
      }
    }
  })();
  assert.ok(refusal instanceof TenonError);
  assert.deepEqual([refusal.code, refusal.outcome], ["overloaded", "not-applied"]);
  // However much was freed with the refused message, there is no room.
  await bench.client.config("SET", "maxmemory", "1mb");
  await settleAll(lane, stored);
  assert.equal((await process.messages.describe("orders")).groups[0]!.lanes[0]!.lag, 0);
  await bench.client.config("SET", "maxmemory", "0");
  await append(process, message);
});

test("a lane whose release was lost on its way is released when the member looks next", onRedis, async () => {
  await using bench = new Bench(redis.url);
  let lost = 0;
  const through = (connection: Connection): Connection => ({
    isCluster: false,
    command: (...command) => connection.command(...command),
    listen: (...listening) => connection.listen(...listening),
    close: () => connection.close(),
    run(script, ...rest) {
      if (!script.name.endsWith("/release") || lost > 0) return connection.run(script, ...rest);
      lost += 1;
      return Promise.reject(new TenonError("unavailable", "the connection broke", { outcome: "unknown" }));
    },
  });
  const process = await bench.start({ through });
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  await append(process, "a");
  const { lane, member } = await soleLane(process, { sessionMs: 600 });
  await lane.fetch(1);
  await assert.rejects(lane.release(), { code: "unavailable" });
  assert.equal(lost, 1);
  const next = await member.nextLane();
  assert.ok(next.fence > lane.fence);
  assert.equal(next.suspectBelow, 0n);
  await settleAll(next, 1);
});

test("closing does not wait for a server that does not answer", onOwnServer, async () => {
  await using server = await startRedis({ appendfsync: "nothing" });
  await using bench = new Bench(server.url);
  const process = await bench.start();
  await process.messages.declare("orders", { partitions: 1, groups: ["group"] });
  const { lane } = await soleLane(process);
  const waiting = assert.rejects(lane.fetch(1));
  server.pause();
  const before = performance.now();
  await process.close();
  await waiting;
  assert.ok(performance.now() - before < 10_000);
  server.resume();
});
