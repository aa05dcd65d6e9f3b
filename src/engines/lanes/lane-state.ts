import { ByteReader, ByteWriter } from "../shared/binary.ts";
import { LaneProgress } from "./lane-progress.ts";

const format = 1;

/** How a lane changes hands: it is taken from its owner, given to one, or both. See `GroupState`. */
export interface LaneTurn {
  readonly partition: number;
  /** `orderly`: its owner gave it back, and nothing is suspect; `vanished`: what the owner fetched is. */
  readonly taken: "orderly" | "vanished" | undefined;
  /** Of the new grant; `undefined`: nobody owns it now. */
  readonly fence: number | undefined;
}

/** All of a lane as one value, for stores that change it by compare-and-swap: who owns it, how far that one came, what is settled. */
export class LaneState {
  /** Of the grant; 0: nobody owns it. */
  fence = 0;
  /** An owner has fetched up to here. */
  cursor = 0;
  /** What is suspect ends here. */
  suspectBelow = 0;
  progress: LaneProgress;

  constructor(progress: LaneProgress) {
    this.progress = progress;
  }

  turn({ taken, fence }: Pick<LaneTurn, "taken" | "fence">): void {
    if (taken === "orderly") this.suspectBelow = 0;
    if (taken === "vanished") this.suspectBelow = Math.max(this.suspectBelow, this.cursor);
    if (taken !== undefined) this.cursor = 0;
    this.fence = fence ?? 0;
  }

  encode(): Buffer {
    const progress = this.progress.encode();
    const { fence, cursor, suspectBelow } = this;
    return new ByteWriter().u8(format).whole(fence).whole(cursor).whole(suspectBelow).bytes(progress).done();
  }

  static decode(bytes: Uint8Array): LaneState {
    const reader = new ByteReader(bytes, "a lane");
    if (reader.u8() !== format) throw reader.corrupt();
    const [fence, cursor, suspectBelow] = [reader.whole(), reader.whole(), reader.whole()];
    const state = new LaneState(LaneProgress.decode(reader.bytes()));
    reader.end();
    return Object.assign(state, { fence, cursor, suspectBelow });
  }
}
