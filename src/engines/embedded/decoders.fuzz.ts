import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../../contracts/errors.ts";
import type { MessageHeaders, NewMessage } from "../../contracts/messages.ts";
import { memoryDisk } from "../../world/memory-disk.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import { packedBytes, packHeaders, packMessage } from "../lanes/message-format.ts";
import { Core } from "./core.ts";
import { Reader, Writer } from "./cursor.ts";
import { loadFooter } from "./footer.ts";
import { EntryStore } from "./key-values/entry-store.ts";
import { type Effect, effectsBytes, readEffects, writeEffects } from "./key-values/key-value-records.ts";
import { KeyValueStore } from "./key-values/key-value-store.ts";
import { replayGrant, replayLaneCommit, replayLaneSnapshot, replaySeek } from "./messages/lanes.ts";
import { SegmentDirectory } from "./messages/message-index.ts";
import {
  type RunHeader,
  readMessage,
  readMessageId,
  readRunHeader,
  runHeaderBytes,
  skipMessage,
  writeRunHeader,
} from "./messages/message-run.ts";
import { MessageStore } from "./messages/message-store.ts";
import {
  type ProducerSnapshot,
  Producers,
  producerSnapshotBytes,
  replayProducerSnapshot,
  writeProducerSnapshot,
} from "./messages/producers.ts";
import { replayGroup, replayLog, replayLogRetention, replaySettings, replayTopic } from "./messages/topic-records.ts";
import { recordKind } from "./records.ts";
import { replaySnapshot } from "./snapshot.ts";

const settings = { retentionMs: 0, countMax: Number.POSITIVE_INFINITY, whenFull: "refuse", sealed: "" } as const;

const numRuns = Number(process.env.TENON_FUZZ_RUNS ?? (process.env.TENON_SLOW === "1" ? 50_000 : 2_000));

const count = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const whole = fc.integer({ min: 0, max: 2 ** 53 - 1 });
const text = (maxBytes: number) => fc.string({ unit: "grapheme", maxLength: Math.floor(maxBytes / 16) });
const bytes = fc.uint8Array({ maxLength: 300 });

const message: fc.Arbitrary<NewMessage> = fc.record(
  { body: bytes, key: text(400), id: text(255), headers: fc.dictionary(text(80), text(200)) },
  { requiredKeys: ["body"], noNullPrototype: true },
);

const producer: fc.Arbitrary<NonNullable<RunHeader["producer"]>> = fc
  .record({
    id: text(255),
    epoch: whole,
    sequence: whole,
    count,
    offsets: fc.option(fc.array(fc.integer()), { nil: undefined }),
  })
  .map(({ offsets, ...mark }) => ({ ...mark, offsets, count: offsets?.length ?? mark.count }));

const runHeader: fc.Arbitrary<RunHeader> = fc.record(
  {
    queue: count,
    count,
    first: whole,
    publishedAt: whole,
    moved: fc.boolean(),
    producer: fc.option(producer, { nil: undefined }),
    source: fc.option(whole, { nil: undefined }),
  },
  { noNullPrototype: true },
);

