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
