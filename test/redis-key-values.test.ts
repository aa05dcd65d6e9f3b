import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, describe, type TestContext, test } from "node:test";
import fc from "fast-check";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { type KeyValueChange, type KeyValueEngine, TenonError, type WatchEvent } from "tenon/contracts";
import { type RedisClient, type RedisEngine, redis } from "tenon/redis";
import { closedAfter } from "./closed-after.ts";
import { type RedisServer, redisServerMissing, startRedis } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const clients: readonly ((url: string) => RedisClient)[] = [
  (url) => new Redis(url, { autoResendUnfulfilledCommands: false }),
  (url) => createClient({ url }),
];

async function start(t: TestContext, options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
  const server = await startRedis(options);
  t.after(() => server.dispose());
  return server;
}

function open(t: TestContext, server: RedisServer, client = 0, prefix = "tenon"): Promise<RedisEngine> {
  const opening = redis({ connect: () => clients[client]!(server.url), prefix });
  return closedAfter(t, opening, (engine) => engine.close());
}

function raw(t: TestContext, server: RedisServer): Redis {
  const client = new Redis(server.url);
  client.on("error", () => undefined);
  t.after(() => client.disconnect());
  return client;
}

const put = (key: string, value: string, more = {}): KeyValueChange => ({
  type: "put",
  key,
  value: Buffer.from(value),
  ...more,
});
const remove = (key: string): KeyValueChange => ({ type: "delete", key });

/** What a watch has made of the keys so far. */
class Mirror {
  readonly state = new Map<string, string>();
  readonly events: WatchEvent[] = [];
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #wake: (() => void) | undefined;

  constructor(t: TestContext, keyValue: KeyValueEngine, prefix = "") {
    this.#ended = this.#follow(keyValue.watch(prefix, { signal: this.#stop.signal }));
    t.after(() => this.end());
  }

  async #follow(events: AsyncIterable<WatchEvent>): Promise<void> {
    for await (const event of events) {
      this.events.push(event);
      if (event.type === "put") this.state.set(event.entry.key, Buffer.from(event.entry.value).toString());
      if (event.type === "delete") this.state.delete(event.key);
      this.#wake?.();
    }
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  async synced(): Promise<this> {
    await this.until(() => this.events.some(({ type }) => type === "synced"));
    return this;
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#ended.catch(() => undefined);
  }
}

async function committed(keyValue: KeyValueEngine, ...changes: KeyValueChange[]): Promise<bigint> {
  for (;;) {
    try {
      const result = await keyValue.commit(changes);
      assert.ok(result.committed);
      return result.version;
    } catch (error) {
      // What these tests commit during an outage may be committed twice.
      assert.ok(error instanceof TenonError && error.code === "unavailable", String(error));
    }
  }
}

/** A commit as the contract says it, on a map. */
class Model {
  readonly values = new Map<string, { value: string; version: bigint }>();

  failure(changes: readonly KeyValueChange[]): [number, string] | undefined {
    for (const [index, change] of changes.entries()) {
      const current = this.values.get(change.key);
      const { condition } = change;
      if (condition !== undefined && "ifAbsent" in condition && current !== undefined) return [index, "condition"];
      if (condition !== undefined && "ifVersion" in condition && current?.version !== condition.ifVersion) {
        return [index, "condition"];
      }
      if (change.type !== "add") continue;
      if (!/^-?\d+$/.test(current?.value ?? "0")) return [index, "invalid"];
      const sum = Number(current?.value ?? "0") + change.by;
      if (sum < (change.min ?? -Infinity) || sum > (change.max ?? Infinity)) return [index, "bound"];
    }
    return undefined;
  }

  apply(changes: readonly KeyValueChange[], version: bigint): (number | undefined)[] {
    return changes.map((change) => {
      const current = this.values.get(change.key);
      if (change.type === "put") this.values.set(change.key, { value: Buffer.from(change.value).toString(), version });
      if (change.type === "delete") this.values.delete(change.key);
      if (change.type !== "add") return undefined;
      const sum = Number(current?.value ?? "0") + change.by;
      this.values.set(change.key, { value: String(sum), version });
      return sum;
    });
  }
}

const keys = ["a", "b", "n", "🧀", "～", "a/b"];
const condition = fc.constantFrom("none", "none", "none", "absent", "present", "other");
const plan = fc.record({
  engine: fc.nat(2),
  changes: fc.uniqueArray(
    fc.record({
      key: fc.constantFrom(...keys),
      type: fc.constantFrom("put", "put", "delete", "add", "check"),
      value: fc.constantFrom("text", "7", "-3", ""),
      by: fc.integer({ min: -5, max: 5 }),
      condition,
    }),
    { selector: ({ key }) => key, maxLength: 4 },
  ),
});

