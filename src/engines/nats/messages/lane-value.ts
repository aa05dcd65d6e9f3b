import type { LaneProgress } from "../../lanes/lane-progress.ts";
import { LaneState } from "../../lanes/lane-state.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";

const format = 1;

/**
 * A lane as its value holds it. Granting is the group's change, and takes effect with the new owner's first look at the lane: it puts its fence here, and what comes under an older one is refused from then
 * on. An owner that gives the lane back takes its fence away; where the next one still finds it, the former owner vanished.
 */
export class LaneValue {
  readonly state: LaneState;
  /** The highest fence that ever owned it. */
  granted: number;
  /** In the stream of messages, nothing before this sequence is at `low` or beyond. */
  lowSequence: number;

  constructor(state: LaneState, granted: number, lowSequence: number) {
    this.state = state;
    this.granted = granted;
    this.lowSequence = lowSequence;
  }

  /** `false` when another grant has superseded this one, or it was given back. */
  enter(fence: number): boolean {
    if (fence === this.granted) return this.state.fence === fence;
    if (fence < this.granted) return false;
    this.state.turn({ taken: this.state.fence === 0 ? undefined : "vanished", fence });
    this.granted = fence;
    return true;
  }

  /** Nobody owns it until the next grant; nothing that was fetched is suspect. */
  giveBack(): void {
    this.state.turn({ taken: "orderly", fence: undefined });
  }

  encode(): Buffer {
    const writer = new ByteWriter().u8(format).whole(this.granted).whole(this.lowSequence);
    return writer.bytes(this.state.encode()).done();
  }

  static decode(bytes: Uint8Array): LaneValue {
    const reader = new ByteReader(bytes, "a lane");
    if (reader.u8() !== format) throw reader.corrupt();
    const [granted, lowSequence] = [reader.whole(), reader.whole()];
    const value = new LaneValue(LaneState.decode(reader.bytes()), granted, lowSequence);
    reader.end();
    return value;
  }

  static startingAt(progress: LaneProgress, lowSequence: number): LaneValue {
    return new LaneValue(new LaneState(progress), 0, lowSequence);
  }
}
