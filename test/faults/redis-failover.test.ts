/** A replica takes the place of its primary, and a cluster loses a node. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { Cluster, Redis } from "ioredis";
import { createCluster } from "redis";
import { type KeyValueChange, TenonError } from "tenon/contracts";
import { fenced, mutex } from "tenon/coordination";
import { text, topic } from "tenon/messaging";
import { type RedisClient, type RedisEngine, redis } from "tenon/redis";
import { redisCommand } from "../../scripts/engines/redis-protocol.ts";
import { clusterServes, inStep, type Replicated, startCluster, startReplicated, until } from "../redis-groups.ts";
import { redisServerMissing } from "../redis-server.ts";

const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

async function open(t: TestContext, connect: () => RedisClient): Promise<RedisEngine> {
  const engine = await redis({ connect, commandTimeoutMs: 1_000, connectTimeoutMs: 30_000 });
  t.after(() => engine.close());
  return engine;
}

/** Finds the primary through its sentinel. */
function openReplicated(t: TestContext, { sentinelPort, name }: Replicated): Promise<RedisEngine> {
  const sentinels = [{ host: "127.0.0.1", port: sentinelPort }];
  return open(t, () => new Redis({ sentinels, name, autoResendUnfulfilledCommands: false }));
}

const put = (key: string, value: string): KeyValueChange => ({ type: "put", key, value: Buffer.from(value) });

async function read({ keyValue }: RedisEngine, key: string): Promise<string | undefined> {
  const [entry] = await keyValue.get([key]);
  return entry && Buffer.from(entry.value).toString();
}

/** Tried again until it is answered, as after an outage. */
async function answered<T>(ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof TenonError && error.code === "unavailable")) throw error;
    }
  }
}

/** A topic whose consumer notes what it reads. */
async function news(t: TestContext, engine: RedisEngine) {
  const made = topic(engine, "news", { codec: text(), partitions: 1, groups: ["readers"], publishTimeoutMs: 60_000 });
  const read: string[] = [];
  let wake: (() => void) | undefined;
  const consumer = await made.consume("readers", (value) => {
    read.push(value);
    wake?.();
  });
  t.after(() => consumer.close());
  const until = async (value: string) => {
    while (!read.includes(value)) await new Promise<void>((resolve) => (wake = resolve));
  };
  return { made, read, until };
}

const isPrimary = async (url: string) => String(await redisCommand(url, "ROLE")).startsWith("master");