test("messages are read as they were written, and skipped over whole", () => {
  fc.assert(
    fc.property(runHeader, fc.array(message, { maxLength: 5 }), whole, (header, messages, offset) => {
      const headers = messages.map((each) => each.headers && packHeaders(each.headers));
      const sizes = messages.map((each, i) => packedBytes(each, headers[i]?.length ?? -1));
      const buffer = Buffer.alloc(runHeaderBytes(header) + sizes.reduce((sum, size) => sum + size, 0));
      const writer = new Writer(buffer);
      writeRunHeader(writer, header);
      messages.forEach((each, i) => {
        writer.at = packMessage(buffer, writer.at, each, headers[i]);
      });
      assert.equal(writer.at, buffer.length, "the size was foretold wrongly");
      const [reading, skipping, identifying] = [new Reader(buffer), new Reader(buffer), new Reader(buffer)];
      for (const reader of [reading, skipping, identifying]) assert.deepEqual(readRunHeader(reader), header);
      for (const { body, key, id, headers: expected } of messages) {
        const stored = readMessage(reading, offset, header.publishedAt);
        assert.deepEqual(Buffer.from(stored.body), Buffer.from(body));
        assert.deepEqual([stored.key, stored.id, stored.position], [key, id, BigInt(offset)]);
        assert.deepEqual(stored.headers, expected === undefined ? undefined : ({ ...expected } as MessageHeaders));
        skipMessage(skipping);
        assert.equal(readMessageId(identifying), id);
        assert.deepEqual([skipping.at, identifying.at], [reading.at, reading.at]);
      }
      assert.ok(reading.done);
    }),
    { numRuns },
  );
});

const effect: fc.Arbitrary<Effect> = fc.oneof(
  fc.record(
    {
      type: fc.constant("put" as const),
      key: text(4_000),
      value: bytes,
      expiresAt: fc.oneof(whole, fc.constant(Infinity)),
    },
    { noNullPrototype: true },
  ),
  fc.record({ type: fc.constant("delete" as const), key: text(4_000) }, { noNullPrototype: true }),
);

test("commits of key-values are read as they were written, and every value stands where it is said to", () => {
  fc.assert(
    fc.property(whole, fc.boolean(), fc.array(effect, { maxLength: 8 }), (version, moved, effects) => {
      const buffer = Buffer.alloc(effectsBytes(effects));
      const writer = new Writer(buffer);
      const starts = writeEffects(writer, version, moved, effects);
      assert.equal(writer.at, buffer.length, "the size was foretold wrongly");
      const read = readEffects(new Reader(buffer));
      const asBuffers = effects.map((each) =>
        each.type === "put" ? { ...each, value: Buffer.from(each.value) } : each,
      );
      assert.deepEqual(read, { version, moved, effects: asBuffers, starts });
      effects.forEach((each, i) => {
        if (each.type !== "put") return;
        const value = buffer.subarray(starts[i], starts[i]! + each.value.length);
        assert.ok(value.equals(each.value), "the value stands elsewhere");
      });
    }),
    { numRuns },
  );
});

