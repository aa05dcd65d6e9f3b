import assert from "node:assert/strict";
import { test } from "node:test";
import { TenonError } from "../../../contracts/errors.ts";
import type { WatchEvent } from "../../../contracts/key-value.ts";
import { simulatedWorld } from "../../../simulation/index.ts";
import { ChangeFeed } from "./change-feed.ts";

test("what another server has lost is missed although it comes between the first state and the first look", async () => {
  const simulation = simulatedWorld({ seed: 1, eventsMax: 10_000 });
  await simulation.run(async () => {
    const { world } = simulation;
    let server = "one";
    const entry = (key: string, version: number) => ({
      key,
      value: new Uint8Array(),
      version: BigInt(version),
      expiresAt: undefined,
    });
    const feed = new ChangeFeed({
      world,
      listen: async () => undefined,
      // The other server lost `a`, gave its version to nobody, and knows of no delete.
      changes: async () => ({ server, version: 9, more: false, expiryMs: -1, incomplete: false, changed: [] }),
      page: async () => {
        const page = { version: 9, entries: server === "one" ? [entry("a", 8)] : [], after: undefined };
        server = "two";
        return page;
      },
    });
    const seen: WatchEvent["type"][] = [];
    for await (const { type } of feed.watch("", undefined)) {
      seen.push(type);
      if (type === "delete") break;
    }
    assert.deepEqual(seen, ["put", "synced", "delete"]);
    feed.close(new TenonError("closed", "the test is over"));
  });
});
