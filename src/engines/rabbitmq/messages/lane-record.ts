import { LaneState } from "../../lanes/lane-state.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";

/** A lane as one value, and the greatest fence that it was ever opened with. */
export class LaneRecord {
  readonly state: LaneState;
  #fence: number;

  constructor(state: LaneState, fence = 0) {
    this.state = state;
    this.#fence = fence;
  }

  /** A new owner comes. `false`: a later one came before it. `next`: the partition's next position. */
  open(fence: number, next: number): boolean {
    if (fence < this.#fence) return false;
    const { state } = this;
    if (fence > this.#fence) {
      // Nobody gave it back: whoever had it may have fetched as far as its window went.
      state.turn({ taken: state.fence === 0 ? undefined : "vanished", fence });
      state.suspectBelow = Math.min(state.suspectBelow, next);
      this.#fence = fence;
    }
    state.fence = fence;
    return true;
  }

  isOwnedUnder(fence: number): boolean {
    return this.state.fence === fence;
  }

  /** The owner gives it back, with nothing suspect. */
  release(fence: number): boolean {
    if (!this.isOwnedUnder(fence)) return false;
    this.state.turn({ taken: "orderly", fence: undefined });
    return true;
  }

  encode(): Buffer {
    return new ByteWriter().whole(this.#fence).bytes(this.state.encode()).done();
  }

  static decode(bytes: Uint8Array): LaneRecord {
    const reader = new ByteReader(bytes, "a lane's record");
    const fence = reader.whole();
    const record = new LaneRecord(LaneState.decode(reader.bytes()), fence);
    reader.end();
    return record;
  }
}
