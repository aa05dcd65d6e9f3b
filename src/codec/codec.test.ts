import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { TenonError } from "../contracts/errors.ts";
import { bytes, json, type StandardSchemaV1, schemaCodec, text } from "./index.ts";

const latin1 = (value: string): Uint8Array => Uint8Array.from(value, (letter) => letter.charCodeAt(0));

function refusal(action: () => unknown): TenonError {
  try {
    action();
  } catch (error) {
    assert.ok(error instanceof TenonError);
    return error;
  }
  assert.fail("Nothing was thrown.");
}

test("json gives back what it was given", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const codec = json<unknown>();
      const copy = new Uint8Array(codec.encode(value));
      assert.deepEqual(codec.decode(copy), JSON.parse(JSON.stringify(value)));
    }),
  );
});

test("json refuses what has no JSON form", () => {
  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  for (const value of [undefined, () => 1, Symbol("x"), 1n, cycle]) {
    assert.equal(refusal(() => json<unknown>().encode(value)).code, "invalid");
  }
});

test("json refuses broken bytes without quoting them", () => {
  for (const body of ['{"secret', "", "secret", '"sec\xff"']) {
    const error = refusal(() => json().decode(latin1(body)));
    assert.equal(error.code, "invalid");
    assert.equal(error.message.includes("sec"), false);
    assert.equal(error.cause, undefined);
  }
});

test("json reads a view into a larger buffer", () => {
  const whole = latin1('xx{"a":1}yy');
  assert.deepEqual(json().decode(whole.subarray(2, 9)), { a: 1 });
});

test("text gives back every well-formed string and refuses the others", () => {
  const codec = text();
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (value) => {
      assert.equal(codec.decode(new Uint8Array(codec.encode(value))), value);
    }),
  );
  assert.equal(refusal(() => codec.encode("\ud800")).code, "invalid");
  assert.equal(refusal(() => codec.encode(5 as unknown as string)).code, "invalid");
  assert.equal(refusal(() => codec.decode(latin1("\xff"))).code, "invalid");
});

test("bytes passes the very same bytes", () => {
  const value = latin1("abc");
  assert.equal(bytes().encode(value), value);
  assert.equal(bytes().decode(value), value);
  assert.equal(refusal(() => bytes().encode("abc" as unknown as Uint8Array)).code, "invalid");
});

interface Order {
  readonly id: string;
  readonly count: number;
}

const order: StandardSchemaV1<unknown, Order> = {
  "~standard": {
    version: 1,
    vendor: "sample",
    validate(value) {
      const { id, count = 1 } = value as Partial<Order>;
      if (typeof id !== "string")
        return { issues: [{ message: `not ${id}`, path: ["order", { key: "id" }] }, { message: "no" }] };
      return { value: { id, count } };
    },
  },
};

test("a schema is applied in both directions, and its defaults on decoding", () => {
  const codec = schemaCodec(order);
  const given = { id: "a" } as Order;
  const body = codec.encode(given);
  assert.deepEqual(json().decode(body), { id: "a" });
  assert.deepEqual(codec.decode(body), { id: "a", count: 1 });
});

test("a value that does not fit its schema is refused by paths, without the value", () => {
  const codec = schemaCodec(order);
  const wrong = { id: 4711 } as unknown as Order;
  for (const error of [refusal(() => codec.encode(wrong)), refusal(() => codec.decode(json().encode(wrong)))]) {
    assert.equal(error.code, "invalid");
    assert.match(error.message, /sample schema at: order\.id, \(root\)\./);
    assert.equal(error.message.includes("4711"), false);
    assert.equal(error.fields.issueCount, 2);
  }
});

test("a schema that validates asynchronously is unsupported", () => {
  const schema: StandardSchemaV1<unknown, Order> = {
    "~standard": { version: 1, vendor: "slow", validate: () => Promise.reject(new Error("too late")) },
  };
  assert.equal(refusal(() => schemaCodec(schema).encode({ id: "a", count: 1 })).code, "unsupported");
});
