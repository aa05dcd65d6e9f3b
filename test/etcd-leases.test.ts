/** How grants pass from one holder to the next on etcd, in as few requests as it takes: what is sent is watched, held back or lost on its way. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import type { Lease } from "tenon/contracts";
import { type EtcdEngine, type EtcdFetch, etcd } from "tenon/etcd";
import { systemWorld, type World } from "tenon/world";
import { engine as find } from "./engines.ts";
import { ask, base64, deleteKeys, testPrefix } from "./etcd-host.ts";
import { leaseHandOverCases } from "./lease-hand-over-cases.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("etcd");
const long = { ttlMs: 60_000, waitMs: 60_000 };

interface Sent {
  readonly path: string;
  readonly body: string;
}

/** Node's own; remembers what is sent, and lets a test step in before it is, and when it was answered. */
class WatchedFetch {
  readonly sent: Sent[] = [];
  before: ((request: Sent) => Promise<void> | undefined) | undefined;
  after: ((request: Sent) => Promise<void> | undefined) | undefined;

  /** Without watches. */
  #underWay = 0;

  readonly fetch: EtcdFetch = async (url, request) => {
    const sent = { path: url.slice(url.indexOf("/v3/") + 4), body: request.body };
    this.sent.push(sent);
    if (sent.path === "watch") return fetch(url, request);
    this.#underWay += 1;
    try {
      await this.before?.(sent);
      const response = await fetch(url, request);
      const text = await response.text();
      await this.after?.(sent);
      return { status: response.status, text: async () => text, body: null };
    } finally {
      this.#underWay -= 1;
    }
  };

