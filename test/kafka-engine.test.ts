/** What is Kafka's own: the journal and its snapshots, topics that others made, messages of other clients, what is deleted. */
import assert from "node:assert/strict";
import { after, describe, type TestContext, test } from "node:test";
import * as client from "@platformatic/kafka";
import { type KafkaEngine, type KafkaOptions, kafka } from "tenon/kafka";
import { systemWorld, type World } from "tenon/world";
import { eventually } from "../src/conformance/expectations.ts";
import { Cluster } from "../src/engines/kafka/cluster.ts";
import { Journal } from "../src/engines/kafka/journal/journal.ts";
import { Watcher } from "../src/engines/kafka/messages/watcher.ts";
import { isolation, listOffset, offsetAt } from "../src/engines/kafka/requests.ts";
import { TopicMaker } from "../src/engines/kafka/topic-maker.ts";
import { closedAfter } from "./closed-after.ts";
import { engine as find } from "./engines.ts";
import { refusesHiddenNames } from "./hidden-names.ts";
import { deleteTopics, serverOf, testPrefix } from "./kafka-host.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const found = await find("kafka");
const server = serverOf(found.url);
const brokers = [`${server.host}:${server.port}`];
const connect = () => new client.Connection("tenon-test");
const body = Buffer.from("body");
const joining = { sessionMs: 600_000, revokeMs: 1_000, windowMax: 1_000 };

function open(t: TestContext, options: Partial<KafkaOptions> = {}, prefix = testPrefix()) {
  const opening = kafka({ client, connect, brokers, prefix, journal: "make", ...options });
  const opened = closedAfter(t, opening, (engine) => engine.close());
  t.after(() => deleteTopics(server, prefix));
  return opened;
}

function openCluster(t: TestContext, asked: KafkaOptions["client"] = client): Cluster {
  const limits = { connectionsMax: 4, commandTimeoutMs: 5_000, decompressedBytesMax: 1024 * 1024 };
  const cluster = new Cluster({ world: systemWorld(), client: asked, connect, brokers: [server], ...limits });
  t.after(() => cluster.close());
  return cluster;
}

async function openJournal(t: TestContext, topic: string): Promise<Journal> {
  const journal = new Journal(openCluster(t), { topic, snapshotEvery: 20 });
  t.after(() => journal.close());
  await journal.open();
  return journal;
}

/** The client, by which some batches have another checksum than they were stored with. */
function damaging(isDamaged: (bytes: Buffer) => boolean): KafkaOptions["client"] {
  return { ...client, crc32c: (bytes: Buffer) => client.crc32c(bytes) + (isDamaged(bytes) ? 1 : 0) };
}

/** The journal is read in larger parts than topics are. */
const journalBytes = 4 * 1024 * 1024;

/** The client, by which it is known what is asked for. */
function recording() {
  const { fetchV13, metadataV12 }: KafkaOptions["client"] = client;
  /** The topics that metadata was asked for. */
  const metadata: string[] = [];
  /** By position, whether something was waited for there. */
  const waits = new Map<bigint, PromiseWithResolvers<void>>();
  const together = { count: Number.POSITIVE_INFINITY, reached: Promise.withResolvers<void>() };
  const waitAt = (position: bigint) => {
    const known = waits.get(position) ?? Promise.withResolvers<void>();
    waits.set(position, known);
    return known;
  };
  const fetches = {
    /** What was asked for of topics other than the journal, each partition by itself: whether the request waits, and the position. */
    asked: [] as { readonly partition: number; readonly waits: boolean; readonly position: bigint }[],
    /** Resolves when a request has waited at this position of a topic other than the journal. */
    waitsAt: (position: number) => waitAt(BigInt(position)).promise,
    /** Resolves when a request waits for so many partitions of a topic other than the journal. */
    waitsFor: (partitions: number) => {
      together.count = partitions;
      return together.reached.promise;
    },
  };
  const recorded: KafkaOptions["client"] = {
    ...client,
    metadataV12: {
      api: {
        ...metadataV12.api,
        async: (connection, topics, mayCreate) => {
          for (const { name } of topics ?? []) metadata.push(name);
          return metadataV12.api.async(connection, topics, mayCreate);
        },
      },
    },
    fetchV13: {
      ...fetchV13,
      createRequest: (...asked) => {
        const [maxWaitMs, , bytesMax, , , , topics] = asked;
        if (bytesMax < journalBytes) {
          for (const { partition, fetchOffset } of topics.flatMap(({ partitions }) => partitions)) {
            fetches.asked.push({ partition, waits: maxWaitMs > 0, position: fetchOffset });
          }
        }
        if (maxWaitMs > 0 && bytesMax < journalBytes) {
          for (const { partitions } of topics) {
            waitAt(partitions[0]!.fetchOffset).resolve();
            if (partitions.length >= together.count) together.reached.resolve();
          }
        }
        return fetchV13.createRequest(...asked);
      },
    },
  };
  return { client: recorded, metadata, fetches };
}

