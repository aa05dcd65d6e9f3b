import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../../../contracts/errors.ts";
import { list, number, record, text } from "./codecs.ts";
import { Reader, Writer } from "./cursor.ts";
import { FrameReader } from "./frames.ts";
import { anyRule, change } from "./state-codecs.ts";

function frame(kind: number, id: number, body: Uint8Array): Uint8Array {
  const bytes = Buffer.alloc(9 + body.length);
  bytes.writeUInt32LE(5 + body.length, 0);
  bytes[4] = kind;
  bytes.writeUInt32LE(id, 5);
  bytes.set(body, 9);
  return bytes;
}

test("frames come out as they went in, however the stream is cut", () => {
  const bodies = [Buffer.alloc(0), Buffer.from("one"), Buffer.alloc(3_000, 7)];
  const stream = Buffer.concat(bodies.map((body, index) => frame(3, index + 1, body)));
  for (const size of [1, 2, 7, 100, stream.length]) {
    const reader = new FrameReader(10_000);
    const found: string[] = [];
    for (let at = 0; at < stream.length; at += size) {
      reader.push(stream.subarray(at, at + size));
      for (let next = reader.next(); next !== undefined; next = reader.next()) {
        found.push(`${next.kind} ${next.id} ${next.body.toString("hex")}`);
      }
    }
    assert.deepEqual(
      found,
      bodies.map((body, index) => `3 ${index + 1} ${body.toString("hex")}`),
    );
  }
});

test("a length beyond the limit, or too short for a frame, is refused before its bytes are waited for", () => {
  for (const length of [0, 4, 101, 2 ** 32 - 1]) {
    const reader = new FrameReader(100);
    const head = Buffer.alloc(4);
    head.writeUInt32LE(length);
    reader.push(head);
    assert.throws(() => reader.next(), RangeError, `${length}`);
  }
});

test("a count that is greater than what is left is refused before room is made for it", () => {
  const writer = new Writer().u32(2 ** 32 - 1);
  assert.throws(() => list(text).read(new Reader(Buffer.from(writer.take()))), RangeError);
});

test("text that is no well-formed Unicode arrives as it was, so that the engine can refuse it", () => {
  const texts = ["", "plain", "Grüße 🧀", "a\ud800", "\udc00b", "x".repeat(100_000), "ä".repeat(30)];
  const writer = new Writer();
  list(text).write(writer, texts);
  assert.deepEqual(list(text).read(new Reader(Buffer.from(writer.take()))), texts);
});

test("a value of another type is invalid, and names of kinds are checked", () => {
  const invalid = (error: unknown) => error instanceof TenonError && error.code === "invalid";
  const point = record<{ x: number; y: number }>({ x: number, y: number });
  assert.throws(() => point.write(new Writer(), { x: 1, y: "2" } as never), invalid);
  assert.throws(() => point.write(new Writer(), undefined as never), invalid);
  assert.throws(() => change.write(new Writer(), { type: "increment", key: "k" } as never), invalid);
  assert.throws(() => anyRule.write(new Writer(), undefined as never), invalid);
});

test("bytes that were read are the reader's own", () => {
  const source = new Writer();
  change.write(source, { type: "put", key: "k", value: Buffer.from("before") });
  const bytes = Buffer.from(source.take());
  const read = change.read(new Reader(bytes));
  bytes.fill(0);
  assert.ok(read.type === "put");
  assert.equal(Buffer.from(read.value).toString(), "before");
});