test("producers are restored from a snapshot as they were", () => {
  const batch = producer.map(({ sequence, count: each, offsets }) => ({ sequence, count: each, first: 7, offsets }));
  const snapshot: fc.Arbitrary<ProducerSnapshot> = fc.record(
    {
      id: text(255),
      topic: count,
      epoch: whole,
      usedAt: whole,
      queue: count,
      batches: fc.array(batch, { minLength: 1, maxLength: 5 }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(snapshot, (original) => {
      const buffer = Buffer.alloc(producerSnapshotBytes(original));
      const writer = new Writer(buffer);
      writeProducerSnapshot(writer, original);
      assert.equal(writer.at, buffer.length, "the size was foretold wrongly");
      const producers = new Producers();
      replayProducerSnapshot(new Reader(buffer), producers);
      assert.deepEqual([...producers.snapshots()], [original]);
    }),
    { numRuns },
  );
});

/** A state with one topic and one group, for records to be replayed into. */
function state() {
  const core = new Core({ ...systemWorld(), disk: memoryDisk() }, "/memory", Infinity);
  const messages = new MessageStore(core);
  const keyValues = new KeyValueStore(core, "nothing");
  const topic = messages.catalogue.addTopic("orders", 2, settings, 0);
  messages.catalogue.addGroup(topic, "billing", [0, 0]);
  const log = messages.catalogue.addLog("clicks", 2, { retentionMs: Infinity, retentionBytes: Infinity }, 0);
  for (const queue of [...topic.queues, ...log.queues]) queue.next = 1_000;
  const states = new EntryStore({
    core,
    kinds: { commit: recordKind.states, version: recordKind.snapshotStatesVersion },
    inlineBytesMax: Infinity,
    footerBytesMax: Infinity,
    recordsExpiry: () => false,
    listener: {},
  });
  return { messages, keyValues, stores: [keyValues.entries, states] };
}

const decoders: Readonly<Record<string, (payload: Buffer) => void>> = {
  "a run": (payload) => state().messages.replayRun(payload, 2 ** 32),
  "a delayed message": (payload) => state().messages.delayed.replay(payload, 2 ** 32),
  "a topic": (payload) => replayTopic(payload, state().messages.catalogue),
  "a group": (payload) => replayGroup(payload, state().messages.catalogue),
  "a topic's settings": (payload) => replaySettings(payload, state().messages.catalogue),
  "a topic's removal": (payload) => state().messages.replayRemoval(recordKind.topicRemoved, payload),
  "a group's removal": (payload) => state().messages.replayRemoval(recordKind.groupRemoved, payload),
  "a log": (payload) => replayLog(payload, state().messages.catalogue),
  "a log's retention": (payload) => replayLogRetention(payload, state().messages.catalogue),
  "a log's trimming": (payload) => state().messages.replayTrimming(payload),
  "an eviction": (payload) => state().messages.replayEviction(payload),
  "a grant": (payload) => replayGrant(new Reader(payload), true, (id) => state().messages.catalogue.lane(id)),
  "a lane's commit": (payload) => {
    replayLaneCommit(new Reader(payload), (id) => state().messages.catalogue.lane(id));
  },
  "a lane's snapshot": (payload) => {
    replayLaneSnapshot(new Reader(payload), (id) => state().messages.catalogue.lane(id));
  },
  "a seek": (payload) => replaySeek(new Reader(payload), (id) => state().messages.catalogue.lane(id)),
  "key-values": (payload) => state().keyValues.entries.replay(payload, 2 ** 32),
  "what leases and rates keep": (payload) => state().stores[1]!.replay(payload, 2 ** 32),
  "a footer": (payload) => {
    const { messages, stores } = state();
    loadFooter(1, payload, messages, stores);
  },
  "a directory of runs": (payload) => void SegmentDirectory.decode(1, payload),
  "a message": (payload) => void readMessage(new Reader(payload), 0, 0),
  ...Object.fromEntries(
    [
      recordKind.snapshotQueues,
      recordKind.snapshotLanes,
      recordKind.snapshotDelays,
      recordKind.snapshotProducers,
      recordKind.snapshotVersion,
      recordKind.snapshotStatesVersion,
      recordKind.snapshotNumbers,
      recordKind.snapshotLogs,
    ].map((kind) => [
      `a snapshot's record of kind ${kind}`,
      (payload: Buffer) => {
        const { messages, stores } = state();
        replaySnapshot(kind, payload, messages, stores);
      },
    ]),
  ),
};

/** Bytes that get further than random ones: small numbers where lengths and counts stand. */
const payload = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 20 }),
    fc.integer({ min: 0, max: 40 }).map((n) => Uint8Array.of(n, 0, 0, 0)),
    fc.constantFrom(Uint8Array.of(255, 255, 255, 255), new Uint8Array(8), Uint8Array.of(0, 0, 0, 64)),
    fc.double().map((n) => new Uint8Array(new Float64Array([n]).buffer)),
    fc.integer({ min: 0, max: 5_000 }).map((n) => new Uint8Array(new Float64Array([n]).buffer)),
  ),
  { maxLength: 12 },
);

for (const [name, decode] of Object.entries(decoders)) {
  test(`arbitrary bytes for ${name} are read or refused with a RangeError`, () => {
    fc.assert(
      fc.property(payload, (parts) => {
        try {
          decode(Buffer.concat(parts));
        } catch (error) {
          if (!(error instanceof RangeError || error instanceof TenonError)) throw error;
        }
      }),
      { numRuns },
    );
  });
}
