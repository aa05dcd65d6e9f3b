/** What is etcd's own: its limits, lost replies, leases that end keys, compaction, backups, watches that have gone deaf. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { type KeyValueChange, TenonError, type WatchEvent } from "tenon/contracts";
import { type EtcdFetch, type EtcdOptions, etcd } from "tenon/etcd";
import { systemWorld } from "tenon/world";
import { closedAfter } from "./closed-after.ts";
import { engine as find } from "./engines.ts";
import { ask, base64, deleteKeys, testPrefix } from "./etcd-host.ts";
import { fightForOneName } from "./lease-fights.ts";
import { startOwnServer } from "./own-server.ts";
import { etcdMissing, ownEtcd } from "./own-servers.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("etcd");

/** Node's own, but for one request, whose answer is lost, or which is not sent. */
function faultyFetch() {
  const state: { next: { readonly path: string; readonly when: "before" | "after" } | undefined } = { next: undefined };
  const faulty: EtcdFetch = async (url, request) => {
    const { next } = state;
    if (next === undefined || !url.endsWith(next.path) || !request.body.includes('"request_put"')) {
      return fetch(url, request);
    }
    state.next = undefined;
    if (next.when === "after") await (await fetch(url, request)).text();
    const cause = Object.assign(new Error("cut"), { code: next.when === "before" ? "ECONNREFUSED" : "ECONNRESET" });
    throw new TypeError("fetch failed", { cause });
  };
  return { state, fetch: faulty };
}

function open(t: TestContext, options: Partial<EtcdOptions> = {}, prefix = testPrefix()) {
  const opening = etcd({ endpoints: [server.url], fetch, prefix, ...options });
  return closedAfter(t, opening, async (engine) => {
    await engine.close();
    await deleteKeys(server.url, prefix);
  });
}

const add: KeyValueChange = { type: "add", key: "count", by: 1 };
const put = (key: string, value: string, ttlMs?: number): KeyValueChange => {
  return { type: "put", key, value: Buffer.from(value), ttlMs };
};

async function read({ keyValue }: Awaited<ReturnType<typeof open>>, key = "count") {
  const [entry] = await keyValue.get([key]);
  return entry && Buffer.from(entry.value).toString();
}

