import assert from "node:assert/strict";
import { test } from "node:test";
import type { CommitResult, KeyValueChange, KeyValueEntry } from "../../contracts/key-value.ts";
import { Violation } from "../system.ts";
import { type ClockReadings, ClockRecord, rightClock } from "./clock-record.ts";
import type { KeyValueInput, KeyValueOperation, KeyValueOutput } from "./key-value-history.ts";
import { checkKeyValues, checkTimesToLive, checkVersions } from "./key-value-rules.ts";

const bytes = (text: string) => Buffer.from(text);
const entry = (key: string, value: string, version: number, expiresAt?: number): KeyValueEntry => ({
  key,
  value: bytes(value),
  version: BigInt(version),
  expiresAt,
});

/** Who asks is told from the place in the history; instants are places, too. */
function operation(
  calledAt: number,
  returnedAt: number | undefined,
  input: KeyValueInput,
  output?: KeyValueOutput,
): KeyValueOperation {
  return { client: "shop", input, output, calledAt, returnedAt, called: calledAt, returned: returnedAt };
}

function got(calledAt: number, returnedAt: number, entries: readonly (KeyValueEntry | undefined)[], keys = ["a", "b"]) {
  const asked = keys.slice(0, entries.length);
  return operation(calledAt, returnedAt, { type: "get", keys: asked }, { type: "entries", entries });
}

function scanned(calledAt: number, returnedAt: number, entries: readonly KeyValueEntry[], limit = 1_000) {
  const input = { type: "scan", prefix: "", after: undefined, limit } as const;
  return operation(calledAt, returnedAt, input, { type: "entries", entries });
}

function asked(
  calledAt: number,
  returnedAt: number | undefined,
  changes: readonly KeyValueChange[],
  result?: CommitResult,
) {
  const output = result === undefined ? undefined : ({ type: "result", result } as const);
  return operation(calledAt, returnedAt, { type: "commit", changes }, output);
}

function committed(
  calledAt: number,
  returnedAt: number,
  version: number,
  changes: readonly KeyValueChange[],
  counters: readonly (number | undefined)[] = changes.map(() => undefined),
) {
  return asked(calledAt, returnedAt, changes, { committed: true, version: BigInt(version), counters });
}

function failed(
  calledAt: number,
  returnedAt: number,
  changes: readonly KeyValueChange[],
  current: KeyValueEntry | undefined,
  at = 0,
  reason: "condition" | "bound" = "condition",
) {
  return asked(calledAt, returnedAt, changes, { committed: false, failed: at, reason, current });
}

const put = (key: string, value: string, ttlMs?: number): KeyValueChange => ({
  type: "put",
  key,
  value: bytes(value),
  ttlMs,
});
const putIfAbsent = (key: string, value: string): KeyValueChange => ({
  type: "put",
  key,
  value: bytes(value),
  condition: { ifAbsent: true },
});
const add = (key: string, by: number, min?: number): KeyValueChange => ({ type: "add", key, by, min });

const rules = (clock: ClockReadings = rightClock) => ({ clock, expiryLatenessMs: 100 });
const right = (...operations: readonly KeyValueOperation[]) => checkKeyValues(operations, rules());
const wrong = (message: RegExp, ...operations: readonly KeyValueOperation[]) =>
  assert.throws(
    () => checkKeyValues(operations, rules()),
    (error) => error instanceof Violation && message.test(error.message),
  );

test("several keys are read as of one instant", () => {
  const first = committed(0, 1, 1, [put("a", "1"), put("b", "1")]);
  const second = committed(10, 20, 2, [put("a", "2"), put("b", "2")]);
  right(
    first,
    second,
    got(11, 19, [entry("a", "1", 1), entry("b", "1", 1)]),
    got(12, 18, [entry("a", "2", 2), entry("b", "2", 2)]),
  );
  wrong(/get of "a", "b" .* has no place/, first, second, got(11, 19, [entry("a", "1", 1), entry("b", "2", 2)]));
});

