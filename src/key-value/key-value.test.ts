import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { json, type StandardSchemaV1, text } from "../codec/index.ts";
import type { KeyValueCapabilities, KeyValueEngine } from "../contracts/key-value.ts";
import { memory } from "../engines/embedded/index.ts";
import { type KeyValue, keyValue, type WatchEvent } from "./index.ts";

interface Product {
  readonly name: string;
  readonly price: number;
}

const cup: Product = { name: "cup", price: 5 };
const pot: Product = { name: "pot", price: 20 };

async function engineFor(t: TestContext): Promise<{ readonly keyValue: KeyValueEngine }> {
  const engine = await memory();
  t.after(() => engine.close());
  return engine;
}

async function productsFor(t: TestContext): Promise<KeyValue<Product>> {
  return keyValue(await engineFor(t), { codec: json<Product>(), prefix: "product/" });
}

async function gather<T>(items: AsyncIterable<T>): Promise<T[]> {
  const gathered: T[] = [];
  for await (const item of items) gathered.push(item);
  return gathered;
}

test("what was put is read back, with its version, until it is deleted", async (t) => {
  const products = await productsFor(t);
  assert.equal(await products.get("1"), undefined);
  const written = await products.put("1", cup);
  assert.ok(written.committed);
  assert.deepEqual(await products.get("1"), { key: "1", value: cup, version: written.version, expiresAt: undefined });
  assert.deepEqual(
    (await products.getMany(["2", "1"])).map((entry) => entry?.value),
    [undefined, cup],
  );
  await products.delete("1");
  assert.equal(await products.get("1"), undefined);
});

test("a prefix is put before keys and taken off again, so that two key spaces do not meet", async (t) => {
  const engine = await engineFor(t);
  const products = keyValue(engine, { codec: json<Product>(), prefix: "product/" });
  const names = keyValue(engine, { codec: text(), prefix: "name/" });
  const all = keyValue(engine, { codec: text() });
  await products.put("1", cup);
  await names.put("1", "one");
  assert.deepEqual(
    (await gather(all.scan())).map((entry) => entry.key),
    ["name/1", "product/1"],
  );
  assert.deepEqual(
    (await gather(names.scan())).map((entry) => [entry.key, entry.value]),
    [["1", "one"]],
  );
});

test("a condition that does not hold is a result with what stands there", async (t) => {
  const products = await productsFor(t);
  const first = await products.put("1", cup, { ifAbsent: true });
  assert.ok(first.committed);
  const second = await products.put("1", pot, { ifAbsent: true });
  assert.deepEqual(second, {
    committed: false,
    current: { key: "1", value: cup, version: first.version, expiresAt: undefined },
  });
  const third = await products.put("1", pot, { ifVersion: first.version });
  assert.ok(third.committed && third.version > first.version);
  assert.equal((await products.delete("1", { ifVersion: first.version })).committed, false);
  assert.deepEqual(await products.delete("2", { ifVersion: 1n }), { committed: false, current: undefined });
});

test("several changes are committed together or not at all", async (t) => {
  const products = await productsFor(t);
  await products.commit([{ type: "add", key: "stock", by: 1 }]);
  const sell = (request: string) =>
    products.commit([
      { type: "put", key: `request/${request}`, value: cup, ifAbsent: true },
      { type: "add", key: "stock", by: -1, min: 0 },
    ]);
  const sold = await sell("a");
  assert.ok(sold.committed);
  assert.deepEqual(sold.counters, [undefined, 0]);
  const again = await sell("a");
  assert.ok(!again.committed);
  assert.deepEqual([again.failed, again.reason, again.current?.value], [0, "condition", cup]);
  const soldOut = await sell("b");
  assert.deepEqual(soldOut, { committed: false, failed: 1, reason: "bound", current: undefined });
  assert.equal(await products.get("request/b"), undefined);
  const checked = await products.commit([
    { type: "check", key: "request/a", ifAbsent: true },
    { type: "delete", key: "stock" },
  ]);
  assert.equal(checked.committed, false);
});

test("a counter adds within its bounds and tells its value, whoever adds at the same time", async (t) => {
  const products = await productsFor(t);
  const stock = products.counter("stock");
  assert.equal(await stock.get(), 0);
  assert.deepEqual(await stock.add(50), { added: true, value: 50 });
  const taken = await Promise.all(Array.from({ length: 100 }, () => stock.add(-1, { min: 0 })));
  assert.equal(taken.filter(({ added }) => added).length, 50);
  assert.deepEqual(await stock.add(-1, { min: 0 }), { added: false, value: 0 });
  assert.deepEqual(await products.counter("new").add(-1, { min: 0 }), { added: false, value: 0 });
  await stock.add(-3);
  assert.equal(await stock.get(), -3);
});

test("a counter refuses a value, and a sum that is no safe integer", async (t) => {
  const products = await productsFor(t);
  await products.put("1", cup);
  await assert.rejects(products.counter("1").get(), { code: "invalid", message: /not a counter/ });
  await assert.rejects(products.counter("1").add(1), { code: "invalid" });
  for (const by of [0.5, Number.NaN, 2 ** 53]) await assert.rejects(products.counter("2").add(by), { code: "invalid" });
});