describe("after a failover", { skip: redisServerMissing, concurrency: 4 }, () => {
  test("what was replicated is there, and publishers, consumers and lock holders go on with the new primary", async (t) => {
    const servers = await startReplicated(t);
    const engine = await openReplicated(t, servers);
    const { made, read: seen, until: reads } = await news(t, engine);
    const till = mutex(engine, "till", { ttlMs: 1_000, timeoutMs: 60_000, waitMs: 60_000 });
    const before = await till.acquire();
    await made.publish("before");
    await reads("before");
    await engine.keyValue.commit([put("k", "before")]);
    await redisCommand(servers.primary.url, "WAIT", "1", "0");
    await servers.primary.stop();
    const during = await Promise.all(["one", "two", "three"].map((value) => made.publish(value)));
    assert.ok(during.every(({ position }) => position !== undefined));
    assert.ok(await isPrimary(servers.replica.url));
    await reads("three");
    // At least once; each in its place.
    const first = ["before", "one", "two", "three"].map((value) => seen.indexOf(value));
    assert.deepEqual(
      first,
      [...first].sort((a, b) => a - b),
    );
    assert.equal(await answered(() => read(engine, "k")), "before");
    const after = await till.acquire();
    assert.ok(after.token > before.token, `${after.token} after ${before.token}`);
    await after.release();
  });

  test("what was acknowledged and not replicated is lost, as the requirements say, and what comes then is not passed by", async (t) => {
    const servers = await startReplicated(t);
    const engine = await openReplicated(t, servers);
    const requirement = engine.requirements.find(({ setting }) => setting === "min-replicas-to-write")!;
    assert.equal(requirement.ok, false);
    assert.match(requirement.meaning, /failover/);
    assert.notEqual(engine.keyValue.capabilities.survives, "replicas");
    const { made, until: reads } = await news(t, engine);
    await made.publish("kept");
    await engine.keyValue.commit([put("k", "kept")]);
    await reads("kept");
    await redisCommand(servers.primary.url, "WAIT", "1", "0");
    // From here on the primary is alone, and acknowledges all the same.
    servers.replica.pause();
    await redisCommand(servers.primary.url, "CLIENT", "KILL", "TYPE", "replica");
    await Promise.all(["lost 1", "lost 2"].map((value) => made.publish(value)));
    await reads("lost 2");
    const result = await engine.keyValue.commit([put("k", "lost")]);
    assert.ok(result.committed);
    assert.match(String(await redisCommand(servers.primary.url, "INFO", "replication")), /connected_slaves:0/);
    await servers.primary.stop();
    servers.replica.resume();
    await until(() => isPrimary(servers.replica.url));
    assert.equal(await answered(() => read(engine, "k")), "kept");
    const again = await answered(() => engine.keyValue.commit([put("k", "again")]));
    assert.ok(again.committed && again.version > result.version, "versions go on");
    // Who published what is lost is told with the first message that follows; it is not stored, and the next ones are.
    await assert.rejects(made.publish("told"), { code: "conflict", outcome: "not-applied" });
    await made.publish("new");
    await reads("new");
  });

  test("a lock whose grant was lost is given away under a greater token, and the former holder is refused", async (t) => {
    const servers = await startReplicated(t);
    const [one, other] = [await openReplicated(t, servers), await openReplicated(t, servers)];
    await one.keyValue.commit([put("k", "0")]);
    await redisCommand(servers.primary.url, "WAIT", "1", "0");
    servers.replica.pause();
    await redisCommand(servers.primary.url, "CLIENT", "KILL", "TYPE", "replica");
    // Longer than the failover takes: the former holder has every reason to believe in its lock.
    const former = await mutex(one, "till", { ttlMs: 60_000 }).acquire();
    await servers.primary.stop();
    servers.replica.resume();
    const waiting = mutex(other, "till", { ttlMs: 60_000, waitMs: 60_000, timeoutMs: 60_000 });
    const present = await waiting.acquire();
    assert.ok(present.token > former.token, `${present.token} after ${former.token}`);
    await answered(() => fenced(other.keyValue, "till", present.token, [put("k", "present")]));
    const late = answered(() => fenced(one.keyValue, "till", former.token, [put("k", "former")]));
    await assert.rejects(late, { code: "lost", outcome: "not-applied" });
    assert.equal(await answered(() => read(one, "k")), "present");
    await Promise.allSettled([present.release(), former.release()]);
  });

  test("with min-replicas-to-write what has no replica is refused, and nothing that was acknowledged is lost", async (t) => {
    const guard = ["--min-replicas-to-write", "1", "--min-replicas-max-lag", "10"];
    const servers = await startReplicated(t, guard);
    // The replica that takes over has none of its own.
    await redisCommand(servers.replica.url, "CONFIG", "SET", "min-replicas-to-write", "0");
    const engine = await openReplicated(t, servers);
    assert.ok(engine.requirements.find(({ setting }) => setting === "min-replicas-to-write")!.ok);
    await answered(() => engine.keyValue.commit([put("k", "kept")]));
    await servers.replica.stop();
    await assert.rejects(engine.keyValue.commit([put("k", "refused")]), (error: unknown) => {
      assert.ok(error instanceof TenonError);
      assert.deepEqual([error.code, error.outcome, error.fields.reply], ["unavailable", "not-applied", "NOREPLICAS"]);
      return true;
    });
    assert.equal(await read(engine, "k"), "kept");
    await servers.replica.start();
    await inStep(servers.replica);
    await redisCommand(servers.replica.url, "CONFIG", "SET", "min-replicas-to-write", "0");
    // It counts for the primary from its first acknowledgement on, which it sends once a second.
    await until(async () =>
      String(await redisCommand(servers.primary.url, "INFO", "replication")).includes("min_slaves_good_slaves:1"),
    );
    const { made, until: reads } = await news(t, engine);
    await made.publish("kept");
    await reads("kept");
    await redisCommand(servers.primary.url, "WAIT", "1", "0");
    await servers.primary.stop();
    await until(() => isPrimary(servers.replica.url));
    assert.equal(await answered(() => read(engine, "k")), "kept");
    assert.equal((await answered(() => engine.messages.describe("news"))).partitions[0]!.next, 1n);
  });
});

const clusters: Readonly<Record<string, (urls: readonly string[]) => RedisClient>> = {
  ioredis: (urls) => new Cluster([...urls], { retryDelayOnFailover: 0 }),
  "node-redis": (urls) => createCluster({ rootNodes: urls.map((url) => ({ url })) }),
};

describe("in a cluster of which a node dies", { skip: redisServerMissing, concurrency: 2 }, () => {
  for (const [client, connect] of Object.entries(clusters)) {
    test(`calls fail clearly and come back with it, over ${client}`, async (t) => {
      const nodes = await startCluster(t);
      const engine = await open(t, () => connect(nodes.map(({ url }) => url)));
      // One topic on each node, and the key-values on one of them.
      const topics = await Promise.all(
        nodes.map(async ({ url }, index) => {
          const name = await nameOn(url, index);
          const made = topic(engine, name, { codec: text(), partitions: 1, groups: ["g"], publishTimeoutMs: 60_000 });
          await made.publish("before");
          return made;
        }),
      );
      await engine.keyValue.commit([put("k", "before")]);
      const slot = Number(await redisCommand(nodes[0]!.url, "CLUSTER", "KEYSLOT", "{kv}"));
      const node = nodes[Math.floor(slot / (16_384 / 3))]!;
      await node.stop();
      await assert.rejects(engine.keyValue.commit([put("k", "during")]), { code: "unavailable" });
      const published = Promise.all(topics.map((each) => each.publish("during")));
      await node.start();
      await clusterServes(nodes);
      const receipts = await published;
      assert.deepEqual(
        receipts.map(({ position }) => position),
        [1n, 1n, 1n],
        "each is stored once",
      );
      assert.ok(["before", "during"].includes(String(await answered(() => read(engine, "k")))));
      await answered(() => engine.keyValue.commit([put("k", "after")]));
      assert.equal(await read(engine, "k"), "after");
    });
  }
});

/** The name of a topic whose keys are on the node. */
async function nameOn(url: string, index: number): Promise<string> {
  for (let number = 0; ; number++) {
    const name = `topic-${number}`;
    const slot = Number(await redisCommand(url, "CLUSTER", "KEYSLOT", name));
    if (Math.floor(slot / (16_384 / 3)) === index) return name;
  }
}
