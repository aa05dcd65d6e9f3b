/** Key-values, leases and rates of `remote()` when connections break, replies are lost and servers come and go. */
import assert from "node:assert/strict";
import { TenonError, type WatchEvent } from "tenon/contracts";
import { Session } from "../src/engines/remote/client/session.ts";
import { operations } from "../src/engines/remote/wire/operations.ts";
import { onStage } from "./remote-stage.ts";

const value = (text: string): Uint8Array => new TextEncoder().encode(text);
const put = (key: string, text: string) => ({ type: "put", key, value: value(text) }) as const;
const add = (key: string) => ({ type: "add", key, by: 1 }) as const;
const request = (holder: string, more: object = {}) => ({ holder, ttlMs: 60_000, waitMs: 0, ...more });

async function failure(promise: Promise<unknown>): Promise<TenonError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TenonError, String(error));
  return error;
}

onStage("a commit whose reply is lost is unknown, has happened once, and is not repeated", async (stage) => {
  const { engine } = await stage.client();
  stage.network.hold("client");
  const commit = failure(engine.keyValue.commit([add("n")]));
  await stage.loseWhatGoesTo("client");
  const { code, outcome } = await commit;
  assert.deepEqual([code, outcome], ["unavailable", "unknown"]);
  const again = await engine.keyValue.commit([add("n")]);
  assert.deepEqual(again.committed && again.counters, [2]);
});

onStage("a commit that is lost on its way is unknown, and has not happened", async (stage) => {
  const { engine } = await stage.client();
  stage.network.hold("server");
  const commit = failure(engine.keyValue.commit([add("n")]));
  await stage.loseWhatGoesTo("server");
  assert.equal((await commit).outcome, "unknown");
  assert.deepEqual(await engine.keyValue.get(["n"]), [undefined]);
});

onStage("a read whose reply is lost has changed nothing", async (stage) => {
  const { engine } = await stage.client();
  stage.network.hold("client");
  const read = failure(engine.keyValue.scan(""));
  await stage.loseWhatGoesTo("client");
  const { code, outcome } = await read;
  assert.deepEqual([code, outcome], ["unavailable", "not-applied"]);
});

onStage("what is asked for during an outage waits for the next connection, and not for ever", async (stage) => {
  const { engine } = await stage.client();
  await stage.stopServer();
  const begun = stage.world.clock.monotonic();
  const { code, outcome } = await failure(engine.keyValue.commit([add("n")]));
  assert.deepEqual([code, outcome], ["unavailable", "not-applied"]);
  assert.equal(Math.round((stage.world.clock.monotonic() - begun) / 1_000), 5);
  const waiting = engine.keyValue.commit([add("n")]);
  await stage.restartServer("kept");
  assert.equal((await waiting).committed, true);
});

onStage("a connection that only seems to stand is given up, and the next one is used", async (stage) => {
  const { engine } = await stage.client("client", { heartbeatMs: 500, requestTimeoutMs: 60_000 });
  stage.network.hold("server");
  stage.network.hold("client");
  const begun = stage.world.clock.monotonic();
  assert.equal((await failure(engine.keyValue.commit([add("n")]))).outcome, "unknown");
  assert.ok(stage.world.clock.monotonic() - begun <= 2_500);
  stage.network.release();
  await stage.sleep(1_000);
  assert.deepEqual(await engine.keyValue.get(["m"]), [undefined]);
});

onStage("nothing is taken from a connection once its client has a later one", async (stage) => {
  const settings = {
    world: stage.world,
    address: { host: "server", port: 7_070 },
    client: "the same",
    heartbeatMs: 1_000,
  };
  const open = async (number: number) => {
    const connection = await stage.network.host("client").connect(settings.address);
    const ready = Promise.withResolvers<string>();
    const session = new Session(
      connection,
      { ...settings, number },
      { ready: () => ready.resolve("ready"), lost: () => ready.resolve("lost"), heard() {}, drained() {} },
    );
    return { session, state: await ready.promise };
  };
  const first = await open(1);
  const late = failure(first.session.send(operations.commit, [put("k", "late")]).answer);
  const second = await open(2);
  assert.deepEqual([first.state, second.state], ["ready", "ready"]);
  // The former connection was ended before the later one was welcomed; its request came first, or never.
  await second.session.send(operations.commit, [put("k", "new")]).answer;
  await late;
  const third = failure(first.session.send(operations.commit, [put("k", "late")]).answer);
  await stage.sleep(100);
  const [entry] = await stage.engine.keyValue.get(["k"]);
  assert.equal(new TextDecoder().decode(entry!.value), "new");
  assert.equal((await open(1)).state, "lost");
  second.session.destroy();
  first.session.destroy();
  await third;
});

