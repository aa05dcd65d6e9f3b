import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../../contracts/errors.ts";
import type { NewMessage } from "../../contracts/messages.ts";
import { packedBytes, packHeaders, packMessage, Run } from "./message-format.ts";

const message: fc.Arbitrary<NewMessage> = fc.record(
  {
    body: fc.uint8Array({ maxLength: 80 }),
    key: fc.option(fc.string({ unit: "grapheme", maxLength: 80 }), { nil: undefined }),
    id: fc.option(fc.string({ unit: "grapheme", minLength: 1, maxLength: 60 }), { nil: undefined }),
    headers: fc.option(fc.dictionary(fc.string({ minLength: 1 }), fc.string()), { nil: undefined }),
  },
  { requiredKeys: ["body"] },
);

function pack(messages: readonly NewMessage[]): Buffer {
  const headers = messages.map((each) => each.headers && packHeaders(each.headers));
  const sizes = messages.map((each, index) => packedBytes(each, headers[index]?.length ?? -1));
  const packed = Buffer.alloc(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (const [index, each] of messages.entries()) at = packMessage(packed, at, each, headers[index]);
  assert.equal(at, packed.length);
  return packed;
}

function runOf(packed: Buffer, end: number, count: number): Run {
  return new Run(end, count, 1_700_000_000_000.5, packed);
}

test("messages come out of a run as they went in, whichever are skipped", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(message, fc.boolean()), { minLength: 1 }), (entries) => {
      const messages = entries.map(([each]) => each);
      const run = runOf(pack(messages), 1_000 + messages.length, messages.length);
      assert.equal(run.position, 1_000);
      for (const [index, [each, skipped]] of entries.entries()) {
        if (skipped) {
          run.skip();
          continue;
        }
        const stored = run.read();
        assert.deepEqual([stored.position, stored.publishedAt], [BigInt(1_000 + index), 1_700_000_000_000.5]);
        assert.deepEqual(
          [stored.key, stored.id, stored.headers],
          [each.key, each.id, each.headers && JSON.parse(JSON.stringify(each.headers))],
        );
        assert.ok(Buffer.from(each.body).equals(stored.body));
      }
      assert.equal(run.position, run.end);
    }),
  );
});

test("a run that ends early, or holds something else, is corrupt", () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 5 }), fc.nat(), (messages, cut) => {
      const packed = pack(messages);
      const run = runOf(packed.subarray(0, cut % packed.length), messages.length, messages.length);
      assert.throws(
        () => {
          for (let index = 0; index < messages.length; index++) run.read();
        },
        (error) => error instanceof TenonError && error.code === "corrupt",
      );
    }),
  );
});

test("a key is its own, whatever keys were read before it, also where they share a slot of those seen lately", () => {
  // More than there are slots, of few lengths; and what differs from a key only beyond its bytes.
  const keys = Array.from({ length: 20_000 }, (_, index) => `k${index.toString(36)}`);
  const others = ["é", "ab", "\u{1f600}", "\u00c3\u00a9", "", "k0".repeat(20)];
  for (let round = 0; round < 2; round++) {
    const messages = [...keys, ...others].map((key) => ({ body: Buffer.alloc(0), key }));
    const run = runOf(pack(messages), messages.length, messages.length);
    for (const { key } of messages) assert.equal(run.read().key, key);
  }
});
