/** What is ZooKeeper's own: nodes, access lists, lost replies, sessions that nothing hangs on, names that are removed. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { type Connection, systemWorld } from "tenon/world";
import { type ZookeeperOptions, zookeeper } from "tenon/zookeeper";
import { ZookeeperConnection } from "../src/engines/zookeeper/connection.ts";
import { ServerClock } from "../src/engines/zookeeper/leases/server-clock.ts";
import { Sweeper } from "../src/engines/zookeeper/leases/sweeper.ts";
import { Nodes } from "../src/engines/zookeeper/nodes.ts";
import { types } from "../src/engines/zookeeper/protocol.ts";
import { closedAfter } from "./closed-after.ts";
import { engine as find } from "./engines.ts";
import { fightForOneName } from "./lease-fights.ts";
import { direct, removeNodes, serverOf, testRoot } from "./zookeeper-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("zookeeper");
const world = systemWorld();

function open(t: TestContext, options: Partial<ZookeeperOptions> = {}, root = testRoot()) {
  const opening = zookeeper({ servers: [serverOf(server.url)], root, nodes: "make", ...options });
  return closedAfter(t, opening, async (engine) => {
    await engine.close();
    await removeNodes(server.url, root).catch(() => undefined);
  });
}

/** The world's connections, but for one transaction: its connection breaks before it is sent, or before its answer comes. */
function faultyNetwork() {
  const state: { next: "before" | "after" | undefined } = { next: undefined };
  const connect: typeof world.network.connect = async (address, how) => {
    const connection = await world.network.connect(address, how);
    let isCut = false;
    const faulty: Connection = {
      remote: connection.remote,
      close: () => connection.close(),
      destroy: () => connection.destroy(),
      async write(bytes) {
        const { next } = state;
        const isTransaction = Buffer.from(bytes).readInt32BE(8) === types.multi;
        if (next === undefined || !isTransaction) return connection.write(bytes);
        state.next = undefined;
        if (next === "before") return connection.destroy();
        isCut = true;
        return connection.write(bytes);
      },
      async read() {
        const bytes = await connection.read();
        if (!isCut) return bytes;
        connection.destroy();
        return undefined;
      },
    };
    return faulty;
  };
  return { state, connect };
}

const request = { holder: "a", ttlMs: 60_000, waitMs: 0 };

