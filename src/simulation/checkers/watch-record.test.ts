import assert from "node:assert/strict";
import { test } from "node:test";
import type { KeyValueEntry, WatchEvent } from "../../contracts/key-value.ts";
import { Violation } from "../system.ts";
import type { KeyValueOperation } from "./key-value-history.ts";
import { checkWatchAtRest, checkWatchedValues, WatchRecord } from "./watch-record.ts";

const entry = (key: string, value: string, version: number): KeyValueEntry => ({
  key,
  value: Buffer.from(value),
  version: BigInt(version),
  expiresAt: undefined,
});
const put = (key: string, value: string, version: number): WatchEvent => ({
  type: "put",
  entry: entry(key, value, version),
});
const gone = (key: string, version: number): WatchEvent => ({ type: "delete", key, version: BigInt(version) });
const synced: WatchEvent = { type: "synced" };

function told(...events: readonly WatchEvent[]): WatchRecord {
  const record = new WatchRecord("shop", "a", () => 7);
  for (const event of events) record.tell(event);
  return record;
}

const wrong = (message: RegExp, run: () => void) =>
  assert.throws(run, (error) => error instanceof Violation && message.test(error.message));

test("a watch tells the state, then that it is synced, then changes", () => {
  const record = told(
    put("a1", "x", 5),
    put("a2", "x", 3),
    synced,
    put("a2", "y", 8),
    put("a3", "y", 8),
    gone("a1", 9),
  );
  checkWatchAtRest(record, [entry("a2", "y", 8), entry("a3", "y", 8)]);
  wrong(/told twice that it is synced, at 7 ms/, () => told(synced, synced));
  wrong(/the delete of "a1" in version 5 before it was synced/, () => told(gone("a1", 5)));
  wrong(/the put of "b" in version 4, which is not under its prefix/, () => told(put("b", "x", 4)));
});

test("changes come in the order of their versions, each newer than what was told of its key", () => {
  wrong(/"a1" in version 5 after version 5 of the same key/, () => told(put("a1", "x", 5), synced, put("a1", "x", 5)));
  wrong(/"a1" in version 6 after the change of version 7/, () => told(synced, put("a2", "x", 7), put("a1", "x", 6)));
  told(put("a2", "x", 7), synced, put("a1", "x", 6));
});

test("at rest a watcher knows what is stored, neither less nor more", () => {
  const record = told(put("a1", "x", 5), synced);
  checkWatchAtRest(record, [entry("a1", "x", 5)]);
  wrong(/knows "a1" = "x" in version 5 where "a1" = "y" in version 6 is stored/, () =>
    checkWatchAtRest(record, [entry("a1", "y", 6)]),
  );
  wrong(/still knows "a1" = "x" in version 5, which is not stored any more/, () => checkWatchAtRest(record, []));
  wrong(/knows nothing where "a2"/, () => checkWatchAtRest(record, [entry("a1", "x", 5), entry("a2", "x", 6)]));
  wrong(/never told that it is synced/, () => checkWatchAtRest(told(), []));
});

test("what is told was written by a commit that had been called", () => {
  const commit = (calledAt: number, value: string, version: number | undefined): KeyValueOperation => ({
    client: "shop",
    input: { type: "commit", changes: [{ type: "put", key: "a1", value: Buffer.from(value) }] },
    output:
      version === undefined
        ? undefined
        : { type: "result", result: { committed: true, version: BigInt(version), counters: [undefined] } },
    calledAt,
    returnedAt: version === undefined ? undefined : calledAt,
    called: calledAt,
    returned: version === undefined ? undefined : calledAt,
  });
  const record = told(synced, put("a1", "x", 5));
  checkWatchedValues(record, [commit(1, "x", 5)]);
  checkWatchedValues(record, [commit(1, "x", undefined)]);
  wrong(/"a1" = "x" in version 5 at 7 ms, which no commit had written by then/, () =>
    checkWatchedValues(record, [commit(1, "y", 5)]),
  );
  wrong(/which no commit had written/, () => checkWatchedValues(record, [commit(8, "x", 5)]));
  wrong(/which no commit had written/, () => checkWatchedValues(record, [commit(1, "x", 4)]));
});
