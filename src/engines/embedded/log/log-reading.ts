import { assert } from "../../../contracts/errors.ts";
import type { LogPage, LogRead, LogRecord } from "../../../contracts/log.ts";
import { checkReadPosition, logNotFound } from "../../../contracts/log-requests.ts";
import type { Core } from "../core.ts";
import { Reader } from "../cursor.ts";
import type { Position } from "../journal/journal.ts";
import { recordPosition } from "../messages/message-index.ts";
import { readMessage, readRunHeader, skipMessage } from "../messages/message-run.ts";
import type { MessageStore } from "../messages/message-store.ts";
import type { Queue } from "../messages/queues.ts";

/** A page ends with the record that makes it larger. */
const pageBytes = 4 * 1024 * 1024;
/** So many readers find their place in a run again without going past what is before it. */
const placesMax = 256;
/** Timers do not wait longer at a time. */
const timerMsMax = 2 ** 31 - 1;

/** Where in a run a page ended, so that the next one begins there. By its record, which stays where it is until its segment goes, and not by its index, which does not. */
interface Place {
  readonly position: Position;
  readonly generation: number;
  /** Where the record with the offset starts in the run's payload. */
  readonly at: number;
}

/** Reading of logs: by offset, by instant, and waiting for what comes. */
export class LogReading {
  readonly #store: MessageStore;
  readonly #core: Core;
  /** By queue and offset, those used longest ago first. */
  readonly #places = new Map<string, Place>();

  constructor(store: MessageStore) {
    this.#store = store;
    this.#core = store.core;
  }

  async read(
    queue: Queue,
    { log, partition, from, limit, waitMs = 0 }: LogRead,
    signal?: AbortSignal,
  ): Promise<LogPage> {
    const deadline = this.#core.world.clock.monotonic() + waitMs;
    for (;;) {
      signal?.throwIfAborted();
      this.#core.throwIfClosed();
      if (queue.topic.removed) throw logNotFound(log);
      checkReadPosition({ log, partition, from }, BigInt(queue.start), BigInt(queue.visible));
      const records = await this.#collect(queue, Number(from), limit);
      if (records.length > 0) return { records, next: records.at(-1)!.position + 1n };
      const leftMs = deadline - this.#core.world.clock.monotonic();
      if (Number(from) === queue.visible && !(leftMs > 0)) return { records, next: from };
      await this.#change(queue, Number(from), leftMs, signal);
    }
  }

  /** Records from an offset on; none when there are none, or when what was there went away meanwhile. */
  async #collect(queue: Queue, from: number, limit: number): Promise<LogRecord[]> {
    const records: LogRecord[] = [];
    let bytes = 0;
    let offset = from;
    let misses = 0;
    while (records.length < limit && bytes < pageBytes && offset < queue.visible && !queue.topic.removed) {
      const { generation } = this.#store.index;
      let run: { readonly place: Place; readonly payload: Buffer } | undefined;
      try {
        run = await this.#open(queue, offset);
      } catch (error) {
        // A segment was cleaned away meanwhile; what it held and is still kept stands elsewhere now.
        if (generation === this.#store.index.generation) throw error;
        continue;
      }
      if (run === undefined) break;
      const reader = new Reader(run.payload);
      const { first, count, publishedAt } = readRunHeader(reader);
      if (offset < first || offset >= first + count) {
        if (queue.start > offset) break;
        // What it was found by was put in order anew meanwhile.
        misses += 1;
        assert(misses < 100, "A log has a gap.");
        continue;
      }
      if (run.place.at > 0) reader.at = run.place.at;
      else for (let skipped = first; skipped < offset; skipped++) skipMessage(reader);
      const end = Math.min(first + count, queue.visible);
      for (; offset < end && records.length < limit && bytes < pageBytes; offset++) {
        const start = reader.at;
        const { position, key, body, headers } = readMessage(reader, offset, publishedAt);
        records.push({ position, key, body, headers, appendedAt: publishedAt });
        bytes += reader.at - start;
      }
      if (offset < first + count) this.#note(queue, offset, { ...run.place, at: reader.at });
    }
    assert(
      records.length > 0 || from >= queue.visible || queue.start > from || queue.topic.removed,
      "A log has a gap.",
    );
    return records;
  }

  async #open(queue: Queue, offset: number): Promise<{ place: Place; payload: Buffer } | undefined> {
    const { index } = this.#store;
    const name = `${queue.id}/${offset}`;
    let place = this.#places.get(name);
    if (place !== undefined) this.#places.delete(name);
    if (place === undefined || place.generation !== index.generation) {
      const { generation } = index;
      const location = await index.locate(queue, offset);
      if (location === undefined) return undefined;
      place = { position: recordPosition(location), generation, at: 0 };
    }
    return { place, payload: await this.#core.journal.read(place.position) };
  }

  #note(queue: Queue, offset: number, place: Place): void {
    this.#places.set(`${queue.id}/${offset}`, place);
    if (this.#places.size > placesMax) this.#places.delete(this.#places.keys().next().value!);
  }

  /** Resolves when there may be something from the offset on, the time is over, or the signal aborts. */
  #change(queue: Queue, from: number, leftMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#core.closed || queue.topic.removed || from < queue.visible || signal?.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        cancel();
        queue.waiting.delete(wake);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      // Somebody waits, so the process goes on.
      const cancel = this.#core.world.timers.schedule(Math.min(leftMs, timerMsMax), wake, { keepsAlive: true });
      queue.waiting.add(wake);
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  /** The offset of the first record appended at or after the instant: a binary search, each step of which reads a run's header. */
  async locate(queue: Queue, at: number): Promise<number> {
    let from = queue.start;
    let to = queue.visible;
    while (from < to) {
      const middle = Math.floor((from + to) / 2);
      const appendedAt = await this.#store.publishedAt(queue, middle);
      if (appendedAt === undefined || appendedAt >= at) to = middle;
      else from = middle + 1;
    }
    return Math.max(from, queue.start);
  }
}