onStage("requests that nobody takes wait with their callers, not in buffers", async (stage) => {
  const { engine } = await stage.client("client", { heartbeatMs: 60_000 });
  stage.network.hold("server");
  const handed = stage.network.handedBytes;
  const large = new Uint8Array(512 * 1024);
  const commits = Array.from({ length: 40 }, (_, index) =>
    engine.keyValue.commit([{ type: "put", key: `k${index}`, value: large }]),
  );
  await stage.sleep(100);
  assert.ok(stage.network.handedBytes - handed < 4 * 1024 * 1024);
  stage.network.release();
  await Promise.all(commits);
  assert.equal((await engine.keyValue.scan("k", { limit: 100 })).length, 40);
});

onStage("a watch goes on after an outage with what changed, what is gone, and what comes", async (stage) => {
  const { engine } = await stage.client();
  const local = stage.engine.keyValue;
  await local.commit([put("a", "1")]);
  await local.commit([put("b", "1")]);
  const watch = engine.keyValue.watch("")[Symbol.asyncIterator]();
  const next = async () => shown((await watch.next()).value as WatchEvent);
  assert.deepEqual([await next(), await next(), await next()], ["a=1", "b=1", "synced"]);
  await stage.stopServer();
  await local.commit([{ type: "delete", key: "a" }]);
  await local.commit([put("c", "1")]);
  await local.commit([put("b", "2")]);
  await stage.restartServer("kept");
  assert.deepEqual([await next(), await next(), await next()], ["c=1", "b=2", "a gone"]);
  await local.commit([put("d", "1")]);
  assert.equal(await next(), "d=1");
  stage.network.cut();
  await local.commit([put("d", "2")]);
  assert.equal(await next(), "d=2");
});

onStage("a watch of a server that has lost everything says so", async (stage) => {
  const { engine } = await stage.client();
  await engine.keyValue.commit([put("a", "1")]);
  await engine.keyValue.commit([put("b", "1")]);
  const watch = engine.keyValue.watch("")[Symbol.asyncIterator]();
  const next = async () => shown((await watch.next()).value as WatchEvent);
  assert.deepEqual([await next(), await next(), await next()], ["a=1", "b=1", "synced"]);
  await stage.restartServer("lost");
  // The same key and the same version as before.
  await stage.engine.keyValue.commit([put("a", "another")]);
  const seen = new Set<string>();
  while (!seen.has("b gone") || !seen.has("a=another")) seen.add(await next());
  assert.ok([...seen].every((each) => ["a gone", "b gone", "a=another"].includes(each)));
});

onStage("who waits for a lease keeps its place across a cut", async (stage) => {
  const { engine } = await stage.client();
  const { leases } = stage.engine;
  await leases.acquire("name", request("a"));
  const waiting = engine.leases.acquire("name", request("b", { waitMs: 60_000 }));
  await stage.sleep(50);
  const behind = leases.acquire("name", request("c", { waitMs: 60_000 }));
  await stage.sleep(50);
  stage.network.cut();
  await stage.sleep(5_000);
  assert.equal((await leases.describe("name")).waiting, 2);
  const before = stage.world.clock.monotonic();
  await leases.release("name", "a");
  const lease = await waiting;
  assert.equal(lease?.holder, "b");
  assert.ok(lease.since.monotonic >= before);
  await engine.leases.release("name", "b");
  assert.equal((await behind)?.holder, "c");
});

onStage("who waits for a lease and vanishes makes room for those behind", async (stage) => {
  const client = await stage.client();
  const { leases } = stage.engine;
  await leases.acquire("name", request("a"));
  void client.engine.leases.acquire("name", request("b", { waitMs: Number.POSITIVE_INFINITY }));
  await stage.sleep(50);
  const behind = leases.acquire("name", request("c", { waitMs: 60_000 }));
  await client.die();
  await stage.sleep(4_000);
  await leases.release("name", "a");
  assert.equal((await behind)?.holder, "c");
});