test("a scan gives every key in order, page by page, within its bounds", async (t) => {
  const products = await productsFor(t);
  const keys = Array.from({ length: 25 }, (_, index) => `k${String(index).padStart(2, "0")}`);
  for (const key of keys.toReversed()) await products.put(key, cup);
  await products.put("other", pot);
  const scanned = async (...parameters: Parameters<typeof products.scan>) =>
    (await gather(products.scan(...parameters))).map((entry) => entry.key);
  for (const pageSize of [1, 5, 7, 25, 1_000]) assert.deepEqual(await scanned("k", { pageSize }), keys);
  assert.deepEqual(await scanned("k", { limit: 12, pageSize: 5 }), keys.slice(0, 12));
  assert.deepEqual(await scanned("k", { after: "k19" }), keys.slice(20));
  assert.deepEqual(await scanned(), [...keys, "other"]);
  assert.deepEqual(await scanned("", { limit: 0 }), []);
  await assert.rejects(scanned("", { pageSize: 0 }), { code: "invalid" });
  await assert.rejects(scanned("", { signal: AbortSignal.abort(new Error("enough")) }), /enough/);
});

test("a watch gives what is there, then that it has done so, then every change, until it is aborted", async (t) => {
  const products = await productsFor(t);
  await products.put("1", cup);
  const leaving = new AbortController();
  const seen: string[] = [];
  const describe = (event: WatchEvent<Product>): string => {
    if (event.type === "put") return `put ${event.entry.key} ${event.entry.value.name}`;
    return event.type === "delete" ? `delete ${event.key}` : "synced";
  };
  for await (const event of products.watch("", { signal: leaving.signal })) {
    seen.push(describe(event));
    if (event.type === "synced") await products.put("2", pot);
    if (seen.at(-1) === "put 2 pot") await products.delete("1");
    if (event.type === "delete") leaving.abort();
  }
  assert.deepEqual(seen, ["put 1 cup", "synced", "put 2 pot", "delete 1"]);
});

test("a key with a time to live has an end, and one without has none", async (t) => {
  const products = await productsFor(t);
  const before = Date.now();
  await products.put("1", cup, { ttlMs: 60_000 });
  const entry = await products.get("1");
  assert.ok(entry?.expiresAt !== undefined && entry.expiresAt >= before + 60_000);
  for (const ttlMs of [0, -1, 0.5, Number.NaN])
    await assert.rejects(products.put("1", cup, { ttlMs }), { code: "invalid" });
});

test("a schema is held on the way in and on the way out", async (t) => {
  const schema: StandardSchemaV1<unknown, Product> = {
    "~standard": {
      version: 1,
      vendor: "sample",
      validate: (value) =>
        (value as Product).price > 0 ? { value: value as Product } : { issues: [{ message: "", path: ["price"] }] },
    },
  };
  const engine = await engineFor(t);
  const products = keyValue(engine, { schema });
  await assert.rejects(products.put("1", { ...cup, price: -1 }), { code: "invalid", message: /price/ });
  await keyValue(engine, { codec: json<Product>() }).put("1", { ...cup, price: 0 });
  await assert.rejects(products.get("1"), { code: "invalid", message: /"1" \(version/ });
});

test("a value that the codec cannot read is named by its key, in every way of reading", async (t) => {
  const engine = await engineFor(t);
  await keyValue(engine, { codec: text(), prefix: "p/" }).put("1", "{secret");
  const products = keyValue(engine, { codec: json<Product>(), prefix: "p/" });
  const named = { code: "invalid", message: /^The value at "p\/1" .*could not be decoded/ };
  await assert.rejects(products.get("1"), named);
  await assert.rejects(products.getMany(["1"]), named);
  await assert.rejects(gather(products.scan()), named);
  await assert.rejects(gather(products.watch()), named);
  await assert.rejects(products.put("1", cup, { ifAbsent: true }), named);
});

test("keys, values and commits beyond the engine's limits are invalid, with the figures", async (t) => {
  const engine = await engineFor(t);
  const { keyBytesMax, valueBytesMax, changesMax } = engine.keyValue.capabilities;
  const texts = keyValue(engine, { codec: text() });
  await assert.rejects(texts.get(""), { code: "invalid" });
  await assert.rejects(texts.get("\ud800"), { code: "invalid" });
  await assert.rejects(texts.put("é".repeat(keyBytesMax / 2 + 1), ""), {
    code: "invalid",
    fields: { sizeBytes: 2 * Math.floor(keyBytesMax / 2 + 1), keyBytesMax },
  });
  await assert.rejects(texts.put("a", "a".repeat(valueBytesMax + 1)), {
    code: "invalid",
    fields: { key: "a", sizeBytes: valueBytesMax + 1, valueBytesMax },
  });
  const changes = Array.from({ length: changesMax + 1 }, (_, index) => ({ type: "delete" as const, key: `k${index}` }));
  await assert.rejects(texts.commit(changes), { code: "invalid", fields: { count: changesMax + 1, changesMax } });
  await assert.rejects(texts.put("a", "", { ifAbsent: true, ifVersion: 1n }), { code: "invalid" });
  await assert.rejects(texts.commit([{ type: "check", key: "a" }]), { code: "invalid" });
});

test("what an engine has declared that it lacks is unsupported", async (t) => {
  const { keyValue: full } = await engineFor(t);
  const capabilities: KeyValueCapabilities = { ...full.capabilities, multipleKeys: false, watch: false };
  const lacking = new Proxy(full, {
    get: (target, name) => (name === "capabilities" ? capabilities : Reflect.get(target, name)),
  });
  const texts = keyValue({ keyValue: lacking }, { codec: text() });
  const remove = (key: string) => ({ type: "delete" as const, key });
  await assert.rejects(texts.commit([remove("a"), remove("b")]), { code: "unsupported" });
  await assert.rejects(gather(texts.watch()), { code: "unsupported" });
});

test("a key space needs exactly one of codec and schema", async (t) => {
  const engine = await engineFor(t);
  assert.throws(() => keyValue(engine, {} as unknown as { codec: ReturnType<typeof text> }), { code: "invalid" });
});
