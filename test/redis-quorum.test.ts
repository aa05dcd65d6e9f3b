/** What only a quorum can go through: servers that die, come back empty, or stand still, and processes that lose their connections. */
import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { sharedCapacity } from "tenon/contracts";
import { foundRedisQuorum, type RedisQuorumOptions, redisQuorum } from "tenon/redis";
import { checkGrants, type Grant } from "./lease-grants.ts";
import { foundPrefix, type QuorumProcess, quorumClient, startQuorum } from "./redis-quorum-host.ts";
import { type RedisServer, type RedisServerOptions, redisServerMissing, startRedis } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

class Servers implements AsyncDisposable {
  readonly all: readonly RedisServer[];

  constructor(all: readonly RedisServer[]) {
    this.all = all;
  }

  get urls(): readonly string[] {
    return this.all.map(({ url }) => url);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.all) {
      server.resume();
      await server.dispose();
    }
  }
}

async function five(options: RedisServerOptions = {}): Promise<Servers> {
  return new Servers(await Promise.all(Array.from({ length: 5 }, () => startRedis(options))));
}

const ttlMs = 60_000;

function request(holder: string, more: object = {}) {
  return { holder, ttlMs, waitMs: 0, ...more };
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 30_000;
  while (!(await holds())) {
    assert.ok(performance.now() < end, what);
    await sleep(20);
  }
}