function changesOf(
  planned: readonly { key: string; type: string; value: string; by: number; condition: string }[],
  model: Model,
) {
  return planned.map(({ key, type, value, by, condition: kind }): KeyValueChange => {
    const version = model.values.get(key)?.version ?? 1n;
    const held =
      kind === "none"
        ? undefined
        : kind === "absent"
          ? ({ ifAbsent: true } as const)
          : { ifVersion: kind === "present" ? version : version - 1n };
    if (type === "put") return { type, key, value: Buffer.from(value), condition: held };
    if (type === "add") return { type, key, by, min: -4, max: 9, condition: held };
    if (type === "check") return { type, key, condition: held ?? { ifAbsent: true } };
    return { type: "delete", key, condition: held };
  });
}

describe("key-values on a Redis of their own", { skip: redisServerMissing, concurrency: 4 }, () => {
  test("random commits by three engines do what the contract says, and a watch ends with what a scan sees", async (t) => {
    const server = await start(t);
    await fc.assert(
      fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 40 }), async (commits) => {
        const prefix = randomUUID();
        const engines = await Promise.all([0, 1, 0].map((client) => open(t, server, client, prefix)));
        const mirror = await new Mirror(t, engines[2]!.keyValue).synced();
        const model = new Model();
        let last = 0n;
        for (const { engine, changes: planned } of commits) {
          const changes = changesOf(planned, model);
          const failure = model.failure(changes);
          const commit = engines[engine]!.keyValue.commit(changes);
          if (failure?.[1] === "invalid") {
            await assert.rejects(commit, { code: "invalid", outcome: "not-applied" });
            continue;
          }
          const result = await commit;
          if (!result.committed) {
            assert.deepEqual([result.failed, result.reason], failure);
            const current = model.values.get(changes[result.failed]!.key);
            assert.equal(result.current && Buffer.from(result.current.value).toString(), current?.value);
            assert.equal(result.current?.version, current?.version);
            continue;
          }
          assert.equal(failure, undefined);
          const changing = changes.some(
            ({ type, key }) => type === "put" || type === "add" || (type === "delete" && model.values.has(key)),
          );
          assert.ok(changing ? result.version > last : result.version === last);
          last = result.version;
          assert.deepEqual(result.counters, model.apply(changes, result.version));
        }
        const expected = [...model.values]
          .map(([key, { value }]) => [key, value])
          .sort(([a], [b]) => (a! < b! ? -1 : 1));
        for (const { keyValue } of engines) {
          const found = await keyValue.scan("");
          assert.deepEqual(
            found.map(({ key, value }) => [key, Buffer.from(value).toString()]),
            expected,
          );
        }
        await committed(engines[0]!.keyValue, put("the end", ""));
        await mirror.until(() => mirror.state.has("the end"));
        mirror.state.delete("the end");
        assert.deepEqual(
          [...mirror.state].sort(([a], [b]) => (a < b ? -1 : 1)),
          expected,
        );
        await mirror.end();
        for (const engine of engines) await engine.close();
      }),
      { numRuns: 25 },
    );
  });

  test("concurrent adds of three engines take a counter down to its bound, one by one, in the order of the versions", async (t) => {
    const server = await start(t);
    const engines = await Promise.all([0, 1, 0].map((client) => open(t, server, client)));
    await engines[0]!.keyValue.commit([{ type: "add", key: "stock", by: 300 }]);
    const taken: { readonly version: bigint; readonly left: number }[] = [];
    await Promise.all(
      Array.from({ length: 390 }, async (_, buyer) => {
        const { keyValue } = engines[buyer % 3]!;
        const result = await keyValue.commit([
          { type: "add", key: "stock", by: -1, min: 0 },
          put(`request/${buyer}`, "", { condition: { ifAbsent: true } }),
        ]);
        if (result.committed) taken.push({ version: result.version, left: result.counters[0]! });
      }),
    );
    taken.sort((a, b) => (a.version < b.version ? -1 : 1));
    assert.deepEqual(
      taken.map(({ left }) => left),
      Array.from({ length: 300 }, (_, index) => 299 - index),
    );
    assert.equal((await engines[1]!.keyValue.scan("request/")).length, 300);
  });

  for (const [client, name] of ["ioredis", "node-redis"].entries()) {
    test(`a watch outlives crashes of the server and loses neither a last state nor a delete (${name})`, async (t) => {
      const server = await start(t);
      const [writer, watcher] = await Promise.all([open(t, server, client), open(t, server, client)]);
      await committed(writer.keyValue, put("k:deleted", "1"), put("k:kept", "1"), put("other", "1"));
      const mirror = await new Mirror(t, watcher.keyValue, "k:").synced();
      for (let round = 1; round <= 3; round++) {
        await committed(writer.keyValue, put("k:changed", String(round)), put(`k:${round}`, ""));
        await server.stop();
        const meanwhile = committed(
          writer.keyValue,
          put("k:changed", `${round} again`),
          remove("k:deleted"),
          remove(`k:${round}`),
        );
        await server.start();
        await meanwhile;
        await mirror.until(() => mirror.state.get("k:changed") === `${round} again`);
        await committed(writer.keyValue, put("k:deleted", "back"));
        await mirror.until(() => mirror.state.get("k:deleted") === "back");
        assert.deepEqual([...mirror.state.keys()].sort(), ["k:changed", "k:deleted", "k:kept"]);
      }
      await mirror.end();
    });
  }

  test("a watch shows what a server without persistence has lost as deletes", async (t) => {
    const server = await start(t, { appendfsync: "nothing" });
    const engine = await open(t, server);
    assert.equal(engine.keyValue.capabilities.survives, "nothing");
    const before = await committed(engine.keyValue, put("a", "1"), put("b", "1"));
    const mirror = await new Mirror(t, engine.keyValue).synced();
    await server.stop();
    await server.start();
    const version = await committed(engine.keyValue, put("b", "2"));
    assert.ok(version > before, "a version that was lost is not given again");
    await mirror.until(() => mirror.state.get("b") === "2" && !mirror.state.has("a"));
    await mirror.end();
  });

  test("a watch whose deletes are no longer remembered reads the state anew and says what vanished", async (t) => {
    const server = await start(t);
    const engine = await open(t, server);
    await committed(engine.keyValue, put("kept", "1"), put("gone", "1"));
    const mirror = await new Mirror(t, engine.keyValue).synced();
    const version = await committed(engine.keyValue, put("seen", "1"));
    await mirror.until(() => mirror.state.has("seen"));
    // As when the delete of a key was forgotten while the watch was away.
    const base = "tenon:{kv}";
    await raw(t, server)
      .multi()
      .hdel(`${base}:entries`, "gone")
      .zrem(`${base}:names`, "gone")
      .zrem(`${base}:changes`, "gone")
      .hset(`${base}:meta`, { version: String(version + 10n), forgotten: String(version + 5n) })
      .exec();
    await mirror.until(() => !mirror.state.has("gone"));
    assert.deepEqual([...mirror.state.keys()].sort(), ["kept", "seen"]);
    await committed(engine.keyValue, put("after", "1"));
    await mirror.until(() => mirror.state.has("after"));
    assert.equal(mirror.events.filter((event) => event.type === "put" && event.entry.key === "kept").length, 1);
    await mirror.end();
  });

  test("old deletes are forgotten, and with them what remembered the keys", async (t) => {
    const server = await start(t);
    const engine = await open(t, server);
    const client = raw(t, server);
    const base = "tenon:{kv}";
    await committed(engine.keyValue, put("old", "1"), put("new", "1"));
    await committed(engine.keyValue, remove("old"));
    // As if it had been deleted at the beginning of the epoch.
    await client.multi().zadd(`${base}:deleted`, 1_000, "old").zadd(`${base}:changes`, 1_000, "old").exec();
    await committed(engine.keyValue, remove("new"));
    assert.deepEqual(await client.zrange(`${base}:deleted`, 0, -1), ["new"]);
    assert.deepEqual(await client.zrange(`${base}:changes`, 0, -1), ["new"]);
    assert.equal(await client.hget(`${base}:meta`, "forgotten"), "1000");
  });

  test("commits take expired keys out of memory", async (t) => {
    const server = await start(t);
    const engine = await open(t, server);
    const client = raw(t, server);
    for (let key = 0; key < 50; key++) await committed(engine.keyValue, put(`k${key}`, "1", { ttlMs: 1 }));
    await engine.world.timers.sleep(2);
    await committed(engine.keyValue, put("another", "1"));
    await committed(engine.keyValue, put("another", "1"));
    await committed(engine.keyValue, put("another", "1"));
    assert.deepEqual(await client.hkeys("tenon:{kv}:entries"), ["another"]);
    assert.deepEqual(await client.zrange("tenon:{kv}:names", 0, -1), ["another"]);
    assert.equal(await client.zcard("tenon:{kv}:expiring"), 0);
  });

  test("scans and watches of more than fits one reply are complete", async (t) => {
    const server = await start(t, { appendfsync: "no" });
    const engine = await open(t, server);
    const value = "v".repeat(1024 * 1024);
    const expected: string[] = [];
    for (let key = 0; key < 12; key++) expected.push(`large${String(key).padStart(2, "0")}`);
    for (const key of expected) await committed(engine.keyValue, put(key, value));
    for (let page = 0; page < 3; page++) {
      const small = Array.from({ length: 900 }, (_, index) => `small${page}-${String(index).padStart(3, "0")}`);
      await committed(engine.keyValue, ...small.map((key) => put(key, "1")));
      expected.push(...small);
    }
    const found = await engine.keyValue.scan("", { limit: 10_000 });
    assert.deepEqual(
      found.map(({ key }) => key),
      expected,
    );
    const mirror = await new Mirror(t, engine.keyValue).synced();
    assert.deepEqual([...mirror.state.keys()], expected);
    // All of them change before the watch looks again.
    await Promise.all([
      ...expected.slice(0, 12).map((key) => committed(engine.keyValue, put(key, "2"))),
      committed(engine.keyValue, ...expected.slice(12, 912).map((key) => put(key, "2"))),
      committed(engine.keyValue, ...expected.slice(912, 1_812).map((key) => remove(key))),
      committed(engine.keyValue, put("the end", "1")),
    ]);
    await mirror.until(() => mirror.state.has("the end"));
    assert.equal([...mirror.state.values()].filter((text) => text === "2").length, 912);
    assert.equal(mirror.state.size, expected.length - 900 + 1);
    await mirror.end();
  });
});

