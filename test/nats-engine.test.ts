/** What is NATS' own: streams, settings, limits, lost replies, what is left over, the clock. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import { headers, type NatsConnection } from "@nats-io/transport-node";
import { type KeyValueChange, TenonError } from "tenon/contracts";
import { text, topic } from "tenon/messaging";
import { type NatsEngine, type NatsEngineOptions, nats, natsStreams } from "tenon/nats";
import { engine as find } from "./engines.ts";
import { natsConnection, openNats, testPrefix } from "./nats-host.ts";
import { NatsServer, natsServerMissing } from "./nats-server.ts";
import { sealWhileOthersAppend } from "./seal-races.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const server = await find("nats");

/** Loses the reply to the next request whose subject contains the text, and the connection with it. */
class Losses {
  next: string | undefined;

  async connect(): Promise<NatsConnection> {
    const connection = await natsConnection(server.url);
    const request = connection.request.bind(connection);
    connection.request = async (subject, payload, options) => {
      if (this.next === undefined || !subject.includes(this.next)) return request(subject, payload, options);
      this.next = undefined;
      await request(subject, payload, options);
      await connection.close();
      return new Promise(() => undefined);
    };
    return connection;
  }
}

function open(t: TestContext, options: Partial<NatsEngineOptions> = {}, prefix = testPrefix()) {
  return openNats(t, server.url, { ...options, prefix });
}

async function direct<T>(work: (ask: (name: string, request: object) => Promise<T>) => Promise<T>): Promise<T> {
  const connection = await natsConnection(server.url);
  try {
    return await work(async (name, request) => {
      const subject = name.startsWith("$") ? name : `$JS.API.${name}`;
      return (await connection.request(subject, JSON.stringify(request), { timeout: 10_000 })).json<T>();
    });
  } finally {
    await connection.close();
  }
}

const add: KeyValueChange = { type: "add", key: "count", by: 1 };
const body = Buffer.from("x");

async function count({ keyValue }: NatsEngine) {
  const [entry] = await keyValue.get(["count"]);
  return entry && Buffer.from(entry.value).toString();
}