describe("a quorum of five Redis servers", { concurrency: 3, skip: redisServerMissing }, () => {
  test("refuses clearly when three servers are gone, and goes on when one of them is back", async () => {
    await using servers = await five();
    const prefix = await foundPrefix(servers.urls);
    await using process = await startQuorum({ urls: servers.urls, prefix });
    const { engine } = process;
    const before = await engine.leases.acquire("name", request("a"));
    assert.ok(before !== undefined);
    for (const server of servers.all.slice(0, 3)) await server.stop();
    await assert.rejects(engine.leases.acquire("other", request("b")), { code: "unavailable" });
    await assert.rejects(engine.leases.describe("name"), { code: "unavailable", outcome: "not-applied" });
    await assert.rejects(engine.leases.renew(before), { code: "unavailable" });
    await assert.rejects(startQuorum({ urls: servers.urls, prefix, more: { connectTimeoutMs: 500 } }), {
      code: "unavailable",
    });
    await servers.all[0]!.start();
    await until("the name is still held", async () => {
      const shown = await engine.leases.describe("name").catch(() => undefined);
      return shown?.holders[0]?.token === before.token;
    });
    assert.equal((await engine.leases.renew(before)).token, before.token);
    assert.equal(await engine.leases.acquire("name", request("b")), undefined);
  });

  test("keeps a lease while its servers are restarted one after the other", async () => {
    await using servers = await five();
    const prefix = await foundPrefix(servers.urls);
    for (const server of servers.all.slice(3)) await server.stop();
    const first = await startQuorum({ urls: servers.urls, prefix });
    const present = await first.engine.leases.acquire("name", request("a"));
    assert.ok(present !== undefined);
    const { token } = present;
    // With it goes what it still had to say to the servers that are down.
    await first.engine.close();
    for (const server of servers.all.slice(3)) await server.start();
    await using process = await startQuorum({ urls: servers.urls, prefix });
    const { engine } = process;
    // Each of the three that granted it goes; without restoring it elsewhere, the majority would be lost with the first.
    for (const server of servers.all.slice(0, 3)) {
      await until("four servers hold it", async () => {
        await engine.leases.renew(present).catch(() => undefined);
        return (await holding(servers, `${prefix}:quorum:n:name`)) >= 4;
      });
      await server.stop();
      // The request that its end cut off is repeated, as the coordination block does.
      await until("it is renewed without that server", async () => {
        const renewed = await engine.leases.renew(present).catch((error) => {
          assert.equal(error.code, "unavailable");
        });
        assert.ok(renewed === undefined || renewed.token === token);
        return renewed !== undefined;
      });
      await server.start();
    }
  });

  test("a server that came back empty has no vote until the longest time to live has passed", async () => {
    await using servers = await five({ appendfsync: "nothing" });
    const more = { ttlMsMax: 3_000, serverTimeoutMs: 300 };
    const prefix = await foundPrefix(servers.urls, more);
    await using process = await startQuorum({ urls: servers.urls, prefix, more });
    const { engine } = process;
    // Held by the first three.
    for (const server of servers.all.slice(3)) server.pause();
    const lease = await engine.leases.acquire("name", request("a", { ttlMs: 3_000 }));
    assert.ok(lease !== undefined);
    // Two of them forget it; together with the two that never knew they would be a majority.
    for (const server of servers.all.slice(0, 2)) {
      await server.stop();
      await server.start();
    }
    for (const server of servers.all.slice(3)) server.resume();
    await using other = await startQuorum({ urls: servers.urls, prefix, more });
    for (;;) {
      const next = await other.engine.leases
        .acquire("name", request("b", { ttlMs: 1_000 }))
        .catch((error) => void assert.equal(error.code, "unavailable"));
      // Taken just before the look: what was granted before it is too early.
      const heldMs = performance.now() - lease.since.monotonic;
      if (next !== undefined) {
        assert.ok(heldMs >= lease.ttlMs, `b holds the name ${heldMs} ms after a got it for ${lease.ttlMs} ms`);
        assert.ok(next.token > lease.token);
        break;
      }
      await sleep(20);
    }
  });

  test("is not new twice, and a quorum that nobody has founded waits", async () => {
    await using servers = await five();
    const prefix = await foundPrefix(servers.urls);
    await assert.rejects(foundPrefixAgain(servers.urls, prefix), { code: "conflict" });
    const more = { ttlMsMax: 2_000, serverTimeoutMs: 300 };
    await using unfounded = await startQuorum({ urls: servers.urls, prefix: "nobody", more });
    const { leases } = unfounded.engine;
    await assert.rejects(leases.acquire("name", request("a", { ttlMs: 1_000 })), {
      code: "unavailable",
      message: /foundRedisQuorum/,
    });
    await until("it votes some time later", async () => {
      const lease = await leases.acquire("name", request("a", { ttlMs: 1_000 })).catch(() => undefined);
      return lease !== undefined;
    });
  });

  test("a majority that saw nothing of the greatest token but its confirmation gives a greater one", async () => {
    await using servers = await five();
    const prefix = await foundPrefix(servers.urls);
    await using process = await startQuorum({ urls: servers.urls, prefix });
    const { leases } = process.engine;
    const ahead = 2n ** 52n;
    const client = quorumClient(servers.urls[0]!);
    await client.set(`${prefix}:quorum:token`, String(ahead));
    client.disconnect();
    // The first server is needed for a majority, so that its count is the greatest proposal.
    for (const server of servers.all.slice(3)) server.pause();
    const first = await leases.acquire("name", request("a"));
    assert.ok(first !== undefined && first.token > ahead);
    await leases.release("name", "a");
    for (const server of servers.all.slice(3)) server.resume();
    servers.all[0]!.pause();
    await until("it is granted without the first server", async () => {
      const next = await leases.acquire("name", request("b")).catch(() => undefined);
      if (next === undefined) return false;
      assert.ok(next.token > first.token, `${next.token} does not follow ${first.token}`);
      return true;
    });
  });

  test("readers that come at the same time through several processes have different tokens", async () => {
    await using servers = await five();
    const prefix = await foundPrefix(servers.urls);
    await using one = await startQuorum({ urls: servers.urls, prefix });
    await using other = await startQuorum({ urls: servers.urls, prefix });
    // Ahead of the clocks, so that all servers propose the same.
    for (const url of servers.urls) {
      const client = quorumClient(url);
      await client.set(`${prefix}:quorum:token`, String(2n ** 52n));
      client.disconnect();
    }
    const tokens = new Set<bigint>();
    let granted = 0;
    for (let round = 0; round < 10; round++) {
      const asking = Array.from({ length: 12 }, (_, index) =>
        [one, other][index % 2]!.engine.leases.acquire(
          `name ${round}`,
          request(`${index}`, { capacity: sharedCapacity, waitMs: 10_000 }),
        ),
      );
      for (const lease of await Promise.all(asking)) {
        if (lease === undefined) continue;
        granted += 1;
        tokens.add(BigInt(round) * 2n ** 60n + lease.token);
      }
    }
    assert.ok(granted > 60, `${granted} of 120 were granted`);
    assert.equal(tokens.size, granted);
  });

  test("is made of different servers, an odd number of them", async () => {
    await using servers = await five();
    const [one, two] = servers.urls;
    const quorumOf = (urls: readonly string[]): RedisQuorumOptions => ({
      connect: urls.map((url) => () => quorumClient(url)),
    });
    await assert.rejects(redisQuorum(quorumOf([one!, two!, one!])), { code: "invalid", message: /same/ });
    await assert.rejects(redisQuorum(quorumOf([one!, two!])), { code: "invalid" });
    await assert.rejects(redisQuorum(quorumOf(servers.urls.slice(0, 4))), { code: "invalid" });
  });

  test("of many processes with breaking connections one at a time is under the greatest token", async () => {
    await using servers = await five();
    const prefix = await foundPrefix(servers.urls);
    await using stack = new AsyncDisposableStack();
    const processes: QuorumProcess[] = [];
    for (let index = 0; index < 4; index++) {
      const process = await startQuorum({ urls: servers.urls, prefix, more: { serverTimeoutMs: 300 } });
      processes.push(stack.use(process));
    }
    const grants: Grant[] = [];
    const end = performance.now() + 4_000;
    const fight = async ({ engine }: (typeof processes)[number], index: number) => {
      for (let round = 0; performance.now() < end; round++) {
        const holder = `${index}-${round}`;
        const asked = performance.now();
        const lease = await engine.leases
          .acquire("name", request(holder, { ttlMs: 1_000, waitMs: 500 }))
          .catch((error) => void assert.equal(error.code, "unavailable"));
        if (lease === undefined) continue;
        const grant = {
          token: lease.token,
          asked,
          at: performance.now(),
          until: lease.since.monotonic + lease.ttlMs,
        };
        grants.push(grant);
        assert.ok(lease.since.monotonic >= asked);
        await sleep(Math.random() * 10);
        // What a holder gives back it gave up before it asked to.
        grant.until = Math.min(grant.until, performance.now());
        await engine.leases.release("name", holder).catch(() => undefined);
      }
    };
    const breaking = (async () => {
      while (performance.now() < end) {
        await sleep(30 + Math.random() * 60);
        const { clients } = processes[Math.floor(Math.random() * processes.length)]!;
        for (const client of clients) if (Math.random() < 0.3) client.stream?.destroy();
        if (Math.random() < 0.2) {
          const server = servers.all[Math.floor(Math.random() * 5)]!;
          server.pause();
          await sleep(Math.random() * 400);
          server.resume();
        }
      }
    })();
    await Promise.all([...processes.map(fight), breaking]);
    assert.ok(grants.length > 20, `${grants.length} grants`);
    checkGrants(grants);
  });
});

async function foundPrefixAgain(urls: readonly string[], prefix: string): Promise<void> {
  await foundRedisQuorum({ connect: urls.map((url) => () => quorumClient(url)), prefix });
}

/** On how many servers that are up the key is. */
async function holding(servers: Servers, key: string): Promise<number> {
  let count = 0;
  for (const server of servers.all) {
    if (server.pid === undefined) continue;
    const client = quorumClient(server.url);
    count += await client.exists(key);
    client.disconnect();
  }
  return count;
}