describe("the etcd engine", { skip: server.skip }, () => {
  test("of many of one process who come at once one takes the name, and the others stand in line without trying", async (t) => {
    let leases = 0;
    const counting: EtcdFetch = (url, request) => {
      if (url.endsWith("/lease/grant")) leases += 1;
      return fetch(url, request);
    };
    const engine = await open(t, { fetch: counting });
    leases = 0;
    const request = { ttlMs: 60_000, waitMs: 60_000 };
    const everyoneCame = Promise.withResolvers<void>();
    const holders = Array.from({ length: 32 }, (_, index) => `holder-${index}`);
    const rounds = Promise.all(
      holders.map(async (holder) => {
        await engine.leases.acquire("name", { ...request, holder });
        await everyoneCame.promise;
        await engine.leases.release("name", holder);
      }),
    );
    while ((await engine.leases.describe("name")).waiting < holders.length - 1);
    // One for the holder, one for all places, and a few for those whose look is late; each who tries takes one.
    assert.ok(leases < holders.length / 2, `${leases} leases of etcd`);
    everyoneCame.resolve();
    await rounds;
  });

  test("says what the server is, and refuses to be told more than it keeps", async (t) => {
    const engine = await open(t);
    const settings = engine.requirements.map(({ setting }) => setting);
    for (const each of ["version", "members", "shortest lease", "max-txn-ops", "alarms"]) {
      assert.ok(settings.includes(each), each);
    }
    assert.equal(engine.keyValue.capabilities.survives, "machine");
    await assert.rejects(open(t, { survives: "replicas" }), { code: "invalid", message: /Add members/ });
  });

  test("refuses options that make no sense", async () => {
    const wrong: readonly Partial<EtcdOptions>[] = [
      { endpoints: [] },
      { endpoints: ["127.0.0.1:2379"] },
      { endpoints: ["http://user:secret@127.0.0.1:2379"] },
      { fetch: undefined as unknown as EtcdFetch },
      { prefix: "ends/" },
      { prefix: "no spaces" },
      { txnOperationsMax: 129 },
      { requestBytesMax: 1 },
      { commandTimeoutMs: Number.NaN },
      { survives: "nothing" as "machine" },
    ];
    for (const options of wrong) {
      await assert.rejects(etcd({ endpoints: [server.url], fetch, ...options }), { code: "invalid" });
    }
  });

  test("says so when what answers does not serve the JSON API", async () => {
    const elsewhere: EtcdFetch = async () => ({ status: 404, text: async () => "404 page not found", body: null });
    await assert.rejects(etcd({ endpoints: [server.url], fetch: elsewhere }), {
      code: "unsupported",
      message: /enable-grpc-gateway/,
    });
  });

  test("goes on to the next endpoint when one cannot be reached", async (t) => {
    const engine = await open(t, { endpoints: ["http://127.0.0.1:1", server.url] });
    await engine.keyValue.commit([add]);
    assert.equal(await read(engine), "1");
  });

  test("does a commit once whose reply was lost, and says that nobody knows", async (t) => {
    const { state, fetch: faulty } = faultyFetch();
    const engine = await open(t, { fetch: faulty });
    state.next = { path: "kv/txn", when: "after" };
    await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "unknown" });
    assert.equal(await read(engine), "1");
  });

  test("sends a commit again that was never sent", async (t) => {
    const { state, fetch: faulty } = faultyFetch();
    const engine = await open(t, { fetch: faulty });
    state.next = { path: "kv/txn", when: "before" };
    await engine.keyValue.commit([add]);
    assert.equal(await read(engine), "1");
  });

  test("finds a grant again whose reply was lost", async (t) => {
    const { state, fetch: faulty } = faultyFetch();
    const engine = await open(t, { fetch: faulty });
    const request = { holder: "a", ttlMs: 60_000, waitMs: 0 };
    state.next = { path: "kv/txn", when: "after" };
    await assert.rejects(engine.leases.acquire("name", request), { code: "unavailable", outcome: "unknown" });
    const { holders } = await engine.leases.describe("name");
    const lease = await engine.leases.acquire("name", request);
    assert.equal(lease?.token, holders[0]!.token);
  });

  test("a place in a queue whose reply was lost keeps nobody from the name", async (t) => {
    const { state, fetch: faulty } = faultyFetch();
    const prefix = testPrefix();
    const engine = await open(t, { fetch: faulty }, prefix);
    const other = await open(t, {}, prefix);
    const long = { ttlMs: 60_000, waitMs: 0 };
    await other.leases.acquire("name", { ...long, holder: "a" });
    state.next = { path: "kv/txn", when: "after" };
    const waits = { holder: "b", ttlMs: 60_000, waitMs: 60_000 };
    await assert.rejects(engine.leases.acquire("name", waits), { outcome: "unknown" });
    await other.leases.release("name", "a");
    assert.ok(await other.leases.acquire("name", { ...long, holder: "c", waitMs: 30_000 }));
  });

  test("commits of several engines on one counter are all counted, each once", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]);
    const sums = await Promise.all(
      engines.flatMap(({ keyValue }) => Array.from({ length: 40 }, () => keyValue.commit([add]))),
    );
    const counters = sums.map((result) => (result.committed ? result.counters[0] : undefined));
    assert.equal(new Set(counters).size, 120);
    assert.equal(await read(engines[0]!), "120");
  });

  test("keys that end together share a lease of etcd, and a put without an end leaves it", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    await engine.keyValue.commit(Array.from({ length: 20 }, (_, index) => put(`k${index}`, "1", 600_000)));
    await engine.keyValue.commit([put("k0", "2")]);
    const range = { key: base64(`${prefix}/kv/`), range_end: base64(`${prefix}/kv0`) };
    const { kvs } = (await ask(server.url, "kv/range", range)) as { kvs: readonly { lease?: string }[] };
    const leases = kvs.map(({ lease }) => lease);
    assert.equal(leases[0], undefined);
    assert.equal(new Set(leases.slice(1)).size, 1);
  });

  test("a key that etcd has not ended in time is absent, and its watchers hear of its end", async (t) => {
    const prefix = testPrefix();
    const real = systemWorld();
    const engine = await open(t, {}, prefix);
    await engine.keyValue.commit([put("window", "1", 3_600_000)]);
    // As after a change of etcd's leader, which lets leases begin anew: by the clock of this engine it should have ended two seconds ago.
    const clock = { now: () => real.clock.now() + 3_604_000, monotonic: () => real.clock.monotonic() };
    const later = await open(t, { world: { ...real, clock } }, prefix);
    const events: WatchEvent[] = [];
    const ended = Promise.withResolvers<void>();
    const synced = Promise.withResolvers<void>();
    const watching = (async () => {
      for await (const event of engine.keyValue.watch("window", { signal: engine.ended })) {
        events.push(event);
        if (event.type === "synced") synced.resolve();
        if (event.type === "delete") ended.resolve();
      }
    })();
    await synced.promise;
    assert.equal(await read(later, "window"), undefined);
    await ended.promise;
    assert.equal(await read(engine, "window"), undefined);
    await engine.close();
    await watching;
    assert.deepEqual(
      events.map(({ type }) => type),
      ["put", "synced", "delete"],
    );
  });

  test("a watch that begins behind a compaction compares the state anew", async (t) => {
    const prefix = testPrefix();
    const cutting = new AbortController();
    // Cut once, and kept from coming back until what it missed is compacted.
    let gate: Promise<unknown> | undefined;
    const gated: EtcdFetch = async (url, request) => {
      if (!url.endsWith("/watch")) return fetch(url, request);
      await gate;
      const signal = cutting.signal.aborted ? request.signal : AbortSignal.any([request.signal, cutting.signal]);
      return fetch(url, { ...request, signal });
    };
    const engine = await open(t, { fetch: gated }, prefix);
    const other = await open(t, {}, prefix);
    await other.keyValue.commit([put("a", "1"), put("b", "1")]);
    const seen: string[] = [];
    const synced = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    const watching = (async () => {
      for await (const event of engine.keyValue.watch("", { signal: engine.ended })) {
        if (event.type === "synced") synced.resolve();
        else seen.push(event.type === "put" ? `${event.entry.key}=${Buffer.from(event.entry.value)}` : `-${event.key}`);
        if (seen.at(-1) === "end=1") done.resolve();
      }
    })();
    await synced.promise;
    const opened = Promise.withResolvers<void>();
    gate = opened.promise;
    cutting.abort();
    await other.keyValue.commit([{ type: "delete", key: "a" }]);
    await other.keyValue.commit([put("b", "2")]);
    const { version } = (await other.keyValue.commit([put("c", "1")])) as { version: bigint };
    await ask(server.url, "kv/compaction", { revision: String(version / 128n) });
    opened.resolve();
    await other.keyValue.commit([put("end", "1")]);
    await done.promise;
    await engine.close();
    await watching;
    assert.deepEqual(seen.slice(0, 2), ["a=1", "b=1"]);
    assert.deepEqual(seen.slice(2).sort(), ["-a", "b=2", "c=1", "end=1"]);
  });

  test("a scan of many pages is as of one revision", async (t) => {
    const engine = await open(t);
    const large = Buffer.alloc(100_000).toString("latin1");
    for (let index = 0; index < 100; index += 5) {
      await engine.keyValue.commit(Array.from({ length: 5 }, (_, more) => put(`k${index + more + 100}`, large)));
    }
    const [entries] = await Promise.all([
      engine.keyValue.scan("k"),
      (async () => {
        for (let index = 0; index < 10; index++)
          await engine.keyValue.commit([put("k199", "late"), put("k101", "late")]);
      })(),
    ]);
    assert.equal(entries.length, 100);
    const late = entries.filter(({ value }) => value.length < 10).map(({ key }) => key);
    assert.ok(late.length === 0 || late.length === 2, `only ${late} is new`);
  });

  test("refuses what etcd would find too large, before it is sent", async (t) => {
    const engine = await open(t);
    const { valueBytesMax } = engine.keyValue.capabilities;
    const large = Buffer.alloc(valueBytesMax).toString("latin1");
    await engine.keyValue.commit([put("a", large)]);
    await assert.rejects(engine.keyValue.commit([put("a", large), put("b", large)]), { code: "invalid" });
  });

  test("errors hold no values", async (t) => {
    const engine = await open(t, { requestBytesMax: 8_000_000 });
    const changes = Array.from({ length: 2 }, (_, index) => put(`k${index}`, "secret".repeat(150_000)));
    await assert.rejects(engine.keyValue.commit(changes), (error) => {
      assert.ok(error instanceof TenonError);
      assert.deepEqual([error.code, error.outcome], ["invalid", "not-applied"], error.message);
      assert.ok(!JSON.stringify([error.message, error.fields, String(error.cause)]).includes("secret"));
      return true;
    });
  });

  test("of many processes who fight for one name one holds it at a time, under growing tokens", async (t) => {
    const prefix = testPrefix();
    await fightForOneName(await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]));
  });

  test("a lease that is idle serves the next grant, with all of its time", async (t) => {
    const engine = await open(t);
    const before = await leasesOf(server.url);
    for (let round = 0; round < 20; round++) {
      const lease = await engine.leases.acquire("name", { holder: `h${round}`, ttlMs: 47_000, waitMs: 0 });
      await engine.leases.release("name", lease!.holder);
    }
    const made = (await leasesOf(server.url)).filter((id) => !before.includes(id));
    const ttls = await Promise.all(made.map((ID) => ask(server.url, "lease/timetolive", { ID })));
    assert.equal(ttls.filter(({ grantedTTL }) => grantedTTL === "48").length, 1);
  });
});

