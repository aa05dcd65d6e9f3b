import assert from "node:assert/strict";
import { test } from "node:test";
import { type KnownName, KnownNames } from "./known-names.ts";
import { encodeRecord } from "./name-record.ts";

function names() {
  const time = { now: 0 };
  return { time, names: new KnownNames({ now: () => 0, monotonic: () => time.now }) };
}

const known = (change: number, state = Buffer.alloc(0)): KnownName => {
  return { bucketVersion: 1, version: change, change, changedAt: 1_000, state };
};

test("a name is known for a moment after it was changed", () => {
  const { time, names: own } = names();
  own.keep("name", known(1));
  time.now = 1_000;
  assert.equal(own.get("name")?.change, 1);
  own.keep("name", known(2));
  time.now = 2_000;
  assert.equal(own.get("name")?.change, 2);
  time.now = 2_001;
  assert.equal(own.get("name"), undefined);
});

test("those that were kept first are forgotten when there are too many, or they are too large", () => {
  const { names: own } = names();
  for (let index = 0; index < 1_001; index++) own.keep(`${index}`, known(1));
  assert.equal(own.get("0"), undefined);
  assert.ok(own.get("1"));
  own.keep("1", known(2));
  for (let index = 0; index < 8; index++) own.keep(`large ${index}`, known(1, Buffer.alloc(1024 * 1024)));
  assert.ok(own.get("1"));
  own.keep("last", known(1, Buffer.alloc(1)));
  assert.equal(own.get("1"), undefined, "all that was kept before the large ones had to go");
  assert.equal(own.get("large 0"), undefined);
  assert.ok(own.get("large 1"));
});

test("what is read in passing counts when it is newer, and only for a name that is known", () => {
  const { names: own } = names();
  const node = (change: number) => ({
    data: encodeRecord(Buffer.alloc(0), []),
    stat: { change, changedAt: 2_000, version: change },
  });
  own.met("name", node(5));
  assert.equal(own.get("name"), undefined);
  own.keep("name", known(4));
  own.met("name", node(3));
  assert.equal(own.get("name")?.change, 4);
  own.met("name", node(5));
  const { change, version, changedAt, bucketVersion } = own.get("name")!;
  assert.deepEqual([change, version, changedAt, bucketVersion], [5, 5, 2_000, 1]);
});