describe("the server's settings", { skip: redisServerMissing, concurrency: 4 }, () => {
  const connect = (server: RedisServer) => () => clients[0]!(server.url);

  test("say what a confirmed change survives", async (t) => {
    const cases = [
      ["always", "machine"],
      ["everysec", "process"],
      ["no", "process"],
      ["nothing", "nothing"],
    ] as const;
    for (const [appendfsync, survives] of cases) {
      const engine = await open(t, await start(t, { appendfsync }));
      assert.equal(engine.keyValue.capabilities.survives, survives, appendfsync);
      assert.equal(engine.messages.capabilities.survives, survives, appendfsync);
      const sync = engine.requirements.find(({ setting }) => setting === "appendfsync")!;
      assert.equal(sync.ok, appendfsync === "always");
      assert.deepEqual(
        engine.requirements.map(({ setting }) => setting),
        ["redis_version", "role", "maxmemory-policy", "appendonly", "appendfsync", "min-replicas-to-write"],
      );
    }
  });

  test("that survive less than the user states are refused", async (t) => {
    const server = await start(t, { appendfsync: "everysec" });
    await assert.rejects(redis({ connect: connect(server), survives: "machine" }), {
      code: "invalid",
      message: /appendfsync always/,
    });
    const engine = await redis({ connect: connect(server), survives: "nothing" });
    assert.equal(engine.keyValue.capabilities.survives, "process");
    await engine.close();
  });

  test("that throw data away are refused", async (t) => {
    for (const policy of ["allkeys-lru", "volatile-ttl"]) {
      const server = await start(t, { settings: ["--maxmemory-policy", policy] });
      await assert.rejects(redis({ connect: connect(server) }), { code: "invalid", message: /noeviction/ });
    }
  });

  test("of a replica are refused as unavailable", async (t) => {
    const server = await start(t);
    await raw(t, server).call("REPLICAOF", "127.0.0.1", "1");
    await assert.rejects(redis({ connect: connect(server) }), { code: "unavailable", message: /replica|slave/ });
  });

  test("that may not be read are taken as the user states them", async (t) => {
    const server = await start(t);
    await raw(t, server).call("ACL", "SETUSER", "app", "on", ">word", "~*", "&*", "+@all", "-config");
    const url = `redis://app:word@127.0.0.1:${server.port}`;
    for (const survives of [undefined, "machine", "nothing"] as const) {
      const engine = await redis({ connect: () => clients[0]!(url), survives });
      assert.equal(engine.keyValue.capabilities.survives, survives ?? "process");
      assert.equal(engine.requirements.find(({ setting }) => setting === "appendfsync")!.value, undefined);
      await committed(engine.keyValue, put("k", "1"));
      await engine.close();
    }
  });

  test("that forbid a part of a script leave it unknown how far it came", async (t) => {
    const server = await start(t);
    await raw(t, server).call("ACL", "SETUSER", "app", "on", ">word", "~*", "resetchannels", "+@all");
    const url = `redis://app:word@127.0.0.1:${server.port}`;
    const engine = await redis({ connect: () => clients[0]!(url) });
    t.after(() => engine.close());
    await assert.rejects(engine.keyValue.commit([put("k", "1")]), { code: "denied", outcome: "unknown" });
  });

  test("options that mean nothing are refused", async () => {
    const never = () => assert.fail("it must not connect");
    for (const options of [
      undefined,
      {},
      { connect: never, prefix: "" },
      { connect: never, prefix: "a{b}" },
      { connect: never, keyValueTag: "" },
      { connect: never, commandTimeoutMs: 0 },
      { connect: never, connectTimeoutMs: Number.NaN },
      { connect: never, survives: "everything" },
    ]) {
      await assert.rejects(redis(options as never), { code: "invalid" });
    }
  });
});
