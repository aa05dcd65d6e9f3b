import assert from "node:assert/strict";
import { test } from "node:test";
import type { TenonError } from "../../contracts/errors.ts";
import { type EmbeddedEngine, memory } from "./index.ts";

const invalid = { code: "invalid", outcome: "not-applied" } satisfies Partial<TenonError>;

async function withEngine(work: (engine: EmbeddedEngine) => Promise<void>): Promise<void> {
  const engine = await memory();
  try {
    await engine.messages.declare("orders", { partitions: 1, groups: ["billing"] });
    await work(engine);
    const { partitions } = await engine.messages.describe("orders");
    assert.deepEqual(partitions, [{ first: 0n, next: 0n }], "something was stored all the same");
  } finally {
    await engine.close();
  }
}

test("names that UTF-8 cannot give back are refused, since two of them could be one after opening again", async () => {
  await withEngine(async ({ messages }) => {
    await assert.rejects(messages.declare("a\ud800", { partitions: 1 }), invalid);
    await assert.rejects(messages.declare("orders", { partitions: 1, groups: ["b\udc00"] }), invalid);
    assert.deepEqual(await messages.topics(), ["orders"]);
  });
});

test("a retention that is no length of time is refused", async () => {
  await withEngine(async ({ messages }) => {
    for (const retentionMs of [Number.NaN, -1, "1h" as unknown as number]) {
      await assert.rejects(messages.declare("other", { partitions: 1, retentionMs }), invalid);
    }
    assert.deepEqual(await messages.topics(), ["orders"]);
  });
});

test("what is no bytes is refused as a body and as a value, instead of being stored as something else", async () => {
  await withEngine(async ({ messages, keyValue }) => {
    for (const text of ["text", [1, 2], undefined]) {
      const body = text as unknown as Uint8Array;
      await assert.rejects(messages.append({ topic: "orders", partition: 0, messages: [{ body }] }), invalid);
      await assert.rejects(keyValue.commit([{ type: "put", key: "key", value: body }]), invalid);
    }
    assert.deepEqual(await keyValue.scan(""), []);
  });
});

test("a batch of very many messages with ids is refused whole", async () => {
  await withEngine(async ({ messages }) => {
    const many = Array.from({ length: 100_001 }, (_, i) => ({ body: Buffer.alloc(0), id: `${i}` }));
    const producer = { id: "p", epoch: 0, sequence: 0 };
    await assert.rejects(messages.append({ topic: "orders", partition: 0, messages: many, producer }), invalid);
  });
});
