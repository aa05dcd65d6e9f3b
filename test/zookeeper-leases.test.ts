/** How ZooKeeper's leases come to their answers: one change each, decided by its own time and number, on what is remembered. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import type { Lease } from "tenon/contracts";
import { systemWorld } from "tenon/world";
import { type ZookeeperEngine, zookeeper } from "tenon/zookeeper";
import { LeaseState } from "../src/engines/shared/leases/lease-state.ts";
import { ZookeeperConnection } from "../src/engines/zookeeper/connection.ts";
import { isCollision } from "../src/engines/zookeeper/failures.ts";
import { NameNodes } from "../src/engines/zookeeper/leases/name-nodes.ts";
import { encodeRecord } from "../src/engines/zookeeper/leases/name-record.ts";
import { ServerClock } from "../src/engines/zookeeper/leases/server-clock.ts";
import { type Step, takeSteps } from "../src/engines/zookeeper/leases/steps.ts";
import { Nodes } from "../src/engines/zookeeper/nodes.ts";
import { everybody, types } from "../src/engines/zookeeper/protocol.ts";
import { closedAfter } from "./closed-after.ts";
import { engine as find } from "./engines.ts";
import { leaseHandOverCases } from "./lease-hand-over-cases.ts";
import { direct, removeNodes, serverOf, testRoot } from "./zookeeper-host.ts";
import { ZookeeperTap } from "./zookeeper-tap.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("zookeeper");
const world = systemWorld();

async function open(t: TestContext, root: string) {
  const tap = new ZookeeperTap(world.network);
  const opening = zookeeper({ servers: [serverOf(server.url)], root, nodes: "make", connect: tap.connect });
  const engine = await closedAfter(t, opening, async (opened) => {
    tap.letAllGo();
    await opened.close();
    await removeNodes(server.url, root).catch(() => undefined);
  });
  return { engine, leases: engine.leases, tap };
}

function connect(t: TestContext) {
  const connection = new ZookeeperConnection({
    world,
    connect: world.network.connect.bind(world.network),
    addresses: [{ host: "127.0.0.1", port: Number(new URL(server.url).port) }],
    credentials: [],
    sessionTimeoutMs: 10_000,
    commandTimeoutMs: 5_000,
    connectTimeoutMs: 5_000,
  });
  t.after(() => connection.close());
  return connection;
}

const request = (holder: string, waitMs = 0, ttlMs = 60_000) => ({ holder, ttlMs, waitMs });
const forever = Number.POSITIVE_INFINITY;

/** Until so many wait for the name. */
async function untilWaiting({ leases }: Pick<ZookeeperEngine, "leases">, count: number): Promise<void> {
  while ((await leases.describe("name")).waiting < count);
}

async function untilFree({ leases }: Pick<ZookeeperEngine, "leases">): Promise<void> {
  while ((await leases.describe("name")).holders.length > 0);
}

const nodeOf = (root: string) => direct(server.url, (session) => session.getData(new Nodes(root).pathOf("name")));