onStage("an acquisition whose reply is lost is asked again and finds the same grant", async (stage) => {
  const { engine } = await stage.client();
  stage.network.hold("client");
  const acquiring = engine.leases.acquire("name", request("a", { waitMs: 1_000 }));
  await stage.loseWhatGoesTo("client");
  const lease = await acquiring;
  const { holders } = await stage.engine.leases.describe("name");
  assert.deepEqual(
    holders.map(({ token }) => token),
    [lease?.token],
  );
});

onStage("an acquisition that does not wait is unknown when its reply is lost", async (stage) => {
  const { engine } = await stage.client();
  stage.network.hold("client");
  const acquiring = failure(engine.leases.acquire("name", request("a")));
  await stage.loseWhatGoesTo("client");
  assert.equal((await acquiring).outcome, "unknown");
  await engine.leases.release("name", "a");
  assert.ok(await engine.leases.acquire("name", request("b")));
});

onStage("a lease that is granted after its caller has given up is given back", async (stage) => {
  const { engine } = await stage.client();
  const controller = new AbortController();
  stage.network.hold("client");
  const reason = new Error("enough");
  const acquiring = engine.leases.acquire("name", request("a"), { signal: controller.signal });
  acquiring.catch(() => undefined);
  await stage.sleep(20);
  assert.equal((await stage.engine.leases.describe("name")).holders.length, 1);
  controller.abort(reason);
  await assert.rejects(acquiring, reason);
  stage.network.release();
  await stage.sleep(50);
  assert.deepEqual((await stage.engine.leases.describe("name")).holders, []);
});

onStage("a lease is lost with the state of its server", async (stage) => {
  const { engine } = await stage.client();
  const lease = await engine.leases.acquire("name", request("a"));
  await stage.restartServer("lost");
  assert.equal((await failure(engine.leases.renew(lease!))).code, "lost");
});

onStage("a watch of a lease shows the last state after an outage", async (stage) => {
  const { engine } = await stage.client();
  const watch = engine.leases.watch("name")[Symbol.asyncIterator]();
  const next = async () => (await watch.next()).value!.holders.map(({ holder }: { holder: string }) => holder);
  assert.deepEqual(await next(), []);
  await stage.stopServer();
  await stage.engine.leases.acquire("name", request("a"));
  await stage.engine.leases.release("name", "a");
  await stage.engine.leases.acquire("name", request("b"));
  await stage.restartServer("kept");
  assert.deepEqual(await next(), ["b"]);
});

onStage("a decision whose reply is lost is unknown, and is not repeated", async (stage) => {
  const { engine } = await stage.client();
  const rule = { type: "fixedWindow", limit: 10, windowMs: 3_600_000 } as const;
  stage.network.hold("client");
  const decision = failure(engine.rates.decide("key", rule, 1));
  await stage.loseWhatGoesTo("client");
  assert.equal((await decision).outcome, "unknown");
  assert.equal((await engine.rates.decide("key", rule, 1)).remaining, 8);
});

onStage("a server of another engine than before is not taken for the same", async (stage) => {
  const { engine } = await stage.client();
  const { capabilities } = stage.engine.keyValue;
  Object.defineProperty(stage.engine.keyValue, "capabilities", { value: { ...capabilities, survives: "machine" } });
  await stage.restartServer("kept");
  const error = await failure(engine.keyValue.get(["k"]));
  assert.equal(error.code, "unavailable");
  assert.match(String(error.cause), /other capabilities/);
});

onStage("a closed engine refuses everything, and its server goes on", async (stage) => {
  const { engine } = await stage.client();
  await engine.close();
  await engine.close();
  assert.equal(engine.ended.aborted, true);
  assert.equal((await failure(engine.keyValue.get(["k"]))).code, "closed");
  const other = await stage.client("other");
  assert.deepEqual(await other.engine.keyValue.get(["k"]), [undefined]);
});

onStage("when the served engine ends, its server ends, and clients wait for the next one", async (stage) => {
  const { engine } = await stage.client();
  await stage.engine.close();
  await stage.sleep(10);
  assert.equal(stage.server.ended.aborted, true);
  const waiting = engine.keyValue.get(["k"]);
  await stage.restartServer("lost");
  assert.deepEqual(await waiting, [undefined]);
});

function shown(event: WatchEvent): string {
  if (event.type === "synced") return "synced";
  if (event.type === "delete") return `${event.key} gone`;
  return `${event.entry.key}=${new TextDecoder().decode(event.entry.value)}`;
}
