import assert from "node:assert/strict";
import { test } from "node:test";
import { compileFilter, type MessageFilter } from "./filter.ts";

function passes(filter: MessageFilter, headers: Record<string, string>, tag?: string): boolean {
  return compileFilter(filter).passes(tag === undefined ? headers : { ...headers, "tenon-tag": tag });
}

test("a tag filter passes what has one of the tags", () => {
  assert.equal(passes({ tags: ["paid", "refunded"] }, {}, "paid"), true);
  assert.equal(passes({ tags: ["paid", "refunded"] }, {}, "open"), false);
  assert.equal(passes({ tags: ["paid"] }, { tag: "paid" }), false);
  assert.equal(passes({ not: { tags: ["paid"] } }, {}), true);
});

test("each header test does what its name says", () => {
  const cases: readonly (readonly [MessageFilter["headers"], Record<string, string>, boolean])[] = [
    [{ region: "eu" }, { region: "eu" }, true],
    [{ region: "eu" }, { region: "EU" }, false],
    [{ region: "eu" }, {}, false],
    [{ region: { equals: "" } }, { region: "" }, true],
    [{ region: { equals: "" } }, {}, false],
    [{ region: { in: ["eu", "us"] } }, { region: "us" }, true],
    [{ region: { in: ["eu", "us"] } }, { region: "asia" }, false],
    [{ region: { in: ["eu", "us"] } }, {}, false],
    [{ region: { prefix: "eu-" } }, { region: "eu-west" }, true],
    [{ region: { prefix: "eu-" } }, { region: "eu" }, false],
    [{ region: { prefix: "" } }, {}, false],
    [{ region: { exists: true } }, { region: "" }, true],
    [{ region: { exists: true } }, {}, false],
    [{ region: { exists: false } }, {}, true],
    [{ region: { exists: false } }, { region: "eu" }, false],
    [{ region: { not: "eu" } }, { region: "us" }, true],
    [{ region: { not: "eu" } }, {}, true],
    [{ region: { not: { prefix: "eu" } } }, { region: "eu-west" }, false],
    [{ region: "eu", shop: { exists: true } }, { region: "eu" }, false],
    [{ region: "eu", shop: { exists: true } }, { region: "eu", shop: "1" }, true],
  ];
  for (const [headers, given, expected] of cases) {
    assert.equal(passes({ headers }, given), expected, `${JSON.stringify(headers)} of ${JSON.stringify(given)}`);
  }
});

test("everything that is given must hold; and, or and not combine", () => {
  const filter: MessageFilter = {
    tags: ["paid"],
    headers: { region: "eu" },
    or: [{ headers: { shop: "1" } }, { headers: { shop: "2" } }],
    not: { headers: { test: { exists: true } } },
  };
  assert.equal(passes(filter, { region: "eu", shop: "2" }, "paid"), true);
  assert.equal(passes(filter, { region: "eu", shop: "2" }, "open"), false);
  assert.equal(passes(filter, { region: "us", shop: "2" }, "paid"), false);
  assert.equal(passes(filter, { region: "eu", shop: "3" }, "paid"), false);
  assert.equal(passes(filter, { region: "eu", shop: "2", test: "" }, "paid"), false);
  assert.equal(passes({ and: [{ headers: { a: "1" } }, { headers: { b: "1" } }] }, { a: "1", b: "1" }), true);
  assert.equal(passes({ and: [{ headers: { a: "1" } }, { headers: { b: "1" } }] }, { a: "1" }), false);
});

test("the fingerprint is the same for the same filter in another order, and differs for another filter", () => {
  const fingerprint = (filter: MessageFilter): string => compileFilter(filter).fingerprint;
  const same: readonly MessageFilter[] = [
    { tags: ["a", "b"], headers: { x: "1", y: { in: ["2", "3"] } } },
    { headers: { y: { in: ["3", "2", "3"] }, x: { equals: "1" } }, tags: ["b", "a"] },
    { and: [{ headers: { x: { in: ["1"] }, y: { in: ["2", "3"] } } }, { tags: ["a", "b"] }] },
  ];
  assert.equal(fingerprint(same[0]!), fingerprint(same[1]!));
  const others: readonly MessageFilter[] = [
    same[0]!,
    { tags: ["a"] },
    { tags: ["a", "b"] },
    { headers: { a: "1" } },
    { headers: { a: "1" }, not: { tags: ["a"] } },
    { or: [{ headers: { a: "1" } }, { tags: ["a"] }] },
    { and: [{ headers: { a: "1" } }, { tags: ["a"] }] },
    { headers: { a: { prefix: "1" } } },
    { headers: { a: { exists: true } } },
    { headers: { a: { exists: false } } },
    { headers: { 'a","b': "1" } },
    { headers: { a: 'b","1' } },
    { tags: ["ä"] },
    { tags: ["ö"] },
    { tags: Array.from({ length: 500 }, (_, index) => `tag-${index}`) },
    { tags: Array.from({ length: 501 }, (_, index) => `tag-${index}`) },
    { tags: Array.from({ length: 500 }, (_, index) => (index === 499 ? "tag-49x" : `tag-${index}`)) },
    { tags: ["🗝".repeat(500)] },
    { tags: ["🗝".repeat(501)] },
  ];
  assert.equal(new Set(others.map(fingerprint)).size, others.length);
  for (const filter of others) assert.ok(Buffer.byteLength(fingerprint(filter)) <= 1_024);
});

test("what is no filter is refused, and the error says where", () => {
  const deep = Array.from({ length: 20 }).reduce<MessageFilter>((inner) => ({ not: inner }), { tags: ["a"] });
  const wrong: readonly (readonly [unknown, RegExp])[] = [
    [{}, /gives none of/],
    ["paid", /filter must be an object/],
    [null, /filter must be an object/],
    [[{ tags: ["a"] }], /filter must be an object/],
    [{ tag: ["a"] }, /filter\.tag is not known/],
    [{ tags: [] }, /filter\.tags/],
    [{ tags: "paid" }, /filter\.tags/],
    [{ tags: [1] }, /filter\.tags/],
    [{ headers: {} }, /names no header/],
    [{ headers: { a: 1 } }, /filter\.headers\.a/],
    [{ headers: { a: {} } }, /filter\.headers\.a/],
    [{ headers: { a: { equals: "1", prefix: "1" } } }, /must be one test/],
    [{ headers: { a: { matches: "1" } } }, /one of equals/],
    [{ headers: { a: { exists: "yes" } } }, /one of equals/],
    [{ headers: { a: { in: [] } } }, /filter\.headers\.a\.in/],
    [{ headers: { "tenon-tag": "a" } }, /Tenon's own/],
    [{ and: [] }, /filter\.and/],
    [{ or: [{ tags: ["a"] }, {}] }, /filter\.or\[1\]/],
    [{ not: [] }, /filter\.not/],
    [deep, /nested deeper/],
  ];
  for (const [filter, message] of wrong) {
    assert.throws(() => compileFilter(filter as MessageFilter), { code: "invalid", message });
  }
});
