import type { Held } from "../../contracts/messages.ts";
import { ByteReader, ByteWriter } from "../shared/binary.ts";
import type { Ranges } from "./ranges.ts";
import { SettledWindow } from "./settled-window.ts";

/** What a change of a lane's progress says. */
export interface ProgressChange {
  readonly settled: Ranges;
  readonly held?: Iterable<Held> | undefined;
}

const format = 1;
/** How the settled positions above `low` are written: not at all, a bit each, or as (gap, length) pairs. */
const above = { none: 0, bits: 1, ranges: 2 } as const;

/**
 * What a group has settled of a partition, and what it holds: all below `low`, some of the window above it, and an entry for each message that waits for a
 * retry.
 *
 * Encoded: some 12 bytes, and for what is settled above `low` a bit per position or two bytes or so per gap, whichever is less (so at most an eighth of
 * the window in bytes), and for each held entry 11 to 25 bytes.
 */
export class LaneProgress {
  #window: SettledWindow;
  readonly #held = new Map<number, Held>();

  /** Everything below is settled, and nothing from there on. */
  constructor(low: number) {
    this.#window = new SettledWindow(low);
  }

  /** All below is settled. */
  get low(): number {
    return this.#window.low;
  }

  has(position: number): boolean {
    return this.#window.has(position);
  }

  /** By position. */
  get held(): readonly Held[] {
    return [...this.#held.values()].sort((one, other) => Number(one.position - other.position));
  }

  /** No position from here on is settled. */
  get end(): number {
    let end = this.#window.low;
    for (const position of this.#window.above()) end = position + 1;
    return end;
  }

  get heldCount(): number {
    return this.#held.size;
  }

  /** How many messages are not settled, when the next one gets the position `next`. */
  lag(next: number): number {
    return next - this.#window.low - this.#window.aboveCount;
  }

  /** Settles, then holds. What is settled already, and entries of settled positions, are left out. Repeating it changes nothing. */
  apply({ settled, held = [] }: ProgressChange): void {
    for (let i = 0; i < settled.from.length; i++) this.#settle(settled.from[i]!, settled.to[i]!);
    for (const entry of held) {
      if (!this.#window.has(Number(entry.position))) this.#held.set(Number(entry.position), entry);
    }
    if (this.#held.size > 0 && settled.from.length > 0) this.#forgetSettled();
  }

  #settle(from: number, to: number): void {
    if (from <= this.#window.low) this.#window.addBelow(to);
    else for (let position = from; position < to; position++) this.#window.add(position);
  }

  #forgetSettled(): void {
    for (const position of [...this.#held.keys()]) if (this.#window.has(position)) this.#held.delete(position);
  }

  /** Everything below is settled, whoever owns the lane. */
  settleBelow(position: number): void {
    this.#window.addBelow(position);
    for (const held of [...this.#held.keys()]) if (held < this.#window.low) this.#held.delete(held);
  }

  /** As if everything below and nothing above were settled; `undefined`: it stays where it is. What was held is forgotten. */
  moveTo(position: number | undefined): void {
    this.#held.clear();
    if (position !== undefined) this.#window = new SettledWindow(position);
  }

  encode(): Buffer {
    const writer = new ByteWriter();
    writer.u8(format).whole(this.low);
    this.#encodeAbove(writer);
    writer.whole(this.#held.size);
    let last = this.low;
    for (const { position, failures, deliveries, dueAt } of this.held) {
      writer
        .whole(Number(position) - last)
        .whole(failures)
        .whole(deliveries)
        .f64(dueAt);
      last = Number(position);
    }
    return writer.done();
  }

  #encodeAbove(writer: ByteWriter): void {
    if (this.#window.aboveCount === 0) {
      writer.u8(above.none);
      return;
    }
    const { low } = this.#window;
    const gaps: number[] = [];
    let end = low;
    for (const position of this.#window.above()) {
      if (position === end && gaps.length > 0) gaps[gaps.length - 1]! += 1;
      else gaps.push(position - end, 1);
      end = position + 1;
    }
    const bitBytes = Math.ceil((end - low) / 8);
    if (gaps.length <= bitBytes) {
      writer.u8(above.ranges).whole(gaps.length / 2);
      for (const figure of gaps) writer.whole(figure);
      return;
    }
    const bits = Buffer.alloc(bitBytes);
    for (const position of this.#window.above()) bits[(position - low) >>> 3]! |= 1 << ((position - low) & 7);
    writer.u8(above.bits).bytes(bits);
  }

  static decode(bytes: Uint8Array): LaneProgress {
    const reader = new ByteReader(bytes, "a lane's progress");
    if (reader.u8() !== format) throw reader.corrupt();
    const progress = new LaneProgress(reader.whole());
    progress.#decodeAbove(reader);
    let position = progress.low;
    for (let left = reader.whole(); left > 0; left--) {
      position += reader.whole();
      const failures = reader.whole();
      const deliveries = reader.whole();
      progress.#held.set(position, { position: BigInt(position), failures, deliveries, dueAt: reader.f64() });
    }
    reader.end();
    return progress;
  }

  #decodeAbove(reader: ByteReader): void {
    const how = reader.u8();
    const { low } = this.#window;
    if (how === above.bits) {
      const bits = reader.bytes();
      for (let bit = bits.length * 8 - 1; bit >= 0; bit--) {
        if ((bits[bit >>> 3]! & (1 << (bit & 7))) !== 0) this.#window.add(low + bit);
      }
    } else if (how === above.ranges) {
      let end = low;
      for (let left = reader.whole(); left > 0; left--) {
        end += reader.whole();
        for (let length = reader.whole(); length > 0; length--) this.#window.add(end++);
      }
    } else if (how !== above.none) throw reader.corrupt();
  }
}
