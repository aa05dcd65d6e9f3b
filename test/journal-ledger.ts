import assert from "node:assert/strict";
import type { TenonError } from "../src/contracts/errors.ts";
import {
  Journal,
  type JournalOptions,
  type JournalState,
  type Position,
  segmentOf,
} from "../src/engines/embedded/journal/journal.ts";
import type { World } from "../src/world/world.ts";

const ENTRY = 7;
const SNAPSHOT = 8;

interface Entry {
  readonly id: number;
  readonly position: Position;
}

/**
 * The smallest state that notices everything a journal can do wrong: it numbers its entries from 1, remembers where each stands, and
 * carries what it knows of older segments only through footers and snapshots.
 */
export class Ledger implements JournalState {
  entries: Entry[] = [];
  failure: TenonError | undefined;
  readonly durableCalls: number[] = [];
  #lastId = 0;
  /** The snapshot of each segment must say what the segments before it held. */
  readonly snapshots: number[] = [];

  get lastId(): number {
    return this.#lastId;
  }

  add(journal: Journal, bytes = sizeOf(this.#lastId + 1)): number {
    const id = this.#lastId + 1;
    const at = journal.append(ENTRY, bytes);
    payloadOf(id, bytes).copy(journal.buffer, at);
    this.#lastId = id;
    this.entries.push({ id, position: journal.position });
    return id;
  }

  loadFooter(_segment: number, footer: Buffer): void {
    for (let at = 0; at < footer.length; at += 16) {
      this.#take(footer.readDoubleLE(at), footer.readDoubleLE(at + 8));
    }
  }

  replay(kind: number, payload: Buffer, position: Position): void {
    if (kind === SNAPSHOT) {
      const lastId = payload.readDoubleLE(0);
      this.snapshots.push(lastId);
      if (this.entries.length > 0) assert.equal(lastId, this.#lastId, "the snapshot and the footers differ");
      this.#lastId = lastId;
      return;
    }
    assert.equal(kind, ENTRY);
    const id = this.#lastId + 1;
    assert.deepEqual(payload, payloadOf(id, payload.length), `entry ${id} was replayed with other content`);
    this.#take(id, position);
  }

  footer(segment: number): Uint8Array {
    const entries = this.entries.filter(({ position }) => segmentOf(position) === segment);
    const footer = Buffer.alloc(entries.length * 16);
    entries.forEach(({ id, position }, index) => {
      footer.writeDoubleLE(id, index * 16);
      footer.writeDoubleLE(position, index * 16 + 8);
    });
    return footer;
  }

  snapshot(journal: Journal): void {
    const at = journal.append(SNAPSHOT, 8);
    journal.buffer.writeDoubleLE(this.#lastId, at);
  }

  durable(batch: number): void {
    this.durableCalls.push(batch);
  }

  failed(error: TenonError): void {
    assert.equal(this.failure, undefined, "the failure was reported twice");
    this.failure = error;
  }

  /** Reads every entry back and compares it. */
  async verify(journal: Journal): Promise<void> {
    for (const { id, position } of this.entries) {
      const payload = await journal.read(position);
      assert.ok(payload.equals(payloadOf(id, payload.length)), `entry ${id} reads as something else`);
    }
  }

  /** Forgets the entries of segments that are gone. */
  forgetBefore(segment: number): void {
    this.entries = this.entries.filter(({ position }) => segmentOf(position) >= segment);
  }

  #take(id: number, position: Position): void {
    const before = this.entries.at(-1);
    if (before !== undefined) {
      assert.equal(id, before.id + 1, "an entry is missing or stands twice");
      assert.ok(position > before.position);
    }
    this.#lastId = id;
    this.entries.push({ id, position });
  }
}

/** Sizes from 0 bytes to several sectors, so that records cross every boundary. */
function sizeOf(id: number): number {
  return id % 7 === 0 ? 0 : (id * 131) % 1400;
}

/** Content that no other entry has. */
export function payloadOf(id: number, bytes: number): Buffer {
  const payload = Buffer.allocUnsafe(bytes);
  for (let at = 0; at < bytes; at++) payload[at] = (Math.imul(id, 31) + Math.imul(at, 7) + (at >> 8)) & 255;
  if (bytes >= 4) payload.writeUInt32LE(id, 0);
  return payload;
}

export const SMALL = { segmentBytes: 8192, tailBytes: 4096, readCacheBytes: 1024 * 1024, reserveBytes: 0 } as const;

export async function openLedger(
  world: World,
  options: Partial<JournalOptions> = {},
): Promise<{ readonly ledger: Ledger; readonly journal: Journal }> {
  const ledger = new Ledger();
  const journal = await Journal.open({
    world,
    directory: "/data/journal",
    durability: "sync",
    ...SMALL,
    ...options,
    state: ledger,
  });
  return { ledger, journal };
}
