import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KeySubjects } from "./key-subjects.ts";

const subjects = new KeySubjects("tenon.k");
const keys = fc.string({ unit: "grapheme", minLength: 1, maxLength: 40 });

function matches(filter: string, subject: string): boolean {
  return subject.startsWith(filter.slice(0, -1));
}

test("a key comes back from its subject", () => {
  fc.assert(fc.property(keys, (key) => assert.equal(subjects.keyOf(subjects.subjectOf(key)), key)));
});

test("a subject has no empty token and no sign of the server's", () => {
  fc.assert(fc.property(keys, (key) => assert.match(subjects.subjectOf(key), /^tenon\.k(\.[A-Za-z0-9_-]+)+$/)));
  assert.match(subjects.subjectOf("a.b *> \u0000"), /^tenon\.k(\.[A-Za-z0-9_-]+)+$/);
});

test("different keys have different subjects", () => {
  fc.assert(
    fc.property(keys, keys, (one, other) => {
      assert.equal(subjects.subjectOf(one) === subjects.subjectOf(other), one === other);
    }),
  );
});

test("the filter of a prefix matches every key that has it, also one that is the prefix itself", () => {
  fc.assert(
    fc.property(keys, fc.string({ unit: "grapheme", maxLength: 20 }), (prefix, rest) => {
      assert.ok(matches(subjects.filterOf(prefix), subjects.subjectOf(prefix + rest)));
    }),
  );
  assert.ok(!matches(subjects.filterOf("session:a"), subjects.subjectOf("order:a")));
  assert.equal(subjects.filterOf(""), "tenon.k.>");
});
