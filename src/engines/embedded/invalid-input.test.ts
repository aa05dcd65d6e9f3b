import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import type { TenonError } from "../../contracts/errors.ts";
import { bytes, topic } from "../../messaging/index.ts";
import { type EmbeddedEngine, embedded, memory } from "./index.ts";

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

test("a lane's commit that cannot be stored as it is said is refused whole", async () => {
  const engine = await memory();
  try {
    const { messages } = engine;
    await messages.declare("orders", { partitions: 1, groups: ["billing"] });
    await messages.declare("dead", { partitions: 1 });
    await messages.append({ topic: "orders", partition: 0, messages: [{ body: Buffer.from("order") }] });
    const member = await messages.join("orders", "billing", { sessionMs: 1_000, revokeMs: 1_000, windowMax: 10 });
    const lane = await member.nextLane();
    const held = { position: 0n, failures: 1, deliveries: 0, dueAt: 0 };
    for (const wrong of [{ failures: 0.5 }, { failures: 2 ** 32 }, { deliveries: -1 }, { dueAt: Number.NaN }]) {
      await assert.rejects(lane.commit({ settled: [], held: [{ ...held, ...wrong }] }), invalid);
    }
    const copy = { topic: "dead", partition: 0, messages: [{ body: Buffer.from("copy") }] };
    const appends = [0, 1].map((sequence) => ({ ...copy, producer: { id: "lane", epoch: 1, sequence } }));
    await assert.rejects(lane.commit({ settled: [0n], appends }), invalid);
    await assert.rejects(lane.commit({ settled: [1n] }), invalid);
    assert.equal((await messages.describe("orders")).groups[0]!.lanes[0]!.lag, 1, "it was settled all the same");
    assert.equal((await messages.describe("dead")).partitions[0]!.next, 0n, "a copy was stored all the same");
  } finally {
    await engine.close();
  }
});

test("a start that is none is refused, and moves nothing", async () => {
  await withEngine(async ({ messages }) => {
    const joining = { sessionMs: 1_000, revokeMs: 1_000, windowMax: 10 };
    for (const target of [5, {}, null, "somewhere", { at: Number.NaN }, { positions: {} }]) {
      await assert.rejects(messages.seek("orders", "billing", target as never), invalid);
      await assert.rejects(messages.join("orders", "other", { ...joining, from: target as never }), invalid);
    }
    assert.deepEqual(
      (await messages.describe("orders")).groups.map(({ group }) => group),
      ["billing"],
    );
  });
});

test("options that cannot be are refused by name", async () => {
  await assert.rejects(embedded(null as never), invalid);
  for (const options of [{ directory: "" }, { directory: "a\0b" }, { directory: "x", reserveBytes: Number.NaN }]) {
    await assert.rejects(embedded(options), invalid);
  }
});

test("a directory that cannot be made is an error of Tenon's", async () => {
  const file = fileURLToPath(import.meta.url);
  for (const directory of [file, join(file, "below"), "/proc/tenon"]) {
    await assert.rejects(embedded({ directory }), (error: TenonError) => error.name === "TenonError");
  }
});

test("a full journal can still be worked off by a group's first consumer", async () => {
  const engine = await memory({ sizeBytesMax: 200_000, segmentBytes: 65_536 });
  try {
    const notes = topic(engine, "notes", { codec: bytes(), partitions: 1, groups: ["readers"] });
    let published = 0;
    const full = async () => {
      for (;;) {
        await notes.publish(new Uint8Array(20_000));
        published += 1;
      }
    };
    await assert.rejects(full(), { code: "overloaded", outcome: "not-applied" });
    const all = Promise.withResolvers<void>();
    let seen = 0;
    const consumer = await notes.consume("readers", () => {
      seen += 1;
      if (seen === published) all.resolve();
    });
    await all.promise;
    await consumer.close();
    assert.equal((await notes.lag("readers")).messages, 0);
  } finally {
    await engine.close();
  }
});
