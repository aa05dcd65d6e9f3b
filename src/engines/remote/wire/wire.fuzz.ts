import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../../../contracts/errors.ts";
import type { Codec } from "./codecs.ts";
import { Reader, Writer } from "./cursor.ts";
import { failure } from "./failure-codec.ts";
import { FrameReader } from "./frames.ts";
import * as logs from "./log-codecs.ts";
import { memberAnswer, memberRequest } from "./member-codecs.ts";
import * as messages from "./message-codecs.ts";
import { hello, operations, welcome } from "./operations.ts";
import * as states from "./state-codecs.ts";

const numRuns = Number(process.env.TENON_FUZZ_RUNS ?? (process.env.TENON_SLOW === "1" ? 50_000 : 1_000));

const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const double = fc.double();
const text = fc.oneof(fc.string({ unit: "grapheme" }), fc.string({ unit: "binary" }));
const bytes = fc.uint8Array({ maxLength: 100 });
const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
/** Every key is there, as reading gives it. */
const fields = <T extends object>(model: { [Key in keyof T]: fc.Arbitrary<T[Key]> }) =>
  fc.record<T>(model as never, { noNullPrototype: true });

const headers = fc.dictionary(text, text, { noNullPrototype: true });
const newMessage = fields({
  body: bytes,
  key: option(text),
  headers: option(headers),
  id: option(text),
  dueAt: option(double),
});
const batch = fields({
  topic: text,
  partition: double,
  messages: fc.array(newMessage, { maxLength: 4 }),
  producer: option(fields({ id: text, epoch: double, sequence: double })),
});
const held = fields({ position: i64, failures: double, deliveries: double, dueAt: double });
const laneCommit = fields({
  settled: fc.array(i64),
  held: option(fc.array(held, { maxLength: 4 })),
  appends: option(fc.array(batch, { maxLength: 2 })),
});
const grantKey = { partition: double, fence: i64 };
const error = fc
  .record({
    code: fc.constantFrom("invalid" as const, "lost" as const, "unavailable" as const),
    message: text,
    outcome: fc.constantFrom("unknown" as const, "not-applied" as const),
    fields: fc.dictionary(text, fc.oneof(text, double, i64, fc.boolean()), { noNullPrototype: true }),
  })
  .map(({ code, message, outcome, fields: given }) => new TenonError(code, message, { outcome, fields: given }));
const notice = fc.oneof(
  fields({ type: fc.constant("granted" as const), ...grantKey, suspectBelow: i64, held: fc.array(held) }),
  fields({ type: fc.constant("revoked" as const), ...grantKey }),
  fields({ type: fc.constant("lost" as const), ...grantKey, reason: error }),
  fields({ type: fc.constant("ended" as const), reason: error }),
);
const stored = fields({
  position: i64,
  key: option(text),
  body: bytes,
  headers: option(headers),
  id: option(text),
  publishedAt: double,
});
const condition = fc.oneof(
  fc.constant({ ifAbsent: true as const }),
  i64.map((ifVersion) => ({ ifVersion })),
);
const change = fc.oneof(
  fields({
    type: fc.constant("put" as const),
    key: text,
    value: bytes,
    ttlMs: option(double),
    condition: option(condition),
  }),
  fields({ type: fc.constant("delete" as const), key: text, condition: option(condition) }),
  fields({
    type: fc.constant("add" as const),
    key: text,
    by: double,
    min: option(double),
    max: option(double),
    ttlMs: option(double),
    condition: option(condition),
  }),
  fields({ type: fc.constant("check" as const), key: text, condition }),
);
const entry = fields({ key: text, value: bytes, version: i64, expiresAt: option(double) });

function roundTrip<T>(codec: Codec<T>, arbitrary: fc.Arbitrary<T>): void {
  fc.assert(
    fc.property(arbitrary, (value) => {
      const writer = new Writer(4);
      codec.write(writer, value);
      const reader = new Reader(Buffer.from(writer.take()));
      assert.deepEqual(codec.read(reader), value);
      assert.equal(reader.left, 0);
    }),
    { numRuns },
  );
}

