/** A name on Redis that its holder releases goes to who waits for it in the same process, in the same step. */
import assert from "node:assert/strict";
import { after, type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import { type RedisEngine, redis } from "tenon/redis";
import { closedAfter } from "./closed-after.ts";
import { startTcpProxy } from "./faults/tcp-proxy.ts";
import { holders, leaseHandOverCases, name, queued, request } from "./lease-hand-over-cases.ts";
import { redisServerMissing, startRedis } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

if (redisServerMissing) test("leases on Redis that are handed over", { skip: redisServerMissing });
else await cases();

async function cases(): Promise<void> {
  const server = await startRedis();
  after(() => server[Symbol.asyncDispose]());
  let prefixes = 0;

  const open = (t: TestContext, prefix: string, url: string): Promise<RedisEngine> => {
    const connect = () => new Redis(url, { autoResendUnfulfilledCommands: false });
    return closedAfter(t, redis({ connect, prefix }), (engine) => engine.close());
  };
  const together = (t: TestContext, count: number, url = server.url): Promise<readonly RedisEngine[]> => {
    const prefix = `hand-overs-${prefixes++}`;
    return Promise.all(Array.from({ length: count }, () => open(t, prefix, url)));
  };

  leaseHandOverCases(together);

  /** What is published while something is done; nothing that comes later. */
  const published = async (t: TestContext, work: () => Promise<void>): Promise<readonly string[]> => {
    const client = new Redis(server.url);
    const heard: string[] = [];
    const ended = Promise.withResolvers<void>();
    t.after(() => client.disconnect());
    client.on("pmessage", (_pattern: string, channel: string) => {
      if (channel === "the end") ended.resolve();
      else heard.push(channel);
    });
    await client.psubscribe("*");
    await work();
    const other = new Redis(server.url);
    await other.publish("the end", "");
    await ended.promise;
    other.disconnect();
    return heard;
  };

  test("who waits in the process of the holder is granted the name by the release, and is not called", async (t) => {
    const [engine] = await together(t, 1);
    const { leases } = engine!;
    const former = await leases.acquire(name, request("a"));
    const next = leases.acquire(name, request("b", { ttlMs: 30_000, data: "of b" }));
    await queued(engine!, 1);
    const before = performance.now();
    const heard = await published(t, async () => {
      const released = leases.release(name, "a");
      const asked = performance.now();
      await released;
      const lease = await next;
      assert.ok(lease!.token > former!.token);
      assert.equal(lease!.ttlMs, 30_000);
      const { monotonic } = lease!.since;
      assert.ok(monotonic >= before && monotonic <= asked, "its time counts from when the release was asked for");
    });
    assert.ok(
      heard.length > 0 && heard.every((channel) => channel.endsWith(`:lease:${name}`)),
      "only watches are told",
    );
    const described = await leases.describe(name);
    assert.equal(described.waiting, 0);
    assert.deepEqual(
      described.holders.map(({ holder, token, data }) => ({ holder, token, data })),
      [{ holder: "b", token: (await next)!.token, data: "of b" }],
    );
    const leftMs = described.holders[0]!.expiresAt - Date.now();
    assert.ok(leftMs > 0 && leftMs <= 30_000, "it ends when its own time does, not the former holder's");
    await leases.release(name, "b");
  });

  test("who has asked for more time while the name was handed over has that time", async (t) => {
    const [engine] = await together(t, 1);
    const { leases } = engine!;
    await leases.acquire(name, request("a"));
    const first = leases.acquire(name, request("b", { ttlMs: 1_000, data: "one" }));
    await queued(engine!, 1);
    const released = leases.release(name, "a");
    const second = leases.acquire(name, request("b", { ttlMs: 50_000, data: "two" }));
    await released;
    const [one, two] = await Promise.all([first, second]);
    assert.equal(one!.token, two!.token);
    assert.equal(two!.ttlMs, 50_000);
    assert.equal((await leases.describe(name)).holders[0]!.data, "two");
    await leases.release(name, "b");
  });

  test("a lighter request of the same process does not overtake a heavy one, nor one of another process", async (t) => {
    const [one, other] = await together(t, 2);
    const counted = { capacity: 3 };
    for (const heavyOne of [one!, other!]) {
      await one!.leases.acquire(name, request("a", counted));
      await one!.leases.acquire(name, request("b", counted));
      const heavy = heavyOne.leases.acquire(name, request("heavy", { ...counted, weight: 3 }));
      await queued(one!, 1);
      const light = one!.leases.acquire(name, request("light", counted));
      await queued(one!, 2);
      await one!.leases.release(name, "a");
      assert.deepEqual(await holders(one!), ["b"]);
      await one!.leases.release(name, "b");
      const lease = await heavy;
      assert.deepEqual(await holders(one!), ["heavy"]);
      await heavyOne.leases.release(name, "heavy");
      assert.ok((await light)!.token > lease!.token);
      await one!.leases.release(name, "light");
    }
  });

  test("who waits in another process for more is not granted what is asked for under its name in this one", async (t) => {
    const [one, other] = await together(t, 2);
    const counted = { capacity: 3 };
    await one!.leases.acquire(name, request("a", { ...counted, weight: 3 }));
    const next = other!.leases.acquire(name, request("b", { ...counted, weight: 2 }));
    await queued(one!, 1);
    const refused = assert.rejects(one!.leases.acquire(name, request("b", counted)), { code: "conflict" });
    await one!.leases.release(name, "a");
    await refused;
    await next;
    const { holders: found } = await one!.leases.describe(name);
    assert.deepEqual(
      found.map(({ holder, weight }) => [holder, weight]),
      [["b", 2]],
    );
  });

  test("permits that are released together go to as many of those who wait", async (t) => {
    const [engine] = await together(t, 1);
    const { leases } = engine!;
    const counted = { capacity: 2 };
    await Promise.all(["a", "b"].map((holder) => leases.acquire(name, request(holder, counted))));
    const next = ["c", "d", "e"].map((holder) => leases.acquire(name, request(holder, counted)));
    await queued(engine!, 3);
    await Promise.all(["a", "b"].map((holder) => leases.release(name, holder)));
    await Promise.all(next.slice(0, 2));
    assert.deepEqual(await holders(engine!), ["c", "d"]);
    await leases.release(name, "d");
    await next[2];
    assert.deepEqual(await holders(engine!), ["c", "e"]);
    await Promise.all(["c", "e"].map((holder) => leases.release(name, holder)));
  });

  test("whoever comes behind those who are handed the name hears of its turn", async (t) => {
    const [one, other] = await together(t, 2);
    const counted = { capacity: 3 };
    await one!.leases.acquire(name, request("all", { ...counted, weight: 3 }));
    const own = one!.leases.acquire(name, request("own", counted));
    await queued(one!, 1);
    const foreign = other!.leases.acquire(name, request("foreign", counted));
    await queued(one!, 2);
    const heard = await published(t, async () => {
      await one!.leases.release(name, "all");
      await Promise.all([own, foreign]);
    });
    assert.equal(heard.filter((channel) => channel.includes(":leases:")).length, 1);
  });

  /** What begins to listen asks anew once, as it may have missed something. */
  const listening = async ({ leases }: RedisEngine): Promise<void> => {
    const client = new Redis(server.url);
    await leases.acquire("other", request("a"));
    while (((await client.pubsub("CHANNELS", `hand-overs-${prefixes - 1}:leases:*`)) as string[]).length === 0);
    client.disconnect();
  };

  /** The answer is lost to a release by which the name goes to one who waits; answers what became of that one. */
  const losingTheAnswer = async (t: TestContext, lost: (waiting: AbortController) => void) => {
    const proxy = await startTcpProxy({ serverPort: Number(new URL(server.url).port) });
    t.after(() => proxy[Symbol.asyncDispose]());
    for (;;) {
      const [engine] = await together(t, 1, `redis://127.0.0.1:${proxy.port}`);
      const { leases } = engine!;
      await listening(engine!);
      await leases.acquire(name, request("a"));
      const controller = new AbortController();
      const next = leases.acquire(name, request("b"), { signal: controller.signal }).catch((error) => error);
      await queued(engine!, 1);
      proxy.connections[0]!.loseReply();
      await assert.rejects(leases.release(name, "a"), { code: "unavailable", outcome: "unknown" });
      lost(controller);
      const outcome = await next;
      if (outcome.code !== "unavailable") return { leases, outcome };
      // It was asking again just then, and the answer to that was lost.
      await engine!.close();
      await Promise.all(proxy.connections.map(({ closed }) => closed));
    }
  };

  test("who waits has the name when the answer is lost to the release that granted it", async (t) => {
    const { leases, outcome: lease } = await losingTheAnswer(t, () => undefined);
    assert.deepEqual(await holders({ leases }), ["b"]);
    // What is repeated takes nothing away.
    await leases.release(name, "a");
    assert.equal((await leases.renew(lease)).token, lease.token);
  });

  test("who goes when the answer is lost to the release that granted it the name keeps it from nobody", async (t) => {
    const { leases, outcome } = await losingTheAnswer(t, (waiting) => waiting.abort(new Error("gone")));
    assert.equal(outcome.message, "gone");
    await leases.release(name, "a");
    assert.equal((await leases.acquire(name, request("next", { waitMs: 10_000 })))?.holder, "next");
  });
}
