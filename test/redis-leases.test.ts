/** Leases on one Redis whose processes lose their connections all the time. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { type RedisEngine, redis } from "tenon/redis";
import { checkGrants, type Grant } from "./lease-grants.ts";
import { redisServerMissing, startRedis } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

test("of many processes with breaking connections one at a time is under the greatest token", {
  skip: redisServerMissing,
}, async () => {
  await using server = await startRedis();
  await using stack = new AsyncDisposableStack();
  const clients = new Set<Redis>();
  const connect = () => {
    const client = new Redis(server.url, { autoResendUnfulfilledCommands: false }).on("error", () => undefined);
    clients.add(client.on("end", () => clients.delete(client)));
    return client;
  };
  const engines: RedisEngine[] = [];
  for (let index = 0; index < 5; index++) {
    engines.push(stack.use(await redis({ connect, prefix: "fight", commandTimeoutMs: 2_000 })));
  }
  const grants: Grant[] = [];
  // As many as a machine gets in a few seconds; a slow one takes longer.
  const grantsWanted = 15;
  const fighting = () => grants.length < grantsWanted;
  const fight = async ({ leases }: RedisEngine) => {
    while (fighting()) {
      const holder = randomUUID();
      const asked = performance.now();
      const lease = await leases
        .acquire("name", { holder, ttlMs: 200, waitMs: 1_000 })
        .catch((error) => void assert.equal(error.code, "unavailable"));
      if (lease === undefined) continue;
      const grant = { token: lease.token, asked, at: performance.now(), until: lease.since.monotonic + lease.ttlMs };
      grants.push(grant);
      await sleep(Math.random() * 8);
      // What a holder gives back it gave up before it asked to.
      grant.until = Math.min(grant.until, performance.now());
      if (Math.random() < 0.9) await leases.release("name", holder).catch(() => undefined);
    }
  };
  const breaking = (async () => {
    while (fighting()) {
      await sleep(10 + Math.random() * 50);
      for (const client of clients) if (Math.random() < 0.04) client.stream?.destroy();
      if (Math.random() < 0.05) {
        await server.stop();
        await server.start();
      }
    }
  })();
  await Promise.all([...engines.map(fight), breaking]);
  checkGrants(grants);
});

test("a request that differs from what its holder owns leaves no weight of others behind", {
  skip: redisServerMissing,
}, async () => {
  await using server = await startRedis();
  await using engine = await redis({
    connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }),
  });
  const { leases } = engine;
  const asks = (holder: string, weight: number, ttlMs: number, waitMs = 0) =>
    leases.acquire("name", { holder, capacity: 4, weight, ttlMs, waitMs });
  await asks("stays", 1, 60_000);
  await asks("ends", 3, 50);
  while ((await leases.describe("name")).holders.length > 1) await sleep(5);
  await assert.rejects(asks("stays", 2, 60_000), { code: "conflict" });
  assert.ok((await asks("next", 3, 60_000)) !== undefined);
});

test("thousands of holders that end together are taken out beside one that stays", {
  skip: redisServerMissing,
}, async () => {
  await using server = await startRedis();
  await using engine = await redis({
    connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }),
  });
  const { leases } = engine;
  const capacity = 10_000;
  await leases.acquire("name", { holder: "stays", ttlMs: 60_000, waitMs: 0, capacity });
  const held = async () => (await leases.describe("name")).holders.map(({ holder }) => holder);
  // More than Lua can hand over at once. Nobody asks for the name once the first of them may have ended.
  const others = Array.from({ length: 9_000 }, (_, index) =>
    leases.acquire("name", { holder: `h${index}`, ttlMs: 5_000, waitMs: 0, capacity }),
  );
  await Promise.all(others);
  assert.equal((await held()).length, 9_001);
  while ((await held()).length > 1) await sleep(100);
  assert.ok(await leases.acquire("name", { holder: "all", ttlMs: 60_000, waitMs: 0, weight: capacity - 1, capacity }));
  assert.deepEqual(await held(), ["stays", "all"]);
});

test("what one process releases while it asks for it can be asked for anew at once", {
  skip: redisServerMissing,
}, async () => {
  await using server = await startRedis();
  await using engine = await redis({
    connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }),
  });
  const { leases } = engine;
  const request = { holder: "a", ttlMs: 60_000, waitMs: 0 };
  const first = leases.acquire("name", request);
  const released = leases.release("name", "a");
  const second = leases.acquire("name", request);
  assert.equal(await first, undefined);
  await released;
  const lease = await second;
  assert.ok(lease !== undefined);
  // Everything that was still to be sent for the first one has been sent before this.
  await leases.describe("other");
  assert.equal((await leases.describe("name")).holders[0]?.token, lease.token);
});

test("who holds a name alone is seen just so when others come beside it and have gone", {
  skip: redisServerMissing,
}, async () => {
  await using server = await startRedis();
  await using engine = await redis({
    connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }),
  });
  const { leases } = engine;
  const asks = (holder: string, weight: number, data?: string) =>
    leases.acquire("name", { holder, capacity: 3, weight, data, ttlMs: 60_000, waitMs: 0 });
  const alone = await asks("7:a/1/1/0", 2, "10/20/30:\n/ü");
  const before = (await leases.describe("name")).holders;
  assert.equal(before[0]!.token, alone!.token);
  // Refused, and then beside it.
  assert.equal(await asks("7:a", 2), undefined);
  assert.ok(await asks("7:a", 1));
  const beside = (await leases.describe("name")).holders;
  assert.deepEqual(beside[0], before[0]);
  assert.deepEqual([beside[1]!.holder, beside[1]!.data], ["7:a", undefined]);
  await leases.release("name", "7:a");
  assert.deepEqual((await leases.describe("name")).holders, before);
  assert.equal((await leases.renew(alone!)).token, alone!.token);
});

test("of holders whose names begin alike each gives up only what is its own", {
  skip: redisServerMissing,
}, async () => {
  await using server = await startRedis();
  await using engine = await redis({
    connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }),
  });
  const { leases } = engine;
  const lease = await leases.acquire("name", { holder: "ab", ttlMs: 60_000, waitMs: 0 });
  for (const other of ["a", "b", "abc", "2:ab", "ä"]) await leases.release("name", other);
  await assert.rejects(leases.renew({ ...lease!, holder: "a" }), { code: "lost" });
  await assert.rejects(leases.renew({ ...lease!, token: lease!.token - 1n }), { code: "lost" });
  assert.deepEqual(
    (await leases.describe("name")).holders.map(({ holder }) => holder),
    ["ab"],
  );
  await leases.release("name", "ab");
  assert.deepEqual((await leases.describe("name")).holders, []);
});

test("tokens go on from the last one when the server's clock was set back", { skip: redisServerMissing }, async () => {
  await using server = await startRedis();
  await using engine = await redis({
    connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }),
  });
  const { leases } = engine;
  const token = async (holder: string) =>
    (await leases.acquire("name", { holder, capacity: 9, ttlMs: 60_000, waitMs: 0 }))!.token;
  const first = await token("a");
  const client = new Redis(server.url);
  const [key] = await client.keys("*:token");
  await client.set(key!, "8000000000000000");
  assert.deepEqual([await token("b"), await token("c")], [8_000_000_000_000_001n, 8_000_000_000_000_002n]);
  await leases.release("name", "a");
  // As many digits are not needed: a clock that was once far behind.
  await client.set(key!, "99");
  assert.ok((await token("d")) > first);
  // Nobody else holds it or waits for it.
  for (const holder of ["b", "c", "d"]) await leases.release("name", holder);
  await client.set(key!, "8000000000000005");
  const alone = await leases.acquire("name", { holder: "e", ttlMs: 60_000, waitMs: 0 });
  assert.equal(alone!.token, 8_000_000_000_000_006n);
  assert.equal((await leases.renew(alone!)).token, alone!.token);
  await leases.release("name", "e");
  assert.equal(await token("f"), 8_000_000_000_000_007n);
  client.disconnect();
});

test("what is kept of a name lasts as long as its last holder's lease, and ends by itself", {
  skip: redisServerMissing,
}, async (t) => {
  await using server = await startRedis();
  await using engine = await redis({
    connect: () => new Redis(server.url, { autoResendUnfulfilledCommands: false }),
  });
  const client = new Redis(server.url);
  t.after(() => client.disconnect());
  const { leases } = engine;
  const lease = await leases.acquire("name", { holder: "a", ttlMs: 60_000, waitMs: 0 });
  const next = leases.acquire("name", { holder: "b", ttlMs: 60_000, waitMs: 60_000 });
  while ((await leases.describe("name")).waiting === 0);
  // By less than what the keys outlast the lease by, and by more.
  for (const ttlMs of [60_000, 60_500, 61_400, 61_500, 63_000, 600_000]) {
    await leases.renew(lease!, ttlMs);
    const { expiresAt } = (await leases.describe("name")).holders[0]!;
    for (const key of await client.keys("*name")) {
      const outlastsMs = ((await client.call("PEXPIRETIME", key)) as number) - expiresAt;
      assert.ok(outlastsMs > -1 && outlastsMs <= 1_000, `${key} ends ${outlastsMs} ms after the lease of ${ttlMs}`);
    }
  }
  assert.equal((await client.keys("*name")).length, 2);
  await leases.release("name", "a");
  await next;
  await leases.release("name", "b");
  assert.deepEqual(await client.keys("*name"), []);
});