test("a commit is all or nothing, also when nobody knows how it went", () => {
  const unknown = asked(0, undefined, [put("a", "1"), put("b", "1")]);
  right(unknown, got(1, 2, [undefined, undefined]), got(5, 6, [entry("a", "1", 7), entry("b", "1", 7)]));
  wrong(/has no place/, unknown, got(1, 2, [entry("a", "1", 7), undefined]));
  wrong(/has no place/, unknown, got(1, 2, [entry("a", "1", 7), entry("b", "1", 8)]));
});

test("what an unknown commit wrote has one version, which fits between those of its neighbours", () => {
  const unknown = asked(5, undefined, [put("a", "x")]);
  const before = committed(0, 1, 10, [put("b", "1")]);
  const after = committed(20, 21, 20, [put("b", "2")]);
  const seen = (version: number) => [
    got(10, 11, [entry("a", "x", version)]),
    scanned(30, 31, [entry("a", "x", version), entry("b", "2", 20)]),
  ];
  right(unknown, before, after, ...seen(15));
  wrong(/has no place/, unknown, before, after, ...seen(25));
  wrong(/has no place/, unknown, before, after, ...seen(5));
  wrong(/has no place/, unknown, got(10, 11, [entry("a", "x", 3)]), got(12, 13, [entry("a", "x", 4)]));
});

test("a condition fails only when it does, at the first change that does, and shows what it met", () => {
  const first = committed(0, 1, 1, [put("a", "1")]);
  right(first, failed(2, 3, [putIfAbsent("a", "2")], entry("a", "1", 1)));
  wrong(/has no place/, failed(2, 3, [putIfAbsent("a", "2")], entry("a", "1", 1)));
  wrong(/has no place/, first, committed(2, 3, 2, [putIfAbsent("a", "2")]));
  wrong(/has no place/, first, failed(2, 3, [putIfAbsent("a", "2")], undefined));
  right(
    first,
    failed(2, 3, [put("b", "1"), putIfAbsent("a", "2")], entry("a", "1", 1), 1),
    got(4, 5, [entry("a", "1", 1), undefined]),
  );
  wrong(/has no place/, first, failed(2, 3, [putIfAbsent("a", "1"), putIfAbsent("b", "2")], undefined, 1));
});

test("a version that was compared was the present one", () => {
  const replace = (version: bigint): KeyValueChange => ({
    type: "put",
    key: "a",
    value: bytes("2"),
    condition: { ifVersion: version },
  });
  const first = committed(0, 1, 1, [put("a", "1")]);
  right(first, committed(2, 3, 2, [replace(1n)]), failed(4, 5, [replace(1n)], entry("a", "2", 2)));
  wrong(/has no place/, first, committed(2, 3, 2, [replace(1n)]), committed(4, 5, 3, [replace(1n)]));
});

test("counters count every addition once, within their bounds", () => {
  const first = committed(0, 1, 1, [add("a", 5)], [5]);
  right(
    first,
    committed(2, 3, 2, [add("a", -3, 0)], [2]),
    failed(4, 5, [add("a", -3, 0)], entry("a", "2", 2), 0, "bound"),
  );
  wrong(/has no place/, first, committed(2, 3, 2, [add("a", -3, 0)], [3]));
  wrong(/has no place/, first, failed(2, 3, [add("a", -3, 0)], entry("a", "5", 1), 0, "bound"));
  wrong(/has no place/, first, committed(2, 8, 2, [add("a", 1)], [6]), committed(3, 7, 3, [add("a", 1)], [6]));
});

test("an unknown addition may count, once", () => {
  const unknown = asked(0, undefined, [add("a", 1)]);
  right(unknown, committed(2, 3, 2, [add("a", 1)], [2]));
  right(unknown, committed(2, 3, 2, [add("a", 1)], [1]), committed(4, 5, 4, [add("a", 1)], [3]));
  wrong(/has no place/, unknown, committed(2, 3, 2, [add("a", 1)], [3]));
});

test("a scan shows what is there, in full, up to its limit", () => {
  const first = committed(0, 1, 1, [put("a", "1"), put("b", "1")]);
  right(first, scanned(2, 3, [entry("a", "1", 1), entry("b", "1", 1)]), scanned(4, 5, [entry("a", "1", 1)], 1));
  wrong(/scan of ""/, first, scanned(2, 3, [entry("a", "1", 1)]));
  wrong(/scan of ""/, first, scanned(2, 3, [entry("b", "1", 1)], 1));
});