/** The client, by which requests of one kind for a topic wait until they are let go. */
function holding(kind: "describeConfigsV4" | "describeProducersV0" | "listOffsetsV7" | "metadataV12", topic: string) {
  const asked = Promise.withResolvers<void>();
  const { promise: gone, resolve: letGo } = Promise.withResolvers<void>();
  const real: KafkaOptions["client"] = client;
  const { api } = real[kind];
  const ask = api.async as (...parameters: readonly unknown[]) => Promise<unknown>;
  const held = async (...parameters: readonly unknown[]) => {
    const [topics] = parameters.filter(Array.isArray) as { name?: string; resourceName?: string }[][];
    if (topics!.some(({ name, resourceName }) => topic === (name ?? resourceName))) {
      asked.resolve();
      await gone;
    }
    return ask(...parameters);
  };
  const holds = { ...real, [kind]: { api: { ...api, async: held } } } as KafkaOptions["client"];
  return { client: holds, asked: asked.promise, letGo };
}

type Foreign = Partial<client.MessageToProduce>;

/** By another client of Kafka. */
function produceRaw(topic: string, ...messages: readonly Foreign[]): Promise<void> {
  return produceCompressed("none", topic, ...messages);
}

async function produceCompressed(
  compression: client.CompressionAlgorithmValue,
  topic: string,
  ...messages: readonly Foreign[]
): Promise<void> {
  const producer = new client.Producer({ clientId: "another", bootstrapBrokers: brokers, compression });
  try {
    await producer.send({ messages: messages.map((message) => ({ topic, partition: 0, value: body, ...message })) });
  } finally {
    await producer.close();
  }
}

/** Deletes a topic, and may make it anew, as another program does; what the brokers show is true then. */
async function deleteBehind(t: TestContext, name: string, isMadeAnew: boolean): Promise<void> {
  const cluster = openCluster(t);
  const former = (await cluster.readTopic(name))!.id;
  const maker = new TopicMaker(cluster, { replicationFactor: undefined, settings: {} });
  await maker.remove({ kafkaName: name, kafkaId: former });
  // Brokers know a topic a little longer than it is there.
  await eventually(cluster.world, "it is gone", async () => (await cluster.readTopic(name)) === undefined);
  if (isMadeAnew) await maker.make([name], 1);
}