describe("the ZooKeeper engine", { skip: server.skip }, () => {
  test("makes no nodes unless it is told to, and says what to do", async () => {
    const options = { servers: [serverOf(server.url)], root: testRoot() };
    await assert.rejects(zookeeper(options), { code: "not-found", message: /nodes: "make"/ });
  });

  test("engines that start together make the nodes once", async (t) => {
    const root = testRoot();
    const engines = await Promise.all([open(t, {}, root), open(t, {}, root), open(t, {}, root)]);
    assert.ok(await engines[0]!.leases.acquire("name", request));
    assert.equal(await engines[1]!.leases.acquire("name", { ...request, holder: "b" }), undefined);
  });

  test("refuses nodes of another version", async (t) => {
    const root = testRoot();
    await open(t, {}, root);
    await direct(server.url, (session) => session.setData(`${root}/format`, Buffer.from("tenon 99")));
    await assert.rejects(zookeeper({ servers: [serverOf(server.url)], root }), { code: "conflict" });
  });

  test("says what the ensemble is, and refuses to be told more than it keeps", async (t) => {
    const engine = await open(t);
    assert.deepEqual(
      engine.requirements.map(({ setting, value }) => [setting, value]),
      [["servers", "1"]],
    );
    assert.equal(engine.leases.capabilities.survives, "machine");
    await assert.rejects(open(t, { survives: "replicas" }), { code: "invalid", message: /Add servers/ });
  });

  test("refuses options that make no sense", async () => {
    const wrong: readonly Partial<ZookeeperOptions>[] = [
      { servers: [] },
      { servers: ["127.0.0.1"] },
      { root: "tenon" },
      { root: "/" },
      { root: "/a/../b" },
      { nodes: "drop" as "make" },
      { acls: [] },
      { sessionTimeoutMs: 0 },
      { survives: "nothing" as "machine" },
    ];
    for (const options of wrong) {
      await assert.rejects(zookeeper({ servers: [serverOf(server.url)], ...options }), { code: "invalid" });
    }
  });

  test("goes on to the next server when one cannot be reached", async (t) => {
    const engine = await open(t, { servers: ["127.0.0.1:1", serverOf(server.url), "127.0.0.1:1"] });
    assert.ok(await engine.leases.acquire("name", request));
  });

  test("keeps others from its nodes where access lists say so, and says that it is kept from others'", async (t) => {
    const root = testRoot();
    const credentials = [{ scheme: "digest", value: "tenon:secret" }];
    const acls = [{ permissions: 31, scheme: "auth", id: "" }];
    const engine = await open(t, { credentials, acls }, root);
    assert.ok(await engine.leases.acquire("name", request));
    await assert.rejects(zookeeper({ servers: [serverOf(server.url)], root }), (error: Error) => {
      assert.equal((error as { code?: string }).code, "denied");
      assert.ok(!error.message.includes("secret"));
      return true;
    });
  });

  test("a change whose answer was lost may have happened, and the grant is found again", async (t) => {
    const { state, connect } = faultyNetwork();
    const engine = await open(t, { connect });
    state.next = "after";
    await assert.rejects(engine.leases.acquire("name", request), { code: "unavailable", outcome: "unknown" });
    const { holders } = await engine.leases.describe("name");
    assert.equal((await engine.leases.acquire("name", request))?.token, holders[0]!.token);
  });

  test("a change that broke on its way is not repeated behind the caller's back", async (t) => {
    const { state, connect } = faultyNetwork();
    const engine = await open(t, { connect });
    state.next = "before";
    await assert.rejects(engine.leases.acquire("name", request), { code: "unavailable", outcome: "unknown" });
    assert.deepEqual((await engine.leases.describe("name")).holders, []);
  });

  test("a lease outlives the session that took it, and longer times than any session has", async (t) => {
    const root = testRoot();
    const engine = await open(t, {}, root);
    const lease = await engine.leases.acquire("name", { ...request, ttlMs: 3_600_000 });
    await engine.close();
    const next = await open(t, {}, root);
    assert.equal((await next.leases.renew(lease!)).token, lease!.token);
    assert.equal(await next.leases.acquire("name", { ...request, holder: "b" }), undefined);
  });

  test("of many processes who fight for one name one holds it at a time, under growing tokens", async (t) => {
    const root = testRoot();
    await fightForOneName(await Promise.all([open(t, {}, root), open(t, {}, root), open(t, {}, root)]));
  });

  test("names that nobody uses are removed, and who comes just then gets a greater token", async (t) => {
    const root = testRoot();
    const engine = await open(t, {}, root);
    const tokens: bigint[] = [];
    const nodes = new Nodes(root);
    const connection = new ZookeeperConnection({
      world,
      connect: world.network.connect.bind(world.network),
      addresses: [{ host: "127.0.0.1", port: Number(new URL(server.url).port) }],
      credentials: [],
      sessionTimeoutMs: 10_000,
      commandTimeoutMs: 5_000,
      connectTimeoutMs: 5_000,
    });
    const clock = new ServerClock(world);
    const sweeper = new Sweeper(connection, world, nodes, clock);
    t.after(() => {
      sweeper.close();
      return connection.close();
    });
    const sweeping = async () => {
      const stamp = await connection.run("a look at the clock", "not-applied", (session) =>
        session.setData(nodes.clock, Buffer.alloc(0)),
      );
      clock.met(stamp.changedAt);
      await sweeper.sweep(nodes.bucketOf("name"), 0).catch(() => undefined);
    };
    for (let round = 0; round < 20; round++) {
      const holder = `h${round}`;
      const [lease] = await Promise.all([engine.leases.acquire("name", { ...request, holder }), sweeping()]);
      tokens.push(lease!.token);
      await Promise.all([engine.leases.release("name", holder), sweeping()]);
    }
    assert.ok(tokens.every((token, index) => index === 0 || token > tokens[index - 1]!));
    await sweeping();
    await sweeping();
    const left = await direct(server.url, (session) => session.getChildren(nodes.bucketOf("name")));
    assert.deepEqual(left, []);
    assert.deepEqual((await engine.leases.describe("name")).holders, []);
  });
});
