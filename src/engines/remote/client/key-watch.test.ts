import assert from "node:assert/strict";
import { test } from "node:test";
import type { WatchEvent } from "../../../contracts/key-value.ts";
import type { FeedPart } from "./feeds.ts";
import { KeyWatch } from "./key-watch.ts";

const put = (key: string, version: number): WatchEvent => ({
  type: "put",
  entry: { key, value: Buffer.from(`${key}${version}`), version: BigInt(version), expiresAt: undefined },
});
const synced: WatchEvent = { type: "synced" };

async function* feedOf(parts: readonly FeedPart<WatchEvent>[]): AsyncGenerator<FeedPart<WatchEvent>> {
  yield* parts;
}

async function shown(...parts: readonly FeedPart<WatchEvent>[]): Promise<readonly string[]> {
  const told: string[] = [];
  for await (const event of new KeyWatch().events(feedOf(parts))) {
    if (event.type === "synced") told.push("synced");
    else if (event.type === "put") told.push(`${event.entry.key}@${event.entry.version}`);
    else told.push(`${event.key} deleted @${event.version}`);
  }
  return told;
}

test("a key that went during an outage is deleted in the greatest version that was seen", async () => {
  const told = await shown("begins", [put("a", 3), put("b", 4), synced], "begins", [put("a", 3), synced, put("b", 5)]);
  assert.deepEqual(told, ["a@3", "b@4", "synced", "b deleted @4", "b@5"]);
});

test("what changed during an outage comes in the order of versions, deletes last", async () => {
  const before = [put("a", 3), put("b", 4), put("c", 5), synced];
  const told = await shown("begins", before, "begins", [put("a", 8), synced, put("d", 9)]);
  assert.deepEqual(told, ["a@3", "b@4", "c@5", "synced", "a@8", "b deleted @8", "c deleted @8", "d@9"]);
});

test("what went while the state was shown is deleted after it is synced", async () => {
  const told = await shown("begins", [put("a", 3), put("b", 4)], "begins", [put("b", 4), put("c", 6), synced]);
  assert.deepEqual(told, ["a@3", "b@4", "c@6", "synced", "a deleted @6"]);
});
