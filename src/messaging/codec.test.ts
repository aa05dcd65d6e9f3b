import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../contracts/errors.ts";
import { bytes, json, text, validated } from "./codec.ts";
import type { StandardSchemaV1 } from "./schema.ts";

interface Order {
  id: string;
}

const orderSchema: StandardSchemaV1<unknown, Order> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate(value) {
      const { id } = (value ?? {}) as { id?: unknown };
      if (typeof id === "string") return { value: { id: id.trim() } };
      return { issues: [{ message: `secret ${String(id)}`, path: ["order", { key: "id" }] }] };
    },
  },
};

test("JSON values, texts and bytes come back as they were", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const codec = json<unknown>();
      assert.deepEqual(codec.decode(codec.encode(value)), JSON.parse(JSON.stringify(value)));
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (value) => {
      assert.equal(text().decode(text().encode(value)), value);
    }),
  );
  const body = new Uint8Array([0, 255, 1]);
  assert.equal(bytes().decode(bytes().encode(body)), body);
});

test("malformed UTF-8 is refused and never becomes other characters", () => {
  assert.throws(() => text().decode(new Uint8Array([0xff])), TypeError);
  assert.throws(() => json().decode(new Uint8Array([0x22, 0xc3, 0x22])), TypeError);
});

test("a value without a JSON form is refused", () => {
  assert.throws(() => json<unknown>().encode(undefined), /no JSON form/);
  assert.throws(() => json<unknown>().encode(1n), TypeError);
});

test("a schema refuses what does not match, in both directions, naming the place and never the value", () => {
  const codec = validated(orderSchema);
  for (const act of [() => codec.encode({ id: 7 } as unknown as Order), () => codec.decode(Buffer.from('{"id":7}'))]) {
    assert.throws(act, (error: unknown) => {
      assert.ok(error instanceof TenonError);
      assert.equal(error.code, "invalid");
      assert.match(error.message, /at order\.id\.$/);
      assert.doesNotMatch(error.message, /secret|7/);
      return true;
    });
  }
});

test("a schema's transformation happens once, when the value is consumed", () => {
  const codec = validated(orderSchema);
  const body = codec.encode({ id: " a " });
  assert.equal(Buffer.from(body).toString(), '{"id":" a "}');
  assert.deepEqual(codec.decode(body), { id: "a" });
});

test("a schema that validates asynchronously is refused", () => {
  const codec = validated<Order>({
    "~standard": { version: 1, vendor: "test", validate: () => Promise.resolve({ value: { id: "a" } }) },
  });
  assert.throws(() => codec.encode({ id: "a" }), { code: "unsupported" });
});
