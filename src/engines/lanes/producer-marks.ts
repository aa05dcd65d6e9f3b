import type { ProducerMark } from "../../contracts/messages.ts";
import { ByteReader, ByteWriter } from "../shared/binary.ts";
import type { BatchRefusal } from "./batches.ts";

/** The positions that a batch got; -1 for a message that has none yet, or none here. */
export type Positions = number | readonly number[];

interface RememberedBatch {
  readonly sequence: number;
  readonly count: number;
  /** The first, when they are consecutive. */
  readonly positions: Positions;
}

const format = 1;
/** So many of a producer's last batches per partition are answered again. */
const rememberedBatches = 5;

/**
 * What is remembered of one producer in one partition, as one value. Encoded: some 20 bytes, and for each of up to five batches 6 to 20; where the positions are
 * not consecutive, one byte or more for each message beside.
 */
export class ProducerMarks {
  epoch: number;
  readonly #batches: RememberedBatch[] = [];

  constructor(epoch: number) {
    this.epoch = epoch;
  }

  /**
   * What became of the batch when it came before; `undefined` when it is news; or why it is refused. `marks`: what is remembered, if anything is; `epoch`: the highest that is known of the producer
   * in the topic, in whatever partition; negative when there is none.
   */
  static check(
    marks: ProducerMarks | undefined,
    epoch: number,
    mark: ProducerMark,
    count: number,
  ): { readonly known: Positions } | BatchRefusal | undefined {
    if (epoch < 0 && marks === undefined) return undefined;
    const highest = Math.max(epoch, marks?.epoch ?? 0);
    if (mark.epoch < highest) return { refused: "fenced", epoch: highest };
    const batches = marks?.epoch === mark.epoch ? marks.#batches : [];
    const last = batches.at(-1);
    const expected = last === undefined ? 0 : last.sequence + last.count;
    if (mark.sequence === expected) return undefined;
    if (mark.sequence > expected) return { refused: "gap", expected };
    const known = batches.find((batch) => batch.sequence === mark.sequence && batch.count === count);
    return known === undefined ? { refused: "repeated" } : { known: known.positions };
  }

  /** The batch was stored. */
  add({ epoch, sequence }: ProducerMark, count: number, positions: Positions): void {
    if (epoch !== this.epoch) this.#batches.length = 0;
    this.epoch = epoch;
    if (this.#batches.length === rememberedBatches) this.#batches.shift();
    this.#batches.push({ sequence, count, positions });
  }

  encode(): Buffer {
    const writer = new ByteWriter().u8(format).whole(this.epoch).whole(this.#batches.length);
    for (const { sequence, count, positions } of this.#batches) {
      writer.whole(sequence).whole(count);
      if (typeof positions === "number") writer.u8(0).whole(positions);
      else encodePositions(writer.u8(1), positions);
    }
    return writer.done();
  }

  static decode(bytes: Uint8Array): ProducerMarks {
    const reader = new ByteReader(bytes, "what is remembered of a producer");
    if (reader.u8() !== format) throw reader.corrupt();
    const marks = new ProducerMarks(reader.whole());
    for (let left = reader.whole(); left > 0; left--) {
      const [sequence, count] = [reader.whole(), reader.whole()];
      const positions = reader.u8() === 0 ? reader.whole() : decodePositions(reader, count);
      marks.#batches.push({ sequence, count, positions });
    }
    reader.end();
    return marks;
  }
}

/** As distances from what would come next, folded so that small ones of either sign are small: mostly one byte each. */
function encodePositions(writer: ByteWriter, positions: readonly number[]): void {
  let next = 0;
  for (const position of positions) {
    const distance = position - next;
    writer.whole(distance < 0 ? -2 * distance - 1 : 2 * distance);
    if (position >= 0) next = position + 1;
  }
}

function decodePositions(reader: ByteReader, count: number): number[] {
  const positions: number[] = [];
  let next = 0;
  for (let left = count; left > 0; left--) {
    const folded = reader.whole();
    const position = next + (folded % 2 === 0 ? folded / 2 : -(folded + 1) / 2);
    positions.push(position);
    if (position >= 0) next = position + 1;
  }
  return positions;
}