test("a deleted key comes back under a greater version only", () => {
  const deleted = [committed(0, 1, 5, [put("a", "1")]), committed(2, 3, 6, [{ type: "delete", key: "a" }])] as const;
  right(...deleted, got(4, 5, [undefined]), committed(6, 7, 7, [put("a", "2")]));
  wrong(/which had returned before, has 5/, ...deleted, committed(6, 7, 3, [put("a", "2")]));
  wrong(/has no place/, ...deleted, got(4, 5, [entry("a", "1", 5)]));
});

test("versions grow over all keys, and none is given twice", () => {
  checkVersions([committed(0, 5, 2, [put("a", "1")]), committed(1, 6, 1, [put("b", "1")])]);
  assert.throws(
    () => checkVersions([committed(0, 1, 2, [put("a", "1")]), committed(2, 3, 1, [put("b", "1")])]),
    /the commit by shop between 2 ms and 3 ms has version 1, although the commit by shop between 0 ms and 1 ms, which had returned before, has 2/,
  );
  assert.throws(
    () => checkVersions([committed(0, 5, 2, [put("a", "1")]), committed(1, 6, 2, [put("b", "1")])]),
    /given twice/,
  );
});

test("a key with a time to live is there until its end, and gone when it may be late no more", () => {
  const written = committed(0, 10, 1, [put("a", "1", 1_000)]);
  right(
    written,
    got(500, 510, [entry("a", "1", 1, 1_005)]),
    got(1_050, 1_060, [entry("a", "1", 1, 1_005)]),
    got(1_070, 1_080, [undefined]),
  );
  wrong(
    /"a" was not there for the get .* which nobody replaced and which lives until 1000 ms/,
    written,
    got(500, 510, [undefined]),
  );
  wrong(/although it had ended at 1005 by the engine's clock/, written, got(1_200, 1_210, [entry("a", "1", 1, 1_005)]));
  wrong(
    /ends at 1500 as the get .* although by the commit .* it ends between/,
    written,
    got(500, 510, [entry("a", "1", 1, 1_500)]),
  );
});

test("what was written without a time to live is not lost", () => {
  wrong(
    /which nobody replaced and which has no time to live/,
    committed(0, 1, 1, [put("a", "1")]),
    got(2, 3, [undefined]),
  );
  right(
    committed(0, 1, 1, [put("a", "1")]),
    asked(0, undefined, [{ type: "delete", key: "a" }]),
    got(2, 3, [undefined]),
  );
});

test("an expired key is absent to conditions, and a new one has its own end", () => {
  const written = committed(0, 10, 1, [put("a", "1", 1_000)]);
  right(written, committed(1_050, 1_060, 2, [putIfAbsent("a", "2")]), got(1_100, 1_110, [entry("a", "2", 2)]));
  right(written, failed(1_050, 1_060, [putIfAbsent("a", "2")], entry("a", "1", 1, 1_005)));
  wrong(/has no place/, written, committed(500, 510, 2, [putIfAbsent("a", "2")]));
});

test("ends go by the engine's clock: one that is set ahead ends keys, one that is set back leaves it open", () => {
  const written = committed(0, 10, 1, [put("a", "1", 1_000)]);
  const clockOf = (wallAt: (atMs: number) => number) => {
    const clock = new ClockRecord();
    for (let at = 0; at < 5_000; at++) clock.read(at, wallAt(at));
    return clock;
  };
  const ahead = rules(clockOf((at) => (at < 100 ? at : at + 10_000)));
  checkKeyValues([written, got(300, 310, [undefined])], ahead);
  assert.throws(() => checkTimesToLive([written, got(300, 310, [entry("a", "1", 1, 1_005)])], ahead), /it had ended/);
  const back = rules(clockOf((at) => (at < 2_000 ? at : at - 1_900)));
  checkKeyValues([written, got(2_500, 2_510, [entry("a", "1", 1, 1_005)])], back);
  checkKeyValues([written, got(2_500, 2_510, [undefined])], back);
});
