import { GroupState } from "../../lanes/group-state.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";

/** A group as one value: its state, and the fence that was given last. */
export class GroupRecord {
  readonly state: GroupState;
  #fence: number;

  constructor(state: GroupState, fence = 0) {
    this.state = state;
    this.#fence = fence;
  }

  /** Brings lanes to where they belong. */
  balance(now: number): void {
    const wanted = this.state.balance(now);
    if (wanted > 0) this.state.grant(Array.from({ length: wanted }, () => ++this.#fence));
    // Lanes learn of their new owner when it opens them.
    this.state.takeTurns();
  }

  encode(): Buffer {
    return new ByteWriter().whole(this.#fence).bytes(this.state.encode()).done();
  }

  static decode(bytes: Uint8Array): GroupRecord {
    const reader = new ByteReader(bytes, "a group's record");
    const fence = reader.whole();
    const record = new GroupRecord(GroupState.decode(reader.bytes()), fence);
    reader.end();
    return record;
  }
}
