import { type ByteReader, type ByteWriter, evictionOf, type KeptMessages } from "../../lanes/index.ts";
import type { AdmitCommand } from "./commands.ts";

/** For so long others wait for whoever was admitted; then its batch is counted as if it were coming, */
const turnMs = 1_000;
/** and no longer than this: it has died, or does not know itself what became of it. */
const admissionMs = 15_000;

/** `busy`: somebody else is appending to the partition. Else one decision for each batch; `later`: not together with those before it. */
export type Admitted =
  | "busy"
  | { readonly decisions: readonly ("yes" | "full" | "later")[]; readonly countMax: number; readonly count: number };

interface Admission {
  readonly at: number;
  readonly count: number;
}

export interface RoomParts {
  readonly countMax: number;
  readonly evicts: boolean;
  /** How many wait to be due. They cannot be evicted. */
  readonly delayed: number;
  /** The lowest position that the slowest group has not settled. */
  readonly settled: (partition: number, end: number) => number;
  readonly settleForAll: (partition: number, below: number) => void;
}

/**
 * Counts what a limited topic keeps. The journal does not see messages being appended, so whoever appends to such a topic asks here first, one at a time for each partition, and says afterwards where
 * the partition ends.
 */
export class Room {
  readonly #ends: number[];
  /** Of each partition, by their ids. */
  readonly #admissions: readonly Map<string, Admission>[];
  /** Of each partition, positions without a message: they keep nothing. Ascending. */
  readonly #empty: number[][];

  constructor(partitions: number) {
    this.#ends = new Array(partitions).fill(0);
    this.#empty = Array.from({ length: partitions }, () => []);
    this.#admissions = Array.from({ length: partitions }, () => new Map());
  }

  note(ends: readonly number[]): void {
    for (const [partition, end] of ends.entries()) this.#ends[partition] = Math.max(this.#ends[partition]!, end);
  }

  admit({ partition, admission: id, counts, end }: AdmitCommand, parts: RoomParts, now: number): Admitted {
    const admissions = this.#admissions[partition]!;
    admissions.delete(id);
    for (const [other, { at }] of admissions) {
      if (at + admissionMs <= now) admissions.delete(other);
      else if (at + turnMs > now) return "busy";
    }
    this.#ends[partition] = Math.max(this.#ends[partition]!, end);
    const { countMax, evicts, delayed } = parts;
    const kept = this.#kept(parts);
    const stored = kept.reduce((sum, { size }) => sum + size, 0);
    const used = stored + delayed + this.#coming(now);
    let fresh = 0;
    const decisions = counts.map((count) => {
      if (delayed + count > countMax) return "full";
      // Only what is stored can be evicted, not what comes with the same request.
      if (delayed + fresh + count > countMax) return evicts ? "later" : "full";
      if (used + fresh + count > countMax && !evicts) return "full";
      fresh += count;
      return "yes";
    });
    const excess = used + fresh - countMax;
    if (fresh > 0 && excess > stored) return "busy";
    if (fresh > 0 && excess > 0) {
      for (const each of evictionOf(kept, excess)) parts.settleForAll(each.partition, this.#behind(each));
    }
    if (fresh > 0) admissions.set(id, { at: now, count: fresh });
    return { decisions, countMax, count: used };
  }

  /** What was let in and is not known to be stored. */
  #coming(now: number): number {
    let coming = 0;
    for (const admissions of this.#admissions) {
      for (const { at, count } of admissions.values()) if (at + admissionMs > now) coming += count;
    }
    return coming;
  }

  #kept({ settled }: RoomParts): readonly KeptMessages[] {
    return this.#ends.map((end, partition) => {
      const low = Math.min(end, settled(partition, end));
      const empty = this.#empty[partition]!.filter((position) => position >= low);
      this.#empty[partition] = empty;
      return { partition, low, size: end - low - empty.length };
    });
  }

  /** Behind as many messages as lie below `below` where no position is empty. */
  #behind({ partition, below }: { readonly partition: number; readonly below: number }): number {
    let behind = below;
    for (const position of this.#empty[partition]!) if (position < behind) behind += 1;
    return behind;
  }

  /** Whoever was admitted is done. `end`: where the partition ends now; 0: who knows. */
  appended(partition: number, id: string, end: number, empty: readonly number[] = []): void {
    this.#ends[partition] = Math.max(this.#ends[partition]!, end);
    this.#empty[partition]!.push(...empty);
    this.#empty[partition]!.sort((one, other) => one - other);
    this.#admissions[partition]!.delete(id);
  }

  encode(writer: ByteWriter, withEmpty: boolean): void {
    for (const [partition, end] of this.#ends.entries()) {
      writer.whole(end).whole(this.#admissions[partition]!.size);
      for (const [id, { at, count }] of this.#admissions[partition]!) writer.text(id).f64(at).whole(count);
      if (withEmpty) writePositions(writer, this.#empty[partition]!);
    }
  }

  static decode(reader: ByteReader, partitions: number, withEmpty: boolean): Room {
    const room = new Room(partitions);
    for (let partition = 0; partition < partitions; partition++) {
      room.#ends[partition] = reader.whole();
      for (let left = reader.whole(); left > 0; left--) {
        room.#admissions[partition]!.set(reader.text(), { at: reader.f64(), count: reader.whole() });
      }
      if (withEmpty) room.#empty[partition]!.push(...readPositions(reader));
    }
    return room;
  }
}

function writePositions(writer: ByteWriter, positions: readonly number[]): void {
  writer.whole(positions.length);
  let last = 0;
  for (const position of positions) {
    writer.whole(position - last);
    last = position;
  }
}

function readPositions(reader: ByteReader): readonly number[] {
  let last = 0;
  return Array.from({ length: reader.whole() }, () => {
    last += reader.whole();
    return last;
  });
}