describe("leases on ZooKeeper", { skip: server.skip, timeout: 60_000 }, () => {
  leaseHandOverCases((t, count) => {
    const root = testRoot();
    return Promise.all(Array.from({ length: count }, async () => (await open(t, root)).engine));
  });

  test("a name that is used again at once costs one change to acquire it, one to release it, and nothing else", async (t) => {
    const { leases, tap } = await open(t, testRoot());
    await leases.acquire("name", request("a"));
    tap.sent.length = 0;
    await leases.release("name", "a");
    await leases.acquire("name", request("b"));
    await leases.release("name", "b");
    assert.deepEqual(tap.sent, [types.multi, types.multi, types.multi]);
  });

  test("what others have changed since is read anew", async (t) => {
    const root = testRoot();
    const [one, other] = [await open(t, root), await open(t, root)];
    const tokens: bigint[] = [];
    for (let round = 0; round < 5; round++) {
      for (const { leases } of [one, other]) tokens.push((await leases.acquire("name", request("own")))!.token);
      // Both remember the name; of the other's latest hold this one knows nothing.
      await other.leases.release("name", "own");
      const lease = await other.leases.acquire("name", request(`h${round}`));
      assert.equal(await one.leases.acquire("name", request("late")), undefined);
      tokens.push(lease!.token);
      await other.leases.release("name", `h${round}`);
    }
    const grants = [...new Set(tokens)];
    assert.equal(grants.length, 10);
    assert.ok(grants.every((token, index) => index === 0 || token > grants[index - 1]!));
  });

  test("a name that was removed and made anew is not taken for the one that is remembered", async (t) => {
    const root = testRoot();
    const [one, other] = [await open(t, root), await open(t, root)];
    await one.leases.acquire("name", request("a"));
    await one.leases.release("name", "a");
    const before = await nodeOf(root);
    const nodes = new Nodes(root);
    const bucket = nodes.bucketOf("name");
    await direct(server.url, (session) =>
      session.transact([
        { type: "setData", path: bucket, data: Buffer.alloc(0), version: -1 },
        { type: "remove", path: nodes.pathOf("name"), version: -1 },
      ]),
    );
    const lease = await other.leases.acquire("name", request("b"));
    await other.leases.renew(lease!);
    assert.equal((await nodeOf(root))?.stat.version, before?.stat.version);
    assert.equal(await one.leases.acquire("name", request("a")), undefined);
    assert.ok(lease!.token > before!.stat.change);
  });

  test("a release hands the name over to who waits in this process, in the same change", async (t) => {
    const { engine, leases, tap } = await open(t, testRoot());
    await leases.acquire("name", request("h0"));
    const waiting: Promise<Lease | undefined>[] = [];
    for (let count = 1; count <= 3; count++) {
      waiting.push(leases.acquire("name", request(`h${count}`, forever)));
      await untilWaiting(engine, count);
    }
    tap.keep();
    for (const [index, next] of waiting.entries()) {
      const released = leases.release("name", `h${index}`);
      await tap.letOneGo();
      await released;
      assert.equal((await next)?.holder, `h${index + 1}`);
    }
  });

  test("what is asked because of an answer goes along with what else is", async (t) => {
    const { engine, leases, tap } = await open(t, testRoot());
    await leases.acquire("name", request("a"));
    const next = leases.acquire("name", request("b", forever)).then(() => leases.release("name", "b"));
    await untilWaiting(engine, 1);
    tap.keep();
    const again = leases.release("name", "a").then(() => leases.acquire("name", request("a2", forever)));
    await tap.letOneGo();
    // The release of b, and a's new request.
    await tap.letOneGo();
    await Promise.all([next, again]);
  });

  test("a release comes behind what its own holder has asked before", async (t) => {
    const { leases } = await open(t, testRoot());
    const asked = leases.acquire("name", request("a"));
    await leases.release("name", "a");
    assert.equal(await asked, undefined);
    assert.deepEqual((await leases.describe("name")).holders, []);
  });

  test("who asked first in another process comes first", async (t) => {
    const root = testRoot();
    const [one, other] = [await open(t, root), await open(t, root)];
    await one.leases.acquire("name", request("a"));
    const first = other.leases.acquire("name", request("b", forever));
    await untilWaiting(one, 1);
    const second = one.leases.acquire("name", request("c", forever));
    await untilWaiting(one, 2);
    await one.leases.release("name", "a");
    assert.equal((await Promise.race([first, second]))?.holder, "b");
    await other.leases.release("name", "b");
    assert.ok((await second)!.token > (await first)!.token);
  });

  test("a renewal that reaches the server after the end is lost, though it was sent before", async (t) => {
    const root = testRoot();
    const [one, other] = [await open(t, root), await open(t, root)];
    const lease = await one.leases.acquire("name", request("a", 0, 300));
    one.tap.keep();
    const renewed = assert.rejects(one.leases.renew(lease!), { code: "lost" });
    await one.tap.untilKept();
    await untilFree(other);
    one.tap.letAllGo();
    await renewed;
    assert.deepEqual((await other.leases.describe("name")).holders, []);
  });

  test("a request that reaches the server after the other's end is granted by that very change", async (t) => {
    const root = testRoot();
    const [one, other] = [await open(t, root), await open(t, root)];
    const former = await one.leases.acquire("name", request("a", 0, 300));
    other.tap.keep();
    const asked = other.leases.acquire("name", request("b", forever));
    await other.tap.untilKept();
    await untilFree(one);
    await other.tap.letOneGo();
    assert.ok((await asked)!.token > former!.token);
  });

  test("a grant has the number of its change and lasts from its time, whoever reads it and whatever changes later", async (t) => {
    const root = testRoot();
    const [one, other] = [await open(t, root), await open(t, root)];
    const shared = { weight: 1, capacity: 3 };
    const lease = await one.leases.acquire("name", { ...request("a"), ...shared });
    const { change, changedAt } = (await nodeOf(root))!.stat;
    assert.equal(lease!.token, BigInt(change));
    const described = async () => (await other.leases.describe("name")).holders.find(({ holder }) => holder === "a")!;
    const expected = { holder: "a", token: lease!.token, weight: 1, data: undefined, expiresAt: changedAt + 60_000 };
    assert.deepEqual(await described(), expected);
    await one.leases.acquire("name", { ...request("b"), ...shared });
    await other.leases.acquire("name", { ...request("c"), ...shared });
    assert.deepEqual(await described(), expected);
  });

  test("of many who ask in the same turn each is granted by a change of its own, in their order", async (t) => {
    const { leases } = await open(t, testRoot());
    const asked = Array.from({ length: 5 }, (_, index) =>
      leases.acquire("name", { ...request(`h${index}`, forever), capacity: 5 }),
    );
    const tokens = (await Promise.all(asked)).map((lease) => lease!.token);
    assert.ok(tokens.every((token, index) => index === 0 || token > tokens[index - 1]!));
  });

  test("nodes of the former version are read, and become this one's", async (t) => {
    const root = testRoot();
    await open(t, root);
    const nodes = new Nodes(root);
    // Held by "old" under token 7, for an hour from 2100 on, and waited for by nobody.
    const state = Buffer.concat([
      Buffer.from([1, 1, 3, ...Buffer.from("old"), 7, 1, 1]),
      Buffer.from(new Float64Array([3_600_000, 4_102_444_800_000]).buffer),
      Buffer.from([0, 0]),
    ]);
    await direct(server.url, async (session) => {
      await session.create(nodes.pathOf("name"), state, everybody);
      await session.setData(`${root}/format`, Buffer.from("tenon 1"));
    });
    const { leases } = await open(t, root);
    assert.deepEqual(
      (await leases.describe("name")).holders.map(({ holder, token }) => [holder, token]),
      [["old", 7n]],
    );
    assert.equal(await leases.acquire("name", request("new")), undefined);
    await leases.release("name", "old");
    assert.ok((await leases.acquire("name", request("new")))!.token > 7n);
    const format = await direct(server.url, (session) => session.getData(`${root}/format`));
    assert.equal(format?.data.toString(), "tenon 2");
  });

  test("who interrupts comes before whatever others have under way", async (t) => {
    const root = testRoot();
    const { leases } = await open(t, root);
    await leases.acquire("name", request("a"));
    const parts = { nodes: new Nodes(root), clock: new ServerClock(world), acls: everybody };
    const [fast, slow] = [
      new NameNodes({ ...parts, connection: connect(t) }),
      new NameNodes({ ...parts, connection: connect(t) }),
    ];
    const known = await fast.read("name");
    const interrupted = await slow.interrupt("name");
    const change = encodeRecord(known.state, []);
    await assert.rejects(fast.write("name", known, change), isCollision);
    await slow.write("name", interrupted, change);
    // Whoever remembers the name reads it anew.
    await leases.release("name", "a");
    assert.deepEqual((await leases.describe("name")).holders, []);
  });

  test("a queue that fills the node refuses more, and what is held can be given back", async (t) => {
    const root = testRoot();
    const { leases } = await open(t, root);
    // Made at once: ZooKeeper keeps the last 500 changes in memory, and as many of this size would end it.
    const ask = (holder: string): Step => ({
      type: "acquire",
      request: { holder, ttlMs: 3_600_000, weight: 1, capacity: 1, data: undefined },
      waits: true,
      patienceMs: 3_600_000,
    });
    const state = new LeaseState();
    const long = (what: string) => what.padEnd(1_024, "-");
    const steps = [ask(long("held")), ...Array.from({ length: 963 }, (_, index) => ask(long(`${index}`)))];
    takeSteps(state, steps, { change: 1, changedAt: Date.now() });
    const bytes = state.encode();
    assert.ok(bytes.length > 999_000 && bytes.length < 1_000_000, `${bytes.length} bytes`);
    await direct(server.url, (session) =>
      session.create(new Nodes(root).pathOf("name"), encodeRecord(bytes, []), everybody),
    );
    await assert.rejects(leases.acquire("name", request(long("late"), forever)), {
      code: "overloaded",
      outcome: "not-applied",
    });
    assert.equal((await leases.describe("name")).waiting, 963);
    await leases.release("name", long("held"));
    assert.deepEqual((await leases.describe("name")).holders, []);
  });
});
