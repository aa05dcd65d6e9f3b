import type { TenonError } from "../../../contracts/errors.ts";
import type { WatchEvent } from "../../../contracts/key-value.ts";
import type { World } from "../../../world/world.ts";
import { keyOf } from "../../shared/key-values/names.ts";
import { type KeyChange, type Page, Watch } from "../../shared/key-values/watch.ts";
import type { EtcdConnection } from "../connection.ts";
import { EventStream } from "../event-stream.ts";
import { bytesOf, rangeOf, revisionOf, type WatchReply } from "../wire.ts";
import { decodeEntry, lastVersionOf, placesMax, versionOf } from "./entries.ts";
import type { OverdueKeys } from "./overdue-keys.ts";
import type { Reader, StoredPage } from "./reader.ts";

export interface WatchesParts {
  readonly world: World;
  readonly connection: EtcdConnection;
  readonly reader: Reader;
  readonly page: (prefix: string, after: string | undefined) => Promise<StoredPage>;
  readonly overdue: OverdueKeys;
}

/** Watches of prefixes, each a watch of etcd that begins behind the revision of the state that was read. */
export class Watches {
  readonly #parts: WatchesParts;
  readonly #ended = new AbortController();

  constructor(parts: WatchesParts) {
    this.#parts = parts;
  }

  async *watch(prefix: string, signal: AbortSignal | undefined): AsyncGenerator<WatchEvent> {
    const ended = this.#ended.signal;
    ended.throwIfAborted();
    let stream: EventStream | undefined;
    const watch: Watch = new Watch(prefix, this.#parts.world, {
      page: (after) => this.#page(prefix, after),
      following: () => {
        stream?.end();
        stream = this.#follow(watch);
      },
    });
    const end = () => stream?.end();
    ended.addEventListener("abort", end);
    try {
      yield* watch.events(ended, signal);
    } finally {
      ended.removeEventListener("abort", end);
      end();
    }
  }

  async #page(prefix: string, after: string | undefined): Promise<Page> {
    const page = await this.#parts.page(prefix, after);
    for (const stored of page.stored) this.#parts.overdue.note(stored);
    return page;
  }

  #follow(watch: Watch): EventStream {
    const { world, connection, reader } = this.#parts;
    const stream = new EventStream({
      world,
      connection,
      range: rangeOf(reader.nameOf(watch.prefix)),
      // Behind the last version that is known; a revision of which only a part is known is heard again.
      from: () => Math.floor(((watch.since ?? 0) + 1) / placesMax),
      heard: (reply) => this.#offer(watch, reply),
      missed: () => watch.reread(),
      failed: (error) => watch.fail(error),
    });
    void stream.run();
    return stream;
  }

  #offer(watch: Watch, { events = [], header, fragment, created }: WatchReply): void {
    if (created === true) return;
    if (events.length === 0) {
      // It says how far it has come.
      watch.offer([], lastVersionOf(revisionOf(header)));
      return;
    }
    const changed = events.map(({ type, kv }): KeyChange => (type === "DELETE" ? this.#deleted(kv) : this.#put(kv)));
    changed.sort((one, other) => one.version - other.version);
    const revision = Math.floor(changed.at(-1)!.version / placesMax);
    watch.offer(changed, fragment === true ? versionOf(revision, 0) - 1 : lastVersionOf(revision));
  }

  #deleted({ key: name, mod_revision: revision }: { readonly key: string; readonly mod_revision: string }): KeyChange {
    const key = keyOf(bytesOf(name).subarray(this.#parts.reader.prefixBytes));
    this.#parts.overdue.forget(key);
    return { key, version: versionOf(Number(revision), 0), entry: undefined };
  }

  #put(pair: Parameters<typeof decodeEntry>[0]): KeyChange {
    const stored = decodeEntry(pair, this.#parts.reader.prefixBytes);
    this.#parts.overdue.note(stored);
    const { entry } = stored;
    return { key: entry.key, version: Number(entry.version), entry };
  }

  close(reason: TenonError): void {
    this.#ended.abort(reason);
  }
}
