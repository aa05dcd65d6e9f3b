import { crc32 } from "node:zlib";
import type { KeyValueEntry, WatchEvent } from "../../../contracts/key-value.ts";
import type { FeedPart } from "./feeds.ts";

interface Shown {
  readonly version: bigint;
  /** A server that has lost something may give a version again, to another value. */
  readonly checksum: number;
}

/**
 * One watcher over a feed that may begin anew: it remembers what it has shown, so that after an outage it can say what has changed and what is no
 * more.
 */
export class KeyWatch {
  readonly #shown = new Map<string, Shown>();
  /** The greatest version that was seen. */
  #version = 0n;

  async *events(feed: AsyncIterable<FeedPart<WatchEvent>>): AsyncGenerator<WatchEvent> {
    let wasSynced = false;
    /** What the state of a feed that began anew holds, up to its `synced`. */
    let state: Map<string, KeyValueEntry> | undefined;
    for await (const part of feed) {
      if (part === "begins") {
        // Until the first `synced` nothing but the state was shown, and it may be shown in several goes.
        state = this.#shown.size > 0 || wasSynced ? new Map() : undefined;
        continue;
      }
      for (const event of part) {
        if (state === undefined) {
          if (event.type === "synced") wasSynced = true;
          yield this.#note(event);
        } else if (event.type === "synced") {
          const missed = this.#missed(state);
          state = undefined;
          for (const change of missed) if (change.type === "put") yield this.#note(change);
          // The state has puts only: what went while it was shown is a change.
          if (!wasSynced) yield event;
          wasSynced = true;
          for (const change of missed) if (change.type === "delete") yield this.#note(change);
        } else if (event.type === "put") state.set(event.entry.key, event.entry);
      }
    }
  }

  #note(event: WatchEvent): WatchEvent {
    if (event.type === "put") {
      const { key, version, value } = event.entry;
      this.#shown.set(key, { version, checksum: crc32(value) });
      this.#see(version);
    } else if (event.type === "delete") {
      this.#shown.delete(event.key);
      this.#see(event.version);
    }
    return event;
  }

  #see(version: bigint): void {
    if (version > this.#version) this.#version = version;
  }

  /** The difference between the state and what was shown, as changes in the order of their versions. */
  #missed(state: ReadonlyMap<string, KeyValueEntry>): readonly WatchEvent[] {
    const puts: KeyValueEntry[] = [];
    for (const entry of state.values()) {
      this.#see(entry.version);
      const shown = this.#shown.get(entry.key);
      if (shown?.version !== entry.version || shown.checksum !== crc32(entry.value)) puts.push(entry);
    }
    puts.sort((a, b) => (a.version < b.version ? -1 : 1));
    const events: WatchEvent[] = puts.map((entry) => ({ type: "put", entry }));
    // When they went is not known, only that it was before this. No greater version will do: a key that has ended may be written anew in the very next one.
    for (const key of this.#shown.keys())
      if (!state.has(key)) events.push({ type: "delete", key, version: this.#version });
    return events;
  }
}