  /** Everything was answered, and the answers were looked at. */
  async quiet(): Promise<void> {
    do await new Promise((resolve) => setImmediate(resolve));
    while (this.#underWay > 0);
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** Steps in at the next such request. */
  once(when: "before" | "after", matches: (request: Sent) => boolean, act: () => Promise<void> | void): void {
    this[when] = async (request) => {
      if (!matches(request)) return;
      this[when] = undefined;
      await act();
    };
  }

  count(matches: (request: Sent) => boolean): number {
    return this.sent.filter(matches).length;
  }
}

const isHandOver = ({ body }: Sent) => body.includes('"GREATER"');
const isPlace = ({ path, body }: Sent) =>
  path === "kv/txn" && body.includes('"request_put"') && body.includes("request_range");
const isChange = ({ path, body }: Sent) =>
  path === "kv/deleterange" || (path === "kv/txn" && /"request_(put|delete_range)"/.test(body));

/** What follows `part` in the keys that the request makes if it can. */
function madeIn({ path, body }: Sent, part: string): readonly string[] {
  if (path !== "kv/txn") return [];
  const { success = [] } = JSON.parse(body) as { success?: readonly { request_put?: { key: string } }[] };
  const keys = success.flatMap(({ request_put: put }) => (put === undefined ? [] : [Buffer.from(put.key, "base64")]));
  return keys
    .filter((key) => key.includes(part))
    .map((key) => key.subarray(key.indexOf(part) + part.length).toString());
}

const grantsIn = (request: Sent) => madeIn(request, "4:name/h/");
/** Whose. */
const placesIn = (request: Sent) => madeIn(request, "4:name/w/");

const networks: WatchedFetch[] = [];

function lost(): TypeError {
  return new TypeError("fetch failed", { cause: Object.assign(new Error("cut"), { code: "ECONNRESET" }) });
}

async function open(
  t: TestContext,
  prefix = testPrefix(),
  world?: World,
): Promise<{ readonly engine: EtcdEngine; readonly network: WatchedFetch }> {
  const network = new WatchedFetch();
  networks.push(network);
  const engine = await etcd({ endpoints: [server.url], fetch: network.fetch, prefix, world });
  t.after(async () => {
    networks.splice(networks.indexOf(network), 1);
    await engine.close();
    await deleteKeys(server.url, prefix);
  });
  return { engine, network };
}

/** Two engines on the same names. */
async function openTwo(t: TestContext) {
  const prefix = testPrefix();
  return [await open(t, prefix), await open(t, prefix)] as const;
}

/** a holds the name, and b of the same engine waits for it. */
async function openWithOneWaiting(t: TestContext, prefix?: string, world?: World) {
  const { engine, network } = await open(t, prefix, world);
  const held = await acquire(engine, "a");
  const leaving = new AbortController();
  const next = acquire(engine, "b", {}, leaving.signal);
  // Whether it is to be granted, each test says.
  next.catch(() => undefined);
  await untilWaiting(engine, 1);
  return { engine, network, held, next, leaving };
}

function acquire({ leases }: EtcdEngine, holder: string, more: object = {}, signal?: AbortSignal): Promise<Lease> {
  return leases.acquire("name", { ...long, holder, ...more }, { signal }) as Promise<Lease>;
}

/** Until so many wait, and their engines know their places. */
async function untilWaiting({ leases }: EtcdEngine, count: number): Promise<void> {
  while ((await leases.describe("name")).waiting !== count);
  await Promise.all(networks.map((network) => network.quiet()));
}

/** Of etcd, under which the first grant stands. */
async function leaseOf(prefix: string): Promise<string> {
  const range = { key: base64(`${prefix}/leases/4:name/h/`), range_end: base64(`${prefix}/leases/4:name/h0`) };
  const { kvs } = (await ask(server.url, "kv/range", range)) as { kvs: readonly { lease: string }[] };
  return kvs[0]!.lease;
}

async function holdersOf({ leases }: EtcdEngine): Promise<readonly string[]> {
  return (await leases.describe("name")).holders.map(({ holder }) => holder);
}

describe("grants of leases on etcd", { skip: server.skip }, () => {
  leaseHandOverCases((t, count) => {
    const prefix = testPrefix();
    return Promise.all(Array.from({ length: count }, async () => (await open(t, prefix)).engine));
  });

  test("a lock that nobody else wants costs two requests, one to take it and one to give it back", async (t) => {
    const { engine, network } = await open(t);
    await acquire(engine, "first");
    await engine.leases.release("name", "first");
    network.sent.length = 0;
    await acquire(engine, "second");
    await engine.leases.release("name", "second");
    assert.deepEqual(
      network.sent.map(({ path }) => path),
      ["kv/txn", "kv/txn"],
    );
  });

  test("a name has as few keys as it ever had grants at a time, whoever is granted it", async (t) => {
    const { engine, network } = await open(t);
    const grants = () => network.sent.flatMap(grantsIn);
    for (let index = 0; index < 10; index++) {
      await acquire(engine, `alone-${index}`);
      await engine.leases.release("name", `alone-${index}`);
    }
    assert.deepEqual([grants().length, new Set(grants()).size], [10, 1]);
    network.sent.length = 0;
    await acquire(engine, "in-turn-0");
    for (let index = 0; index < 10; index++) {
      const next = acquire(engine, `in-turn-${index + 1}`);
      await untilWaiting(engine, 1);
      await engine.leases.release("name", `in-turn-${index}`);
      await next;
    }
    await engine.leases.release("name", "in-turn-10");
    assert.equal(network.count(isHandOver), 10);
    assert.deepEqual([grants().length, new Set(grants()).size], [11, 2]);
    network.sent.length = 0;
    for (let index = 0; index < 10; index++) {
      const holders = ["r1", "r2", "r3"].map((each) => `${each}-${index}`);
      for (const holder of holders) await acquire(engine, holder, { capacity: 3 });
      assert.deepEqual(await holdersOf(engine), holders);
      // One after the other, in different orders.
      for (let turn = 0; turn < 3; turn++) await engine.leases.release("name", holders[(index + turn) % 3]!);
    }
    assert.equal(new Set(grants()).size, 3);
  });

  for (const others of ["nobody", "somebody of its engine"]) {
    /** a held the name until its lease of etcd ended, of which its engine knows nothing; then `next` took it elsewhere, under the key that a had. */
    const openAfterEnd = async (t: TestContext, next: string) => {
      const prefix = testPrefix();
      const [{ engine: one }, { engine: other }] = [await open(t, prefix), await open(t, prefix)];
      const ended = await acquire(one, "a");
      await ask(server.url, "lease/revoke", { ID: await leaseOf(prefix) });
      const lease = await acquire(other, next);
      assert.ok(lease.token > ended.token);
      assert.equal(new Set(networks.flatMap(({ sent }) => sent.flatMap(grantsIn))).size, 1);
      const waits = others === "nobody" ? undefined : acquire(one, "b");
      if (waits !== undefined) await untilWaiting(one, 1);
      return { one, other, waits };
    };

    test(`a release leaves what somebody else was granted since its grant ended, while ${others} waits`, async (t) => {
      const { one, other, waits } = await openAfterEnd(t, "x");
      await one.leases.release("name", "a");
      assert.deepEqual(await holdersOf(one), ["x"]);
      await other.leases.release("name", "x");
      assert.equal((await waits)?.holder, waits && "b");
    });

    test(`a release gives up what its holder was granted elsewhere since its grant ended, while ${others} waits`, async (t) => {
      const { one, waits } = await openAfterEnd(t, "a");
      await one.leases.release("name", "a");
      assert.equal((await waits)?.holder, waits && "b");
      assert.deepEqual(await holdersOf(one), waits === undefined ? [] : ["b"]);
    });
  }

  test("who asks once more for what it was granted, and nobody told it, stands in nobody's way", async (t) => {
    const { engine, network } = await open(t);
    network.once(
      "after",
      ({ body }) => body.includes('"request_put"'),
      () => {
        throw lost();
      },
    );
    await assert.rejects(acquire(engine, "a"), { outcome: "unknown" });
    const next = acquire(engine, "b");
    await untilWaiting(engine, 1);
    await assert.rejects(acquire(engine, "a", { capacity: 2 }), { code: "conflict" });
    assert.equal((await engine.leases.describe("name")).waiting, 1);
    await acquire(engine, "a");
    assert.equal((await engine.leases.describe("name")).waiting, 1);
    await engine.leases.release("name", "a");
    assert.equal((await next).holder, "b");
  });

  test("a grant under a key that is named after its holder, as former versions made it, is its holder's", async (t) => {
    const prefix = testPrefix();
    const { engine } = await open(t, prefix);
    const made = async (holder: string) => {
      const value = base64(JSON.stringify({ weight: 1, capacity: 1, expiresAt: 1_000 }));
      await ask(server.url, "kv/put", { key: base64(`${prefix}/leases/4:name/h/${holder}`), value });
    };
    await made("a");
    assert.deepEqual(await holdersOf(engine), ["a"]);
    assert.equal(await acquire(engine, "b", { waitMs: 0 }), undefined);
    const lease = await acquire(engine, "a");
    assert.equal((await engine.leases.renew(lease)).token, lease.token);
    assert.deepEqual(await holdersOf(engine), ["a"]);
    await engine.leases.release("name", "a");
    assert.deepEqual(await holdersOf(engine), []);
    await made("b");
    await engine.leases.release("name", "b");
    assert.deepEqual(await holdersOf(engine), []);
  });

  test("holders of one engine hand the name over in one request each, in the order in which they came, under growing tokens", async (t) => {
    const { engine, network } = await open(t);
    const tokens = [(await acquire(engine, "0")).token];
    const order: string[] = [];
    const all: Promise<void>[] = [];
    for (let index = 1; index <= 8; index++) {
      const turn = async (lease: Lease) => {
        order.push(lease.holder);
        tokens.push(lease.token);
        assert.deepEqual(await holdersOf(engine), [lease.holder]);
        await engine.leases.release("name", lease.holder);
      };
      all.push(acquire(engine, String(index)).then(turn));
      await untilWaiting(engine, index);
    }
    network.sent.length = 0;
    await engine.leases.release("name", "0");
    await Promise.all(all);
    assert.deepEqual(order, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert.deepEqual(
      tokens,
      [...tokens].sort((one, other) => (one < other ? -1 : 1)),
    );
    assert.equal(new Set(tokens).size, 9);
    // Eight hand-overs, and the last one gives it back.
    assert.equal(network.count(isHandOver), 8);
    assert.equal(network.count(isChange), 9);
    assert.deepEqual(await holdersOf(engine), []);
  });

  test("those who come at once share a request for their places, and are granted in the order of their calls", async (t) => {
    const { engine, network } = await open(t);
    await acquire(engine, "holder");
    network.sent.length = 0;
    const holders = Array.from({ length: 20 }, (_, index) => `${(index * 7) % 20}`);
    const order: string[] = [];
    const all = holders.map(async (holder) => {
      order.push((await acquire(engine, holder)).holder);
      await engine.leases.release("name", holder);
    });
    await untilWaiting(engine, 20);
    assert.equal(network.count(isPlace), 1);
    await engine.leases.release("name", "holder");
    await Promise.all(all);
    assert.deepEqual(order, holders);
  });

  test("one of them who waits already keeps the others from no place, nor from their order", async (t) => {
    const [{ engine, network }, { engine: other }] = await openTwo(t);
    await acquire(engine, "holder");
    const elsewhere = acquire(other, "twice");
    await untilWaiting(engine, 1);
    // As on a slow connection: whoever could overtake it has by then.
    network.once(
      "before",
      (request) => placesIn(request).join() === "a",
      async () => {
        for (let index = 0; index < 10; index++) await other.leases.describe("name");
      },
    );
    const order: string[] = [];
    const all = ["a", "twice", "b"].map(async (holder) => {
      await acquire(engine, holder);
      order.push(holder);
      await engine.leases.release("name", holder);
    });
    await untilWaiting(other, 3);
    assert.equal(network.before, undefined, "its place was asked for alone");
    await engine.leases.release("name", "holder");
    await other.leases.release("name", (await elsewhere).holder);
    await Promise.all(all);
    assert.deepEqual(
      order.filter((holder) => holder !== "twice"),
      ["a", "b"],
    );
  });

  test("a request that differs from what the holder waits for elsewhere is refused, and the place stays", async (t) => {
    const [{ engine }, { engine: other }] = await openTwo(t);
    await acquire(engine, "a");
    const waits = acquire(other, "b");
    await untilWaiting(engine, 1);
    await assert.rejects(acquire(engine, "b", { capacity: 2 }), { code: "conflict" });
    await engine.leases.release("name", "a");
    const { token } = await waits;
    const { holders } = await engine.leases.describe("name");
    assert.deepEqual(
      holders.map((each) => each.token),
      [token],
    );
  });

  test("who waited before in another engine is not overtaken by those of the engine that releases", async (t) => {
    const [{ engine: one }, { engine: two }] = await openTwo(t);
    const expected = ["two-1", "one-1", "one-2", "two-2", "two-3", "one-3"];
    await acquire(one, "first");
    const order: string[] = [];
    const all: Promise<void>[] = [];
    for (const [index, holder] of expected.entries()) {
      const engine = holder.startsWith("one") ? one : two;
      const turn = async ({ token }: Lease) => {
        order.push(holder);
        const { holders } = await engine.leases.describe("name");
        assert.deepEqual(
          holders.map((each) => [each.holder, each.token]),
          [[holder, token]],
        );
        await engine.leases.release("name", holder);
      };
      all.push(acquire(engine, holder).then(turn));
      await untilWaiting(one, index + 1);
    }
    await one.leases.release("name", "first");
    await Promise.all(all);
    assert.deepEqual(order, expected);
  });

  test("a release that hands the name to none of its engine keeps the lease of etcd for the next grant", async (t) => {
    const [{ engine: one, network }, { engine: two }] = await openTwo(t);
    await acquire(one, "a");
    const [theirs, ours] = [acquire(two, "b"), new AbortController()];
    await untilWaiting(one, 1);
    const behind = acquire(one, "c", {}, ours.signal);
    behind.catch(() => undefined);
    await untilWaiting(one, 2);
    const granted = () => network.count(({ path }) => path === "lease/grant");
    const before = granted();
    await one.leases.release("name", "a");
    await theirs;
    assert.equal(network.count(isHandOver), 1);
    await one.leases.acquire("other", { ...long, holder: "d" });
    assert.equal(granted(), before);
    ours.abort(new Error("enough"));
    await assert.rejects(behind, /enough/);
  });

  test("who is gone before the name is handed over gets nothing, and the next one gets it", async (t) => {
    const { engine, network, next: gone, leaving } = await openWithOneWaiting(t);
    const next = acquire(engine, "c");
    await untilWaiting(engine, 2);
    // The request is under way when b leaves, and is carried out after that.
    network.once("before", isHandOver, () => {
      leaving.abort(new Error("gone"));
    });
    const released = engine.leases.release("name", "a");
    await assert.rejects(gone, { message: "gone" });
    await released;
    assert.equal((await next).holder, "c");
    assert.deepEqual(await holdersOf(engine), ["c"]);
  });

  test("callers of one turn are granted the name in the order of their calls, also where the first finds out that somebody else has it", async (t) => {
    const [{ engine }, { engine: other }] = await openTwo(t);
    await acquire(other, "holder");
    const order: string[] = [];
    const all = ["a", "b", "c"].map(async (holder) => {
      await acquire(engine, holder);
      order.push(holder);
      await engine.leases.release("name", holder);
    });
    await untilWaiting(other, 3);
    await other.leases.release("name", "holder");
    await Promise.all(all);
    assert.deepEqual(order, ["a", "b", "c"]);
  });

  test("who gives up what it is just being handed has nothing of it any more", async (t) => {
    const { engine, next: pending } = await openWithOneWaiting(t);
    const next = acquire(engine, "c");
    await untilWaiting(engine, 2);
    const both = ["a", "b"].map((holder) => engine.leases.release("name", holder));
    await Promise.allSettled([...both, pending]);
    assert.equal((await next).holder, "c");
    assert.equal(await acquire(engine, "b", { waitMs: 0 }), undefined);
    assert.deepEqual(await holdersOf(engine), ["c"]);
  });

  test("a hand-over whose reply was lost is found by who has the name now", async (t) => {
    const { engine, network, held, next } = await openWithOneWaiting(t);
    network.once("after", isHandOver, () => {
      throw lost();
    });
    await assert.rejects(engine.leases.release("name", "a"), { outcome: "unknown" });
    const lease = await next;
    assert.ok(lease.token > held.token);
    assert.deepEqual(await holdersOf(engine), ["b"]);
    await engine.leases.release("name", "a");
    assert.deepEqual(await holdersOf(engine), ["b"]);
  });

  test("who left while the reply of its hand-over was lost keeps the name from nobody", async (t) => {
    const { engine, network, next: gone, leaving } = await openWithOneWaiting(t);
    network.once("after", isHandOver, () => {
      leaving.abort(new Error("gone"));
      throw lost();
    });
    await assert.rejects(engine.leases.release("name", "a"), { outcome: "unknown" });
    await assert.rejects(gone, { message: "gone" });
    assert.equal((await acquire(engine, "c")).holder, "c");
  });

  test("a hand-over that was never carried out leaves the queue as it is, and is done when it is repeated", async (t) => {
    const { engine, network, next } = await openWithOneWaiting(t);
    network.once("before", isHandOver, () => {
      throw lost();
    });
    await assert.rejects(engine.leases.release("name", "a"), { outcome: "unknown" });
    await engine.leases.release("name", "a");
    assert.equal((await next).holder, "b");
  });

  test("who asks once more for what it was granted after a hand-over that was never carried out, and goes, keeps it", async (t) => {
    const { engine, network, next } = await openWithOneWaiting(t);
    network.once("before", isHandOver, () => {
      throw lost();
    });
    await assert.rejects(engine.leases.release("name", "a"), { outcome: "unknown" });
    await engine.leases.release("name", "a");
    await next;
    const controller = new AbortController();
    network.after = async (request) => {
      if (isChange(request)) controller.abort(new Error("gone"));
    };
    await assert.rejects(acquire(engine, "b", {}, controller.signal), { message: "gone" });
    await network.quiet();
    assert.deepEqual(await holdersOf(engine), ["b"]);
  });

  for (const when of ["before", "after"] as const) {
    test(`a lease of etcd that ends ${when} it is looked at ends the release, and the next one has its full time`, async (t) => {
      const real = systemWorld();
      let aheadMs = 0;
      const clock = { now: () => real.clock.now(), monotonic: () => real.clock.monotonic() + aheadMs };
      const prefix = testPrefix();
      const { engine, network, held, next } = await openWithOneWaiting(t, prefix, { ...real, clock });
      const ended = await leaseOf(prefix);
      const end = async () => void (await ask(server.url, "lease/revoke", { ID: ended }));
      const isStep = when === "before" ? ({ path }: Sent) => path === "lease/keepalive" : isHandOver;
      const isGiven = ({ path, body }: Sent) => path !== "lease/keepalive" || body.includes(ended);
      network.once("before", (request) => isStep(request) && isGiven(request), end);
      // More than what a lease of etcd lasts longer than the grant: so it is renewed first.
      aheadMs = 3_000;
      await engine.leases.release("name", "a");
      const lease = await next;
      assert.ok(lease.token > held.token);
      assert.equal(network.before, undefined, "it ended on the way");
      assert.notEqual(await leaseOf(prefix), ended);
    });
  }

  test("a holder that was paused for longer than its time gives nothing of others away", async (t) => {
    const [{ engine: paused }, { engine: other }] = await openTwo(t);
    await acquire(paused, "a", { ttlMs: 1 });
    const next = acquire(other, "x");
    // Its lease of etcd has ended.
    await next;
    const waits = acquire(paused, "b", { ttlMs: 1 });
    await untilWaiting(other, 1);
    await paused.leases.release("name", "a");
    assert.deepEqual(await holdersOf(other), ["x"]);
    await other.leases.release("name", "x");
    assert.equal((await waits).holder, "b");
  });

  test("who held the name once, and gives up its place in the queue, leaves it to those behind it", async (t) => {
    const [{ engine: one }, { engine: other }] = await openTwo(t);
    await acquire(one, "a", { ttlMs: 1 });
    // Its lease of etcd has ended.
    await acquire(other, "x");
    const again = acquire(one, "a");
    await untilWaiting(other, 1);
    await one.leases.release("name", "a");
    assert.equal(await again, undefined);
    assert.equal((await other.leases.describe("name")).waiting, 0);
    const next = acquire(one, "b");
    await untilWaiting(other, 1);
    await other.leases.release("name", "x");
    assert.equal((await next).holder, "b");
  });

  test("a clock that has gone on since the lease of etcd was renewed lets it be renewed before the next grant", async (t) => {
    const real = systemWorld();
    let aheadMs = 0;
    // As after a machine's sleep: the monotonic clock has stood still.
    const clock = { now: () => real.clock.now() + aheadMs, monotonic: () => real.clock.monotonic() };
    const { engine, network } = await open(t, testPrefix(), { ...real, clock });
    const renewals = () => network.count(({ path }) => path === "lease/keepalive");
    await acquire(engine, "a");
    await engine.leases.release("name", "a");
    aheadMs = 1_500;
    await acquire(engine, "b");
    assert.equal(renewals(), 1);
    await engine.leases.release("name", "b");
    aheadMs = 120_000;
    await acquire(engine, "c");
    assert.equal(renewals(), 1, "one that has ended for sure is not renewed");
  });

  test("readers are granted together when a writer of the same engine hands the name over", async (t) => {
    const { engine } = await open(t);
    const write = { weight: 5, capacity: 5 };
    const read = { weight: 1, capacity: 5 };
    await acquire(engine, "writer", write);
    const readers = ["r1", "r2", "r3"].map((holder) => acquire(engine, holder, read));
    await untilWaiting(engine, 3);
    await engine.leases.release("name", "writer");
    await Promise.all(readers);
    assert.deepEqual([...(await holdersOf(engine))].sort(), ["r1", "r2", "r3"]);
  });

  test("who asks for another time is granted it, and not what is left of its predecessor's", async (t) => {
    const { engine, network } = await open(t);
    await acquire(engine, "a");
    const next = acquire(engine, "b", { ttlMs: 600_000 });
    await untilWaiting(engine, 1);
    await engine.leases.release("name", "a");
    assert.equal((await next).ttlMs, 600_000);
    assert.equal(network.count(isHandOver), 0);
  });

  test("who asks again and again for a name that is taken costs etcd reads only", async (t) => {
    const [{ engine }, { engine: other, network }] = await openTwo(t);
    await acquire(engine, "a");
    for (let index = 0; index < 5; index++) {
      assert.equal(await acquire(other, `b${index}`, { waitMs: 0 }), undefined);
    }
    assert.equal(network.count(isChange), 1);
  });

  test("who stops waiting and asks once more at once leaves the queue", async (t) => {
    const { engine, next: waits, leaving } = await openWithOneWaiting(t);
    const once = acquire(engine, "b", { waitMs: 0 });
    leaving.abort(new Error("gone"));
    await assert.rejects(waits, { message: "gone" });
    assert.equal(await once, undefined);
    assert.equal((await engine.leases.describe("name")).waiting, 0);
  });

  test("an engine that closes while it hands the name over keeps it from nobody", async (t) => {
    const prefix = testPrefix();
    const { engine, network, next } = await openWithOneWaiting(t, prefix);
    const { engine: other } = await open(t, prefix);
    const handing = Promise.withResolvers<void>();
    network.once("before", isHandOver, () => handing.resolve());
    const released = engine.leases.release("name", "a").catch(() => undefined);
    await handing.promise;
    await engine.close();
    await Promise.all([next.catch(() => undefined), released]);
    assert.equal((await acquire(other, "x", { waitMs: 10_000 })).holder, "x");
  });
});