describe("the NATS engine", { skip: server.skip }, () => {
  test("makes no streams unless it is told to, and says what to do", async () => {
    const prefix = testPrefix();
    const connect = () => natsConnection(server.url);
    await assert.rejects(nats({ connect, headers, prefix }), { code: "not-found", message: /streams: "make"/ });
    const info = await direct<{ error?: { code: number } }>((ask) => ask(`STREAM.INFO.${prefix}_runs`, {}));
    assert.equal(info.error?.code, 404);
  });

  test("works on streams that were made by hand, and refuses those that would lose messages or are another version's", async (t) => {
    const prefix = testPrefix();
    for (const config of natsStreams(prefix)) await direct((ask) => ask(`STREAM.CREATE.${config.name}`, config));
    const engine = await open(t, { streams: "expect" }, prefix);
    await engine.keyValue.commit([add]);
    const connect = () => natsConnection(server.url);
    const [runs] = natsStreams(prefix);
    const limited = { ...runs, max_msgs: 10 };
    await direct((ask) => ask(`STREAM.UPDATE.${limited.name}`, limited));
    await assert.rejects(nats({ connect, headers, prefix }), { code: "conflict", message: /max_msgs 10/ });
    const other = { ...runs, description: "somebody's" };
    await direct((ask) => ask(`STREAM.UPDATE.${other.name}`, other));
    await assert.rejects(nats({ connect, headers, prefix }), { code: "conflict", message: /another prefix/ });
  });

  test("engines that start together make the streams once", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]);
    for (const engine of engines) await engine.keyValue.commit([add]);
    assert.equal(await count(engines[0]!), "3");
  });

  test("a stream whose subjects another one has is made when that one goes, and refused when it stays", async (t) => {
    const prefix = testPrefix();
    const logs = natsStreams(prefix).find(({ name }) => name.endsWith("_logs"))!;
    const other = { ...logs, name: `${prefix}_other` };
    await direct((ask) => ask(`STREAM.CREATE.${other.name}`, other));
    t.after(() => direct((ask) => ask(`STREAM.DELETE.${other.name}`, {})).catch(() => undefined));
    await assert.rejects(open(t, {}, prefix), { code: "conflict", message: /Another stream has subjects/ });
    const refused = Promise.withResolvers<void>();
    const asking = async () => {
      const connection = await natsConnection(server.url);
      const request = connection.request.bind(connection);
      connection.request = async (subject, ...more) => {
        const answer = await request(subject, ...more);
        if (subject === `$JS.API.STREAM.CREATE.${logs.name}`) refused.resolve();
        return answer;
      };
      return connection;
    };
    const opening = open(t, { connect: asking }, prefix);
    await refused.promise;
    await direct((ask) => ask(`STREAM.DELETE.${other.name}`, {}));
    assert.equal((await (await opening).log.logs()).length, 0);
  });

  test("says what the server's settings mean, and takes no promise that they cannot keep", async (t) => {
    const engine = await open(t);
    const settings = engine.requirements.map(({ setting }) => setting);
    assert.deepEqual(settings, ["version", "max_payload", "storage", "num_replicas", "sync_interval"]);
    assert.equal(engine.messages.capabilities.survives, "process");
    await assert.rejects(open(t, { survives: "replicas" }), { code: "invalid", message: /num_replicas/ });
    const version = engine.requirements[0]!.value.split(".").map(Number);
    if (version[0] === 2 && version[1]! < 10) {
      await assert.rejects(open(t, { survives: "machine" }), { code: "invalid", message: /sync_interval: always/ });
    } else assert.equal((await open(t, { survives: "machine" })).keyValue.capabilities.survives, "machine");
  });

  test("refuses options that make no sense", async () => {
    const connect = () => natsConnection(server.url);
    const wrong: readonly Partial<NatsEngineOptions>[] = [
      { prefix: "no.dots" },
      { prefix: "" },
      { replicas: 0 },
      { commandTimeoutMs: Number.NaN },
      { streams: "drop" as "make" },
      { headers: undefined as unknown as typeof headers },
    ];
    for (const options of wrong) await assert.rejects(nats({ connect, headers, ...options }), { code: "invalid" });
  });

  test("says who was refused", async () => {
    const connect = () => natsConnection(server.url.replace("tenon:tenon", "tenon:wrong"));
    await assert.rejects(nats({ connect, headers }), (error) => {
      assert.ok(error instanceof TenonError);
      assert.equal(error.code, "denied");
      assert.ok(!JSON.stringify([error.message, error.fields]).includes("wrong"));
      return true;
    });
  });

  test("does an add once whose reply was lost, and says that nobody knows", async (t) => {
    const losses = new Losses();
    const engine = await open(t, { connect: () => losses.connect() });
    losses.next = ".k.";
    await assert.rejects(engine.keyValue.commit([add]), { code: "unavailable", outcome: "unknown" });
    assert.equal(await count(engine), "1");
  });

  test("stores a message once whose first reply was lost", async (t) => {
    const losses = new Losses();
    const engine = await open(t, { connect: () => losses.connect() });
    const news = topic(engine, "news", { codec: text(), partitions: 1, groups: ["readers"] });
    t.after(() => news.close());
    const first = await news.publish("first");
    losses.next = ".r.";
    const second = await news.publish("second");
    assert.equal(second.position, first.position! + 1n);
    assert.equal((await news.lag("readers")).messages, 2);
  });

  test("a settlement whose reply was lost is repeated, and a message is handled once", async (t) => {
    const losses = new Losses();
    const engine = await open(t, { connect: () => losses.connect() });
    const news = topic(engine, "news", { codec: text(), partitions: 1, groups: ["readers"] });
    t.after(() => news.close());
    const handled: string[] = [];
    const done = Promise.withResolvers<void>();
    const consumer = await news.consume("readers", (value) => {
      if (value === "first") losses.next = ".s.l.";
      handled.push(value);
      if (value === "second") done.resolve();
    });
    await news.publish("first");
    await news.publish("second");
    await done.promise;
    await consumer.close();
    assert.deepEqual(handled, ["first", "second"]);
    assert.equal((await news.lag("readers")).messages, 0);
  });

  test("an appending process that died before it copied its delayed messages leaves that to the next one", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    await engine.messages.declare("orders", { partitions: 1, groups: ["group"] });
    const dueAt = Date.now() + 3_600_000;
    await engine.messages.append({ topic: "orders", partition: 0, messages: [{ body, dueAt }] });
    // Nobody has copied it yet: the next run does, whoever appends it.
    const other = await open(t, {}, prefix);
    assert.equal((await other.messages.describe("orders")).delayedCount, 1);
    await other.messages.append({ topic: "orders", partition: 0, messages: [{ body }, { body, dueAt }] });
    await other.messages.append({ topic: "orders", partition: 0, messages: [{ body }] });
    for (const each of [engine, other]) assert.equal((await each.messages.describe("orders")).delayedCount, 2);
  });

  test("an append to a limited topic that never came about is not counted, and holds up the next one only for a moment", async (t) => {
    const prefix = testPrefix();
    const losses = new Losses();
    const engine = await open(t, { connect: () => losses.connect(), commandTimeoutMs: 1_000 }, prefix);
    await engine.messages.declare("orders", { partitions: 2, groups: ["group"], countMax: 3 });
    const append = (partition: number, by: NatsEngine) =>
      by.messages.append({ topic: "orders", partition, messages: [{ body }] });
    await append(0, engine);
    // Its publisher has written down that it appends, and is heard of no more.
    losses.next = ".s.a.";
    await assert.rejects(append(0, engine), { outcome: "unknown" });
    const other = await open(t, {}, prefix);
    await append(1, other);
    await append(0, other);
    await assert.rejects(append(1, other), { code: "overloaded", outcome: "not-applied" });
    const { partitions } = await other.messages.describe("orders");
    assert.deepEqual(
      partitions.map(({ next }) => next),
      [2n, 1n],
    );
  });

  test("publishers of several processes share a partition, and every position is given once", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]);
    await engines[0]!.messages.declare("orders", { partitions: 1, groups: ["group"] });
    const positions = await Promise.all(
      Array.from({ length: 150 }, (_, index) =>
        engines[index % 3]!.messages.append({ topic: "orders", partition: 0, messages: [{ body }, { body }] }),
      ),
    );
    const all = positions.flat().map(Number);
    assert.deepEqual(
      all.sort((one, other) => one - other),
      Array.from({ length: 300 }, (_, index) => index),
    );
  });

  test("what other processes append while a topic is sealed is stored before the seal, or never", async (t) => {
    const prefix = testPrefix();
    const [sealing, ...appending] = await Promise.all([1, 2, 3].map(() => open(t, {}, prefix)));
    const engines = appending.map(({ messages }) => messages);
    await sealWhileOthersAppend(sealing!.messages, engines, "orders");
    await sealWhileOthersAppend(sealing!.messages, engines, "few", { countMax: 1_000_000 });
  });

  test("a seal that did not come to every partition is none, until the topic is declared again", async (t) => {
    const prefix = testPrefix();
    let isCut = false;
    const connect = async () => {
      const connection = await natsConnection(server.url);
      const request = connection.request.bind(connection);
      connection.request = async (subject, payload, options) => {
        if (!isCut || !/\.r\.\d+\.1$/.test(subject)) return request(subject, payload, options);
        isCut = false;
        await connection.close();
        return new Promise(() => undefined);
      };
      return connection;
    };
    const engine = await open(t, { connect }, prefix);
    const declare = (sealed?: string) => engine.messages.declare("orders", { partitions: 2, sealed });
    const append = () => engine.messages.append({ topic: "orders", partition: 1, messages: [{ body }] });
    await declare();
    isCut = true;
    await assert.rejects(declare("moved"), { code: "unavailable" });
    assert.equal((await engine.messages.describe("orders")).sealed, undefined);
    await append();
    await declare();
    assert.equal((await engine.messages.describe("orders")).sealed, "moved");
    await assert.rejects(append(), { code: "denied", outcome: "not-applied" });
  });

  test("names, keys and ids may hold what subjects cannot", async (t) => {
    const engine = await open(t);
    const odd = "a.b *>\u0000\u{1f600}'\"\\ ";
    await engine.messages.declare(odd, { partitions: 1, groups: [odd] });
    const producer = { id: odd, epoch: 1, sequence: 0 };
    const batch = { topic: odd, partition: 0, messages: [{ body, id: odd, key: odd }], producer };
    assert.deepEqual(await engine.messages.append(batch), [0n]);
    assert.deepEqual(await engine.messages.append(batch), [0n]);
    assert.deepEqual(await engine.messages.topics(), [odd]);
    await engine.keyValue.commit([{ type: "put", key: odd, value: body }]);
    assert.equal((await engine.keyValue.scan("a.b *"))[0]!.key, odd);
  });

  test("an older producer epoch is fenced in partitions that the newer one never wrote to", async (t) => {
    const engine = await open(t);
    await engine.messages.declare("orders", { partitions: 2 });
    const append = (partition: number, epoch: number) =>
      engine.messages.append({
        topic: "orders",
        partition,
        messages: [{ body }],
        producer: { id: "p", epoch, sequence: 0 },
      });
    await append(0, 2);
    await assert.rejects(append(1, 1), { code: "lost", outcome: "not-applied" });
    assert.deepEqual(await append(1, 2), [0n]);
  });

  test("shows a change although no notice of it came", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    await engine.keyValue.commit([{ type: "put", key: "loud", value: body }]);
    const seen: string[] = [];
    const synced = Promise.withResolvers<void>();
    const changed = Promise.withResolvers<void>();
    const watching = (async () => {
      for await (const event of engine.keyValue.watch("", { signal: engine.ended })) {
        if (event.type === "synced") synced.resolve();
        if (event.type !== "put") continue;
        seen.push(event.entry.key);
        if (seen.length === 2) changed.resolve();
      }
    })();
    await synced.promise;
    // Another engine that tells nobody.
    const connect = async () => {
      const connection = await natsConnection(server.url);
      const publish = connection.publish.bind(connection);
      connection.publish = (subject, ...rest) => {
        if (!subject.endsWith(".n.k")) publish(subject, ...rest);
      };
      return connection;
    };
    const quiet = await nats({ connect, headers, prefix });
    await quiet.keyValue.commit([{ type: "put", key: "quiet", value: body }]);
    await quiet.close();
    await changed.promise;
    await engine.close();
    await watching;
    assert.deepEqual(seen, ["loud", "quiet"]);
  });

  test("errors hold no values", async (t) => {
    const prefix = testPrefix();
    const engine = await open(t, {}, prefix);
    const keys = natsStreams(prefix).find(({ name }) => name.endsWith("_keys"))!;
    await direct((ask) => ask(`STREAM.UPDATE.${keys.name}`, { ...keys, max_msg_size: 10 }));
    const change: KeyValueChange = { type: "put", key: "k", value: Buffer.from("a secret that is too long") };
    await assert.rejects(engine.keyValue.commit([change]), (error) => {
      assert.ok(error instanceof TenonError);
      assert.equal(error.outcome, "not-applied");
      assert.ok(!JSON.stringify([error.message, error.fields, String(error.cause)]).includes("secret"));
      return true;
    });
  });

  test("keys whose writer has died are ended by a watch of another process", async (t) => {
    const prefix = testPrefix();
    const writer = await open(t, {}, prefix);
    await writer.keyValue.commit([{ type: "put", key: "session", value: body, ttlMs: 600 }]);
    await writer.close();
    const other = await open(t, {}, prefix);
    const ended = Promise.withResolvers<void>();
    const watching = (async () => {
      for await (const event of other.keyValue.watch("s", { signal: other.ended })) {
        if (event.type === "delete") ended.resolve();
      }
    })();
    await ended.promise;
    await other.close();
    await watching;
  });

  test("works for a user who may do no more than the document says", { skip: natsServerMissing }, async (t) => {
    const requests = ["STREAM.INFO", "STREAM.MSG.GET", "STREAM.PURGE", "DIRECT.GET"];
    const publish = natsStreams().flatMap(({ name }) => requests.map((request) => `$JS.API.${request}.${name}`));
    const may = (subjects: readonly string[]) => JSON.stringify(subjects);
    const permissions = `{ publish: ${may(["tenon.>", ...publish])}, subscribe: ${may(["_INBOX.>", "tenon.n.>"])} }`;
    const users = `{ user: tenon, password: tenon }, { user: app, password: app, permissions: ${permissions} }`;
    const own = await NatsServer.start([`authorization { users: [${users}] }`]);
    t.after(() => own.dispose());
    const connect = (user: string) => () => natsConnection(own.url.replace("tenon:tenon", `${user}:${user}`));
    await (await nats({ connect: connect("tenon"), headers, streams: "make" })).close();
    const engine = await nats({ connect: connect("app"), headers });
    t.after(() => engine.close());
    const news = topic(engine, "news", { codec: text(), partitions: 2, groups: ["readers"] });
    t.after(() => news.close());
    const handled = Promise.withResolvers<void>();
    const consumer = await news.consume("readers", (value) => {
      if (value === "later") handled.resolve();
    });
    await news.publish("now");
    await news.publish("later", { delayMs: 50 });
    await handled.promise;
    await consumer.close();
    await engine.keyValue.commit([add]);
    assert.equal((await engine.keyValue.scan("c")).length, 1);
    await engine.messages.remove("news");
    await engine.log.declare("clicks", { partitions: 1, retentionMs: 3_600_000 });
    await engine.log.append({ log: "clicks", partition: 0, records: [{ body }] });
    const writer = await engine.log.openWriter("writer", ["clicks"]);
    await engine.log.commit(writer, { outputs: [{ log: "clicks", partition: 0, records: [{ body }] }] });
    await engine.log.commit(writer, { positions: [{ reader: "r", log: "clicks", partition: 0, position: 1n }] });
    assert.equal((await engine.log.positions("r", "clicks")).get(0), 1n);
    await engine.log.remove("clicks");
    const other = nats({
      connect: connect("app"),
      headers,
      prefix: "other",
      commandTimeoutMs: 500,
      connectTimeoutMs: 600,
    });
    await assert.rejects(other, { code: "denied" });
  });
});