test("what is written is read back: messages", () => {
  roundTrip(messages.batch, batch);
  roundTrip(messages.stored, stored);
  roundTrip(messages.laneCommit, laneCommit);
  const target = fc.oneof(
    fc.constantFrom("now" as const, "earliest" as const),
    double.map((at) => ({ at })),
    fc.array(fc.tuple(double, i64)).map((pairs) => ({ positions: new Map(pairs) })),
  );
  roundTrip(messages.seekTarget, target);
});

test("what is written is read back: what members ask and hear", () => {
  roundTrip(
    memberRequest,
    fc.oneof(
      fields({ type: fc.constant("fetch" as const), ...grantKey, limit: double }),
      fields({ type: fc.constant("commit" as const), ...grantKey, change: laneCommit }),
      fields({ type: fc.constant("release" as const), ...grantKey }),
      fc.constantFrom({ type: "news" as const }, { type: "leave" as const }),
    ),
  );
  roundTrip(
    memberAnswer,
    fc.oneof(
      fields({ type: fc.constant("news" as const), notices: fc.array(notice, { maxLength: 4 }) }),
      fields({ type: fc.constant("messages" as const), messages: fc.array(stored, { maxLength: 4 }) }),
      fields({ type: fc.constant("failed" as const), reason: error }),
      fc.constantFrom({ type: "done" as const }, { type: "gone" as const }),
    ),
  );
});

test("what is written is read back: key-values and errors", () => {
  roundTrip(states.change, change);
  roundTrip(states.entry, entry);
  roundTrip(failure, error);
  roundTrip(
    states.commitResult,
    fc.oneof(
      fields({ committed: fc.constant(true as const), version: i64, counters: fc.array(option(double)) }),
      fields({
        committed: fc.constant(false as const),
        failed: double,
        reason: fc.constantFrom("condition" as const, "bound" as const),
        current: option(entry),
      }),
    ),
  );
});

test("what is written is read back: logs", () => {
  const records = fc.array(fields({ body: bytes, key: option(text), headers: option(headers) }), { maxLength: 3 });
  const place = { log: text, partition: double };
  const mark = option(fields({ id: text, epoch: double, sequence: double }));
  roundTrip(logs.logBatch, fields({ ...place, records, producer: mark }));
  roundTrip(logs.logRead, fields({ ...place, from: i64, limit: double, waitMs: option(double) }));
  const kept = { position: i64, key: option(text), body: bytes, headers: option(headers), appendedAt: double };
  roundTrip(logs.logPage, fields({ records: fc.array(fields(kept), { maxLength: 3 }), next: i64 }));
  const outputs = fc.array(fields({ ...place, records, sequences: option(fc.array(i64)) }), { maxLength: 3 });
  const positions = fc.array(fields({ reader: text, ...place, position: i64 }), { maxLength: 3 });
  roundTrip(logs.logCommit, fields({ outputs: option(outputs), positions: option(positions) }));
});

test("bytes that mean nothing are a RangeError, whatever reads them", () => {
  const codecs: Pick<Codec<unknown>, "read">[] = [hello, welcome, failure];
  for (const { request, answer } of Object.values(operations)) codecs.push(request, answer);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      for (const { read } of codecs) {
        try {
          read(new Reader(Buffer.from(noise)));
        } catch (thrown) {
          assert.ok(thrown instanceof RangeError, String(thrown));
        }
      }
    }),
    { numRuns },
  );
});

test("a stream of noise is frames or a RangeError, and holds no more than its limit", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 })), (chunks) => {
      const reader = new FrameReader(100);
      try {
        for (const chunk of chunks) {
          reader.push(chunk);
          for (let frame = reader.next(); frame !== undefined; frame = reader.next()) {
            assert.ok(frame.body.length <= 95);
          }
        }
      } catch (thrown) {
        assert.ok(thrown instanceof RangeError, String(thrown));
      }
    }),
    { numRuns },
  );
});
