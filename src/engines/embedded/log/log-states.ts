import { TenonError } from "../../../contracts/errors.ts";
import type { EntryStore } from "../key-values/entry-store.ts";
import { bytesOfText, type Effect } from "../key-values/key-value-records.ts";
import type { Queue } from "../messages/queues.ts";

/**
 * Where readers stand, who writes under which name, and which sequences are stored: entries beside those of leases and rates, so that they take part in the same
 * snapshots, footers and cleaning. Queues are named by their number, which is never given again.
 */
const prefix = { writer: "qw", position: "qp", sequence: "qs" } as const;

/** So many characters of keys are deleted by one record at most; far below a record's limit. */
const deletedLengthMax = 1024 * 1024;

export class LogStates {
  readonly #states: EntryStore;

  constructor(states: EntryStore) {
    this.#states = states;
  }

  /** Fences whoever has the name, and answers the new epoch: the commit's version, which no other commit ever gets. */
  openWriter(name: string): number {
    return this.#states.commit([put(prefix.writer + name, Buffer.alloc(0))]);
  }

  /** `undefined`: the name was never opened. */
  epochOf(writer: string): number | undefined {
    return this.#states.get(prefix.writer + writer)?.version;
  }

  position(queue: Queue, reader: string): number | undefined {
    return this.#number(keyOf(prefix.position, queue, reader));
  }

  moved(queue: Queue, reader: string, position: number): Effect {
    return put(keyOf(prefix.position, queue, reader), encoded(position));
  }

  forget(queues: readonly Queue[], reader: string): void {
    const keys = queues.map((queue) => keyOf(prefix.position, queue, reader));
    this.#delete(keys.filter((key) => this.#states.get(key) !== undefined));
  }

  /** The last sequence that is stored under a writer's name; -1 when none is. */
  sequence(queue: Queue, writer: string): number {
    return this.#number(keyOf(prefix.sequence, queue, writer)) ?? -1;
  }

  sequenced(queue: Queue, writer: string, sequence: number): Effect {
    return put(keyOf(prefix.sequence, queue, writer), encoded(sequence));
  }

  commit(effects: readonly Effect[]): void {
    if (effects.length > 0) this.#states.commit(effects);
  }

  /** Deletes what is kept of queues that are there no more. */
  sweep(isThere: (queue: number) => boolean): void {
    const gone: string[] = [];
    for (const { key } of this.#states.all()) {
      const queue = queueOf(key);
      if (queue !== undefined && !isThere(queue)) gone.push(key);
    }
    this.#delete(gone);
  }

  #delete(keys: readonly string[]): void {
    let effects: Effect[] = [];
    let length = 0;
    for (const key of keys) {
      effects.push({ type: "delete", key });
      length += key.length;
      if (length < deletedLengthMax) continue;
      this.commit(effects);
      effects = [];
      length = 0;
    }
    this.commit(effects);
  }

  #number(key: string): number | undefined {
    const value = this.#states.get(key)?.value;
    if (value === undefined) return undefined;
    const bytes = bytesOfText(value);
    if (bytes.length === 8) return bytes.readDoubleLE(0);
    throw new TenonError("corrupt", "what is kept of a log's reader or writer is not what was written");
  }
}

function keyOf(kind: string, queue: Queue, name: string): string {
  return `${kind}${queue.id}:${name}`;
}

/** `undefined` for an entry that belongs to no queue. */
function queueOf(key: string): number | undefined {
  if (!key.startsWith(prefix.position) && !key.startsWith(prefix.sequence)) return undefined;
  return Number(key.slice(2, key.indexOf(":")));
}

function put(key: string, value: Uint8Array): Effect {
  return { type: "put", key, value, expiresAt: Number.POSITIVE_INFINITY };
}

function encoded(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(8);
  bytes.writeDoubleLE(value, 0);
  return bytes;
}
