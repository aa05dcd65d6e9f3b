import type { MessageStore } from "../messages/message-store.ts";
import type { Queue } from "../messages/queues.ts";
import { LogReading } from "./log-reading.ts";

/**
 * Lets records go that their log's retention does not keep: a log then starts later, and the cleaner finds what is below needed by nobody. By age
 * to the record; by size as far as one segment's share of a partition, for that is what is known without reading.
 */
export class LogTrimming {
  readonly #store: MessageStore;
  readonly #reading: LogReading;
  /** When the first record that is kept was appended, so that a log of which nothing goes is not read. */
  readonly #oldest = new WeakMap<Queue, { readonly start: number; readonly appendedAt: number }>();

  constructor(store: MessageStore) {
    this.#store = store;
    this.#reading = new LogReading(store);
  }

  async trim(): Promise<void> {
    for (const log of [...this.#store.catalogue.logs.values()]) {
      for (const queue of log.queues) {
        const start = Math.max(await this.#byAge(queue), this.#bySize(queue));
        if (this.#store.core.closed) return;
        if (!log.removed && start > queue.start) this.#store.trim(queue, start);
      }
    }
  }

  async #byAge(queue: Queue): Promise<number> {
    const { retentionMs } = queue.topic.log!;
    const { start } = queue;
    if (retentionMs === Number.POSITIVE_INFINITY || start >= queue.visible) return start;
    const keptFrom = this.#store.core.world.clock.now() - retentionMs;
    let oldest = this.#oldest.get(queue);
    if (oldest?.start !== start) {
      const appendedAt = await this.#store.publishedAt(queue, start);
      if (appendedAt === undefined) return start;
      oldest = { start, appendedAt };
      this.#oldest.set(queue, oldest);
    }
    return oldest.appendedAt >= keptFrom ? start : this.#reading.locate(queue, keptFrom);
  }

  #bySize(queue: Queue): number {
    const { retentionBytes } = queue.topic.log!;
    if (retentionBytes === Number.POSITIVE_INFINITY) return queue.start;
    const parts = this.#partsOf(queue).sort((a, b) => b.first - a.first);
    let start = queue.start;
    let bytes = 0;
    // From the newest part down: below the one that completes what is to be kept, all may go.
    for (const part of parts) {
      bytes += part.bytes;
      if (bytes < retentionBytes) continue;
      start = Math.max(start, Math.min(part.first, queue.visible));
      break;
    }
    return start;
  }

  #partsOf(queue: Queue): { readonly first: number; readonly bytes: number }[] {
    const parts: { first: number; bytes: number }[] = [];
    if (queue.active !== undefined) parts.push({ first: queue.active.first, bytes: queue.active.bytes });
    for (const directory of this.#store.index.directories) {
      const slot = directory.slot(queue.id);
      if (slot >= 0) parts.push({ first: directory.first(slot), bytes: directory.bytes(slot) });
    }
    return parts;
  }
}