async function leasesOf(url: string): Promise<readonly string[]> {
  const { leases = [] } = (await ask(url, "lease/leases", {})) as { leases?: readonly { ID: string }[] };
  return leases.map(({ ID }) => ID);
}

describe("an etcd with authentication", { skip: etcdMissing }, () => {
  test("serves a user who may touch nothing but the prefix", async (t) => {
    const own = await startOwnServer(ownEtcd);
    t.after(() => own.dispose());
    const url = `http://127.0.0.1:${own.port}`;
    const range = { key: base64("shop/"), range_end: base64("shop0") };
    await ask(url, "auth/user/add", { name: "root", password: "root" });
    await ask(url, "auth/user/grant", { user: "root", role: "root" });
    await ask(url, "auth/role/add", { name: "shop" });
    await ask(url, "auth/role/grant", { name: "shop", perm: { permType: "READWRITE", ...range } });
    await ask(url, "auth/user/add", { name: "shop", password: "secret" });
    await ask(url, "auth/user/grant", { user: "shop", role: "shop" });
    await ask(url, "auth/enable", {});
    const options = { endpoints: [url], fetch, prefix: "shop" };
    await assert.rejects(etcd(options), { code: "denied" });
    await assert.rejects(etcd({ ...options, credentials: { name: "shop", password: "wrong" } }), (error: Error) => {
      assert.ok(!error.message.includes("wrong"));
      return (error as TenonError).code === "denied";
    });
    const credentials = { name: "shop", password: "secret" };
    const engine = await etcd({ ...options, credentials });
    t.after(() => engine.close());
    const watching = engine.keyValue.watch("")[Symbol.asyncIterator]();
    assert.equal((await watching.next()).value?.type, "synced");
    await engine.keyValue.commit([put("k", "1", 60_000)]);
    const { value } = await watching.next();
    assert.equal(value?.type, "put");
    const lease = await engine.leases.acquire("name", { holder: "a", ttlMs: 60_000, waitMs: 0 });
    const next = engine.leases.acquire("name", { holder: "b", ttlMs: 60_000, waitMs: 60_000 });
    await engine.leases.release("name", lease!.holder);
    assert.equal((await next)?.holder, "b");
    const elsewhere = etcd({ ...options, credentials, prefix: "bank" });
    await assert.rejects(elsewhere, { code: "denied" });
  });
});
