/** Leases on one Redis whose processes lose their connections all the time. */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { type RedisEngine, redis } from "tenon/redis";
import { redisServerMissing, startRedis } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

interface Grant {
  readonly token: bigint;
  readonly at: number;
  until: number;
}

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
  const end = performance.now() + 4_000;
  const fight = async ({ leases }: RedisEngine) => {
    while (performance.now() < end) {
      const holder = randomUUID();
      const lease = await leases
        .acquire("name", { holder, ttlMs: 400, waitMs: 1_000 })
        .catch((error) => void assert.equal(error.code, "unavailable"));
      if (lease === undefined) continue;
      const grant = { token: lease.token, at: performance.now(), until: lease.since.monotonic + lease.ttlMs };
      grants.push(grant);
      await sleep(Math.random() * 8);
      // What a holder gives back it gave up before it asked to.
      grant.until = Math.min(grant.until, performance.now());
      if (Math.random() < 0.9) await leases.release("name", holder).catch(() => undefined);
    }
  };
  const breaking = (async () => {
    while (performance.now() < end) {
      await sleep(10 + Math.random() * 50);
      for (const client of clients) if (Math.random() < 0.2) client.stream?.destroy();
      if (Math.random() < 0.05) {
        await server.stop();
        await server.start();
      }
    }
  })();
  await Promise.all([...engines.map(fight), breaking]);
  assert.ok(grants.length > 10, `${grants.length} grants`);
  grants.sort((one, other) => one.at - other.at);
  for (const [index, { token, at }] of grants.entries()) {
    for (const former of grants.slice(0, index)) {
      assert.ok(token > former.token, "every grant has a greater token than those before it");
      assert.ok(former.until <= at, "nobody else relies on a lease");
    }
  }
});
