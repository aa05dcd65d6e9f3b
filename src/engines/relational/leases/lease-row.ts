import type { Stamp } from "../../shared/leases/lease-entries.ts";
import { LeaseState } from "../../shared/leases/lease-state.ts";

/** The first byte of a row that is stamped; no state begins with it. */
const mark = 16;
export const stampBytes = 17;
const watchBytes = 8;

/** The mark, the server's clock as a double, and the number, both in network order: what the server itself can put together. */
export function encodeStamp({ now, number }: Stamp): Buffer {
  const bytes = Buffer.allocUnsafe(stampBytes);
  bytes[0] = mark;
  bytes.writeDoubleBE(now, 1);
  bytes.writeBigInt64BE(BigInt(number), 9);
  return bytes;
}

export function decodeStamp(bytes: Buffer): Stamp {
  return { now: bytes.readDoubleBE(1), number: Number(bytes.readBigInt64BE(9)) };
}

/** What is stored of a name. A row that is stamped also knows whether somebody watches the name, so that nobody is told what nobody hears. */
export class LeaseRow {
  readonly state: LeaseState;
  /** Until then changes of its holders are told; `undefined` where that is not stored, and they always are. */
  watchedUntil: number | undefined;
  /** How much was written of it when it last was. */
  writtenBytes = 0;

  constructor(state: LeaseState, watchedUntil: number | undefined) {
    this.state = state;
    this.watchedUntil = watchedUntil;
  }

  isWatched(now: number): boolean {
    return this.watchedUntil === undefined || this.watchedUntil > now;
  }

  /** It need not be stored. */
  isUnused(now: number): boolean {
    return this.state.unused && (this.watchedUntil ?? 0) <= now;
  }

  /** It is written as `idleBytes`. */
  get isIdle(): boolean {
    return this.state.unused && this.watchedUntil === 0;
  }

  /** From then on it need not be stored. */
  get endsAt(): number {
    return Math.max(this.state.endsAt, this.watchedUntil ?? 0);
  }

  /** What stands behind the stamp that it is written with. */
  encodeUnstamped(): Buffer {
    return this.#encode(this.state.encodeUnstamped());
  }

  encode(stamp: Stamp): Buffer {
    return Buffer.concat([encodeStamp(stamp), this.#encode(this.state.encode())]);
  }

  #encode(state: Buffer): Buffer {
    const bytes = Buffer.allocUnsafe(watchBytes + state.length);
    bytes.writeDoubleBE(this.watchedUntil ?? 0);
    bytes.set(state, watchBytes);
    this.writtenBytes = stampBytes + bytes.length;
    return bytes;
  }

  /** Nobody holds the name, waits for it or watches it. */
  static idle(): LeaseRow {
    return new LeaseRow(new LeaseState(), 0);
  }

  /** Rows of earlier releases, and those that were just made, have no stamp. */
  static decode(bytes: Buffer): LeaseRow {
    const headBytes = stampBytes + watchBytes;
    if (bytes[0] !== mark || bytes.length < headBytes) return new LeaseRow(LeaseState.decode(bytes), 0);
    const state = LeaseState.decode(bytes.subarray(headBytes), decodeStamp(bytes));
    return new LeaseRow(state, bytes.readDoubleBE(stampBytes));
  }
}

/** What stands behind the stamp of a row that nobody needs. */
export const idleBytes = LeaseRow.idle().encodeUnstamped();