describe("the Kafka engine", { skip: found.skip, concurrency: 3 }, () => {
  test("makes no journal unless it is told to, and says what to do", async (t) => {
    await assert.rejects(open(t, { journal: "expect" }), { code: "not-found", message: /journal: "make"/ });
  });

  test("engines that start together make one journal, and each sees what the others did", async (t) => {
    const prefix = testPrefix();
    const engines = await Promise.all([open(t, {}, prefix), open(t, {}, prefix), open(t, {}, prefix)]);
    await Promise.all(engines.map(({ messages }, index) => messages.declare(`topic${index}`, { partitions: 1 })));
    for (const { messages } of engines) assert.deepEqual(await messages.topics(), ["topic0", "topic1", "topic2"]);
  });

  test("says what the brokers' settings mean, and refuses to promise more", async (t) => {
    const engine = await open(t);
    const settings = engine.requirements.map(({ setting }) => setting);
    assert.ok(["replication.factor", "min.insync.replicas", "flush.messages"].every((name) => settings.includes(name)));
    assert.ok(settings.includes("transaction.state.log.replication.factor"));
    assert.deepEqual([engine.messages.capabilities.survives, engine.log.capabilities.survives], ["machine", "machine"]);
    await assert.rejects(open(t, { survives: "replicas" }), { code: "invalid", message: /min\.insync\.replicas/ });
    const careless = await open(t, { topicSettings: { "flush.messages": "1000" } });
    assert.deepEqual(
      [careless.messages, careless.log].map(({ capabilities }) => capabilities.survives),
      ["process", "process"],
    );
  });

  test("refuses options that make no sense", async () => {
    const wrong: readonly Partial<KafkaOptions>[] = [
      { prefix: "no_underscores" },
      { brokers: [] },
      { brokers: ["127.0.0.1"] },
      { connectionsMax: 0 },
      { replicationFactor: 0 },
      { decompressedBytesMax: 0 },
      { commandTimeoutMs: Number.NaN },
      { journal: "drop" as "make" },
      { connect: () => ({}) as client.Connection },
    ];
    for (const options of wrong) {
      await assert.rejects(kafka({ client, connect, brokers, prefix: testPrefix(), ...options }), { code: "invalid" });
    }
  });

  test("whoever comes new reads the journal from its last snapshot on, and what is older is deleted", async (t) => {
    const prefix = testPrefix();
    t.after(() => deleteTopics(server, prefix));
    const topic = `${prefix}-journal`;
    const cluster = openCluster(t);
    await new TopicMaker(cluster, { replicationFactor: undefined, settings: {} }).make([topic], 1);
    const journal = await openJournal(t, topic);
    for (let round = 0; round < 70; round++) {
      const place = { name: `orders${round}`, kafkaName: `none.${round}`, kafkaId: `none-${round}`, partitions: 1 };
      const rest = { retentionMs: null, countMax: null, whenFull: null, groups: [], starts: null, ends: null };
      await journal.submit<"declare">({ kind: "declare", ...place, ...rest }, "a test");
    }
    const begins = () => listOffset(cluster, "a test", topic, 0, offsetAt.earliest);
    const deadline = performance.now() + 10_000;
    while ((await begins()) === 0 && performance.now() < deadline) await journal.reach("a test", null);
    assert.ok((await begins()) > 0, "the journal was shortened");
    const other = await openJournal(t, topic);
    await other.reach("a test", null);
    // Behind the format and the time of the last record, which each has read as far as it has come.
    const stateOf = ({ state }: typeof journal) => state.encode().subarray(9);
    assert.deepEqual(stateOf(other), stateOf(journal));
    assert.equal(other.state.names.length, 70);
  });

  test("a journal that a later version wrote to is left alone", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, {}, prefix);
    await produceRaw(`${prefix}-journal`, { value: Buffer.from("not for Tenon") });
    assert.deepEqual(await messages.topics(), []);
    await produceRaw(`${prefix}-journal`, { value: Buffer.from('{"version":99,"id":"x/0","kind":"look"}') });
    await assert.rejects(messages.topics(), { code: "conflict", message: /later version/ });
    await assert.rejects(open(t, {}, prefix), { code: "conflict", message: /later version/ });
  });

  test("other clients of Kafka read what is published, and what they write is consumed", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, {}, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    await messages.append({ topic: "orders", partition: 0, messages: [{ body, key: "k", headers: { tenant: "a" } }] });
    const consumer = new client.Consumer({ clientId: "another", groupId: prefix, bootstrapBrokers: brokers });
    try {
      const stream = await consumer.consume({ topics: [`${prefix}.orders`], mode: "earliest", autocommit: false });
      for await (const { key, value, headers } of stream) {
        assert.deepEqual([String(key), String(value)], ["k", "body"]);
        assert.equal(String([...headers][0]), "tenant,a");
        break;
      }
    } finally {
      await consumer.close(true);
    }
    await produceRaw(`${prefix}.orders`, {
      key: Buffer.from("theirs"),
      headers: new Map([[Buffer.from("from"), Buffer.from("elsewhere")]]),
    });
    const lane = await (await messages.join("orders", "billing", joining)).nextLane();
    const fetched = [...(await lane.fetch(1)), ...(await lane.fetch(1))];
    assert.deepEqual([fetched[1]!.key, { ...fetched[1]!.headers }], ["theirs", { from: "elsewhere" }]);
  });

  test("what other clients compressed is consumed like the rest, also from the midst of a batch on", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, {}, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const algorithms = ["gzip", "snappy", "lz4", "zstd"] as const;
    for (const algorithm of algorithms) {
      const key = Buffer.from(algorithm);
      await produceCompressed(algorithm, `${prefix}.orders`, { key }, { key, value: Buffer.alloc(10_000, algorithm) });
    }
    await messages.seek("orders", "billing", { positions: new Map([[0, 1n]]) });
    const lane = await (await messages.join("orders", "billing", joining)).nextLane();
    const read: unknown[] = [];
    while (read.length < 7) {
      for (const message of await lane.fetch(10)) read.push([message.position, message.key, message.body.length]);
    }
    const written = algorithms.flatMap((algorithm, index) => [
      [BigInt(2 * index), algorithm, 4],
      [BigInt(2 * index + 1), algorithm, 10_000],
    ]);
    assert.deepEqual(read, written.slice(1));
  });

  test("a batch that comes to more than it may is refused, and neither what stands before it nor itself is gone past", async (t) => {
    const prefix = testPrefix();
    const { messages, log } = await open(t, { decompressedBytesMax: 100_000 }, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    await log.declare("clicks", { partitions: 1 });
    for (const topic of [`${prefix}.orders`, `${prefix}_log.clicks`]) {
      await produceCompressed("zstd", topic, { value: Buffer.alloc(90_000) });
      await produceCompressed("zstd", topic, { value: Buffer.alloc(100_000) });
      await produceRaw(topic, {});
    }
    const refused = {
      code: "unsupported",
      message: /position 1 of .*\/0 is larger than 100000 bytes.* decompressedBytesMax/,
      fields: { topic: `${prefix}.orders`, partition: 0, position: 1, decompressedBytesMax: 100_000 },
    };
    const lane = await (await messages.join("orders", "billing", joining)).nextLane();
    const fetched = await lane.fetch(10);
    assert.deepEqual(
      fetched.map(({ position }) => position),
      [0n],
    );
    await assert.rejects(lane.fetch(10), refused);
    await assert.rejects(lane.fetch(10), refused);

    const reading = { log: "clicks", partition: 0, limit: 10 };
    const page = await log.read({ ...reading, from: 0n });
    assert.deepEqual([page.records.map(({ position }) => position), page.next], [[0n], 1n]);
    const ofLog = { ...refused, fields: { ...refused.fields, topic: `${prefix}_log.clicks` } };
    await assert.rejects(log.read({ ...reading, from: 1n }), ofLog);
    assert.equal((await log.read({ ...reading, from: 2n })).records.length, 1);
  });

  test("how far behind a lane is can be told also where it stands at a batch that cannot be read", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, { client: damaging((bytes) => bytes.includes("to be damaged")) }, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    await produceRaw(`${prefix}.orders`, { value: Buffer.from("to be damaged") });
    const lane = await (await messages.join("orders", "billing", joining)).nextLane();
    await assert.rejects(lane.fetch(10), { code: "corrupt", message: /position 0 of .*checksum/ });
    const { groups } = await messages.describe("orders");
    const lanes = groups[0]!.lanes.map(({ low, lag, oldestPublishedAt }) => [low, lag, oldestPublishedAt]);
    assert.deepEqual(lanes, [[0n, 1, undefined]]);
  });

  test("where a log begins and ends can be told also where what is first or last cannot be read", async (t) => {
    const prefix = testPrefix();
    const { log } = await open(t, { client: damaging((bytes) => bytes.includes("to be damaged")) }, prefix);
    const damaged = { value: Buffer.from("to be damaged") };
    for (const [name, values] of Object.entries({ first: [damaged, {}, {}], last: [{}, {}, damaged] })) {
      await log.declare(name, { partitions: 1 });
      for (const value of values) await produceRaw(`${prefix}_log.${name}`, value);
      const { partitions } = await log.describe(name);
      assert.deepEqual([partitions[0]!.first, partitions[0]!.next], [0n, 3n]);
      assert.equal(partitions[0]!.lastAt === undefined, name === "last");
    }
    assert.equal((await log.read({ log: "first", partition: 0, from: 1n, limit: 10 })).records.length, 2);
  });

  test("what comes damaged of the journal is asked for again: the engine goes on when it comes whole", async (t) => {
    let damaged = 0;
    const { messages } = await open(t, { client: damaging(() => damaged-- > 0) });
    damaged = 3;
    await messages.declare("orders", { partitions: 1 });
    assert.ok(damaged < 0, "it came damaged");
    assert.deepEqual(await messages.topics(), ["orders"]);
  });

  test("a position that holds a mark of a transaction does not keep a lane from going on", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, {}, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const transactionalId = prefix;
    const producer = new client.Producer({
      clientId: "another",
      bootstrapBrokers: brokers,
      idempotent: true,
      transactionalId,
    });
    for (const key of ["one", "two"]) {
      const transaction = await producer.beginTransaction();
      await transaction.send({
        messages: [{ topic: `${prefix}.orders`, partition: 0, key: Buffer.from(key), value: body }],
      });
      await transaction.commit();
    }
    await producer.close();
    const lane = await (await messages.join("orders", "billing", { ...joining, from: "earliest" })).nextLane();
    const keys: (string | undefined)[] = [];
    while (keys.length < 2) {
      for (const { key, position } of await lane.fetch(10)) {
        keys.push(key);
        await lane.commit({ settled: [position] });
      }
    }
    assert.deepEqual(keys, ["one", "two"]);
    await messages.append({ topic: "orders", partition: 0, messages: [{ body, key: "three" }] });
    const [third] = await lane.fetch(10);
    await lane.commit({ settled: [third!.position] });
    assert.equal((await messages.describe("orders")).groups[0]!.lanes[0]!.lag, 0);
  });

  test("what comes while a lane waits comes as the answer to the waiting, and is asked for no more", async (t) => {
    const { client: counting, fetches } = recording();
    const { messages } = await open(t, { client: counting });
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const lane = await (await messages.join("orders", "billing", { ...joining, from: "earliest" })).nextLane();
    const append = () => messages.append({ topic: "orders", partition: 0, messages: [{ body }] });
    await append();
    assert.equal((await lane.fetch(10)).length, 1);
    for (let round = 0; round < 4; round++) {
      // Before it waits for the first time it has to look.
      if (round === 1) fetches.asked.length = 0;
      const coming = lane.fetch(10);
      await fetches.waitsAt(round + 1);
      await append();
      const settled = (await coming).map(({ position }) => position);
      assert.deepEqual(settled, [BigInt(round + 1)]);
      await lane.commit({ settled });
    }
    const looks = fetches.asked.filter(({ waits }) => !waits);
    assert.deepEqual(looks, []);
  });

  test("a lane looks for what is there before it waits, unless that is waited for already", async (t) => {
    const { client: counting, fetches } = recording();
    const { messages } = await open(t, { client: counting });
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const lane = await (await messages.join("orders", "billing", { ...joining, from: "earliest" })).nextLane();
    const append = () => messages.append({ topic: "orders", partition: 0, messages: [{ body }] });
    await append();
    const [first] = await lane.fetch(10);
    // The second one has not been fetched yet.
    for (const settled of [first!.position, 4n]) {
      for (let count = 0; count < 2; count++) await append();
      await lane.commit({ settled: [settled] });
      fetches.asked.length = 0;
      await lane.fetch(10);
      assert.equal(fetches.asked[0]?.waits, false);
    }
  });

  test("news that was asked for from further on than where a lane stands is no reason to pass by what lies between", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, {}, prefix);
    const heard = Promise.withResolvers<Parameters<Watcher["watch"]>>();
    const watch = Watcher.prototype.watch;
    t.mock.method(Watcher.prototype, "watch", function (this: Watcher, ...asked: Parameters<Watcher["watch"]>) {
      if (asked[0].startsWith(prefix)) heard.resolve(asked);
      else watch.apply(this, asked);
    });
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    const lane = await (await messages.join("orders", "billing", { ...joining, from: "earliest" })).nextLane();
    const coming = lane.fetch(10);
    const [name, topicId, partition, next, hear] = await heard.promise;
    assert.equal(next, 0);
    for (let count = 0; count < 3; count++) {
      await messages.append({ topic: "orders", partition, messages: [{ body }] });
    }
    const place = { partition, currentLeaderEpoch: -1, lastFetchedEpoch: -1, partitionMaxBytes: 1_000 };
    const cluster = openCluster(t);
    const asked = { what: "a test", outcome: "not-applied" } as const;
    const [arrived] = await cluster.leader(asked, name, partition, (connection) =>
      cluster.fetching.arrivals(connection, [{ topicId, partitions: [{ ...place, fetchOffset: 2n }] }], {
        maxWaitMs: 0,
        bytesMax: 1_000,
        isolation: isolation.uncommitted,
      }),
    );
    hear({ from: 2, arrived: arrived! });
    const positions = (await coming).map(({ position }) => position);
    assert.deepEqual(positions, [0n, 1n, 2n]);
  });

  test("nobody asks for a topic any more that was removed while its lanes waited", async (t) => {
    const prefix = testPrefix();
    const { client: counting, metadata, fetches } = recording();
    const { messages } = await open(t, { client: counting }, prefix);
    const memberOf = async (name: string, partitions: number) => {
      await messages.declare(name, { partitions, groups: ["billing"] });
      return messages.join(name, "billing", { ...joining, from: "earliest" });
    };
    const gone = await memberOf("gone", 8);
    for (let lanes = 0; lanes < 8; lanes++) (await gone.nextLane()).fetch(10).catch(() => undefined);
    // All of them: one that was only being read is looked for until it is known to be gone.
    await fetches.waitsFor(8);
    await gone.leave();
    await messages.remove("gone");
    metadata.length = 0;
    const lane = await (await memberOf("orders", 1)).nextLane();
    const append = () => messages.append({ topic: "orders", partition: 0, messages: [{ body }] });
    await append();
    assert.equal((await lane.fetch(10)).length, 1);
    const coming = lane.fetch(10);
    await fetches.waitsAt(1);
    await append();
    assert.equal((await coming).length, 1);
    assert.deepEqual(
      metadata.filter((name) => name === `${prefix}.gone`),
      [],
    );
  });

  test("who declares more of a topic that somebody else removes meanwhile declares it anew", async (t) => {
    const prefix = testPrefix();
    const held = holding("listOffsetsV7", `${prefix}.orders`);
    const { messages: others } = await open(t, {}, prefix);
    const { messages } = await open(t, { client: held.client }, prefix);
    await others.declare("orders", { partitions: 1 });
    assert.deepEqual(await messages.topics(), ["orders"]);
    const declaring = messages.declare("orders", { partitions: 1, groups: ["billing"] });
    await held.asked;
    await others.remove("orders");
    held.letGo();
    await declaring;
    const { groups } = await others.describe("orders");
    assert.deepEqual(
      groups.map(({ group }) => group),
      ["billing"],
    );
  });

  for (const [step, kind] of [
    ["looked for", "metadataV12"],
    ["looked at", "describeConfigsV4"],
  ] as const) {
    test(`a topic that is there, and that somebody else removes while it is ${step}, is made anew`, async (t) => {
      const name = `${testPrefix()}.orders`;
      t.after(() => deleteTopics(server, name));
      const held = holding(kind, name);
      const settings = { replicationFactor: undefined, settings: {} };
      const first = await new TopicMaker(openCluster(t), settings).make([name], 1);
      const making = new TopicMaker(openCluster(t, held.client), settings).make([name], 1);
      await held.asked;
      await deleteBehind(t, name, false);
      held.letGo();
      const second = await making;
      assert.equal(second.kafkaName, name);
      assert.notEqual(second.kafkaId, first.kafkaId);
    });
  }

  test("what a producer appends that somebody else began with is refused when the topic is removed meanwhile", async (t) => {
    const prefix = testPrefix();
    const held = holding("describeProducersV0", `${prefix}.orders`);
    const { messages: others } = await open(t, {}, prefix);
    const { messages } = await open(t, { client: held.client }, prefix);
    const batchAt = (sequence: number) => {
      return { topic: "orders", partition: 0, messages: [{ body }], producer: { id: "shop", epoch: 0, sequence } };
    };
    await others.declare("orders", { partitions: 1 });
    await others.append(batchAt(0));
    const appending = messages.append(batchAt(1));
    await held.asked;
    await others.remove("orders");
    held.letGo();
    await assert.rejects(appending, { code: "not-found", outcome: "not-applied" });
  });

  test("names that delayed messages are kept under are refused", async (t) => {
    await refusesHiddenNames((await open(t)).messages);
  });

  test("topics whose names differ for Tenon and not for Kafka are apart", async (t) => {
    const { messages } = await open(t);
    const names = ["a.b", "a_b", "käse", "x".repeat(400), `${"x".repeat(400)}y`];
    for (const [index, name] of names.entries()) {
      await messages.declare(name, { partitions: 1, groups: ["group"] });
      for (let count = 0; count <= index; count++)
        await messages.append({ topic: name, partition: 0, messages: [{ body }] });
    }
    for (const [index, name] of names.entries()) {
      assert.equal((await messages.describe(name)).groups[0]!.lanes[0]!.lag, index + 1, name);
    }
  });

  test("a topic that is there already is taken when it keeps what it is given, and refused when it does not", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, {}, prefix);
    const maker = new TopicMaker(openCluster(t), { replicationFactor: undefined, settings: {} });
    await maker.make([`${prefix}.half-way`], 2);
    await assert.rejects(messages.declare("half-way", { partitions: 3 }), { code: "conflict" });
    await messages.declare("half-way", { partitions: 2 });
    const admin = new client.Admin({ clientId: "another", bootstrapBrokers: brokers });
    await admin.createTopics({ topics: [`${prefix}.theirs`], partitions: 1, replicas: 1 });
    await admin.close();
    await assert.rejects(messages.declare("theirs", { partitions: 1 }), { code: "conflict", message: /retention\.ms/ });
    assert.deepEqual(await messages.topics(), ["half-way"]);
  });

  test("a topic that was deleted and made anew behind the engine's back is noticed", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, { commandTimeoutMs: 1_000 }, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["group"] });
    await messages.append({ topic: "orders", partition: 0, messages: [{ body }] });
    await deleteBehind(t, `${prefix}.orders`, true);
    const other = await kafka({ client, connect, brokers, prefix });
    t.after(() => other.close());
    const again = () => other.messages.append({ topic: "orders", partition: 0, messages: [{ body }] });
    await assert.rejects(again, { code: "conflict", outcome: "not-applied", message: /declare it anew/ });
    await messages.remove("orders");
    await other.messages.declare("orders", { partitions: 1, groups: ["group"] });
    assert.deepEqual(await again(), [0n]);
  });

  test("what is delayed goes with a topic that was deleted behind the engine's back", async (t) => {
    const prefix = testPrefix();
    const delay = ({ messages, world }: KafkaEngine) => {
      const dueAt = world.clock.now() + 60_000;
      return messages.append({ topic: "orders", partition: 0, messages: [{ body, dueAt }] });
    };
    const former = await open(t, {}, prefix);
    await former.messages.declare("orders", { partitions: 1 });
    await delay(former);
    await former.close();
    await deleteBehind(t, `${prefix}.orders`, false);
    const admin = new client.Admin({ clientId: "another", bootstrapBrokers: brokers });
    t.after(() => admin.close());
    const isKept = async () => (await admin.listTopics()).some((topic) => topic.startsWith(`${prefix}_later`));
    assert.equal(await isKept(), true);
    const engine = await open(t, {}, prefix);
    await assert.rejects(delay(engine), { code: "not-found", outcome: "not-applied" });
    await eventually(engine.world, "nothing is kept", async () => !(await isKept()));
  });

  test("who published to a topic before others removed it and declared it anew publishes to the new one", async (t) => {
    const prefix = testPrefix();
    const [{ messages }, other] = [await open(t, {}, prefix), await open(t, {}, prefix)];
    const orders = (dueAt?: number) => ({ topic: "orders", partition: 0, messages: [{ body, dueAt }] });
    await messages.declare("orders", { partitions: 1, groups: ["group"] });
    await other.messages.append(orders());
    await messages.remove("orders");
    await messages.declare("orders", { partitions: 1, groups: ["group"] });
    assert.deepEqual(await other.messages.append(orders()), [0n]);
    assert.deepEqual(await other.messages.append(orders(other.world.clock.now() + 100)), [undefined]);
    const lane = await (await messages.join("orders", "group", joining)).nextLane();
    for (let count = 0; count < 2; ) count += (await lane.fetch(2)).length;
  });

  test("who consumed a topic before others removed it and declared it anew consumes the new one", async (t) => {
    const prefix = testPrefix();
    const [{ messages }, other] = [await open(t, {}, prefix), await open(t, {}, prefix)];
    const orders = { topic: "orders", partition: 0, messages: [{ body }] };
    const fetched = async () => {
      const lane = await (await other.messages.join("orders", "group", joining)).nextLane();
      return lane.fetch(1);
    };
    await messages.declare("orders", { partitions: 1, groups: ["group"] });
    await messages.append(orders);
    assert.equal((await fetched()).length, 1);
    await messages.remove("orders");
    await messages.declare("orders", { partitions: 1, groups: ["group"] });
    await messages.append(orders);
    assert.equal((await fetched()).length, 1);
  });

  test("who consumes a topic that was deleted and made anew behind the engine's back is told so", async (t) => {
    const prefix = testPrefix();
    const { messages } = await open(t, {}, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["group"] });
    const lane = await (await messages.join("orders", "group", joining)).nextLane();
    await deleteBehind(t, `${prefix}.orders`, true);
    await assert.rejects(lane.fetch(1), { code: "conflict", message: /declare it anew/ });
    await messages.remove("orders");
  });

  test("what every group has settled is deleted in Kafka, unless it is to be kept", async (t) => {
    const prefix = testPrefix();
    const real = systemWorld();
    let laterMs = 0;
    const clock = { now: () => real.clock.now(), monotonic: () => real.clock.monotonic() + laterMs };
    const world: World = { ...real, clock };
    const { messages } = await open(t, { world }, prefix);
    await messages.declare("orders", { partitions: 1, groups: ["a", "b"] });
    await messages.declare("kept", { partitions: 1, groups: ["a"], retentionMs: 3_600_000 });
    for (const [topic, groups] of [
      ["orders", ["a", "b"]],
      ["kept", ["a"]],
    ] as const) {
      await messages.append({ topic, partition: 0, messages: [{ body }, { body }, { body }] });
      for (const group of groups) {
        const lane = await (await messages.join(topic, group, joining)).nextLane();
        const fetched = await lane.fetch(3);
        await lane.commit({ settled: fetched.slice(0, 2).map(({ position }) => position) });
        laterMs += 10_000;
        await lane.commit({ settled: [], held: [] });
        await lane.commit({ settled: fetched.slice(2).map(({ position }) => position) });
      }
    }
    const cluster = openCluster(t);
    const begins = (topic: string) => listOffset(cluster, "a test", `${prefix}.${topic}`, 0, offsetAt.earliest);
    const deadline = performance.now() + 10_000;
    while ((await begins("orders")) < 3 && performance.now() < deadline) await messages.topics();
    assert.equal(await begins("orders"), 3);
    assert.equal(await begins("kept"), 0);
  });
});
