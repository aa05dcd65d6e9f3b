import type { ByteReader, ByteWriter } from "../../lanes/index.ts";
import { GroupState, LaneProgress, LaneState } from "../../lanes/index.ts";
import { type CommitCommand, heldOf } from "./commands.ts";

/** Nobody writes down how far an owner fetched; who opens the lane knows that it was not beyond the window and the end. */
const unknownCursor = Number.MAX_SAFE_INTEGER;

export interface JournaledLane {
  readonly state: LaneState;
  /** Of the last commit under this grant. */
  revision: number;
}

/** A group of a topic with its lanes, by partition. */
export class JournaledGroup {
  readonly number: number;
  readonly name: string;
  readonly state: GroupState;
  readonly lanes: readonly JournaledLane[];
  /** The largest window that a member brought: nobody has fetched further beyond a lane's lowest unsettled message. */
  windowMax = 0;

  constructor(number: number, name: string, state: GroupState, lanes: readonly JournaledLane[]) {
    this.number = number;
    this.name = name;
    this.state = state;
    this.lanes = lanes;
  }

  static starting(number: number, name: string, starts: readonly number[]): JournaledGroup {
    const lanes = starts.map((start) => ({ state: new LaneState(new LaneProgress(start)), revision: 0 }));
    return new JournaledGroup(number, name, new GroupState(starts.length), lanes);
  }

  /** Brings lanes to where they belong at `now`. Answers whether any moved or was asked back. */
  balance(now: number, nextFence: () => number): boolean {
    const count = this.state.balance(now);
    this.state.grant(Array.from({ length: count }, nextFence));
    for (const turn of this.state.takeTurns()) {
      const lane = this.lanes[turn.partition]!;
      lane.state.turn(turn);
      lane.revision = 0;
      if (turn.fence !== undefined) lane.state.cursor = unknownCursor;
    }
    return this.state.takeMoved();
  }

  /** The lowest unsettled position; `undefined` when the grant is superseded. */
  commit({ partition, fence, revision, from, to, held }: CommitCommand): number | undefined {
    const lane = this.lanes[partition];
    if (lane === undefined || lane.state.fence !== fence || fence === 0) return undefined;
    const { progress } = lane.state;
    if (revision > lane.revision) {
      lane.revision = revision;
      progress.apply({ settled: { from, to }, held: held.map(heldOf) });
    }
    return progress.low;
  }

  seek(starts: readonly (number | null)[], first: readonly number[]): void {
    for (const [partition, { state }] of this.lanes.entries()) {
      const start = starts[partition] ?? undefined;
      state.progress.moveTo(start === undefined ? undefined : Math.max(start, first[partition]!));
    }
    this.state.takeAll();
  }

  encode(writer: ByteWriter): void {
    writer.whole(this.number).text(this.name).whole(this.windowMax).bytes(this.state.encode());
    for (const { state, revision } of this.lanes) writer.bytes(state.encode()).whole(revision);
  }

  static decode(reader: ByteReader, partitions: number): JournaledGroup {
    const [number, name, windowMax] = [reader.whole(), reader.text(), reader.whole()];
    const state = GroupState.decode(reader.bytes());
    const lanes: JournaledLane[] = [];
    while (lanes.length < partitions) lanes.push({ state: LaneState.decode(reader.bytes()), revision: reader.whole() });
    const group = new JournaledGroup(number, name, state, lanes);
    group.windowMax = windowMax;
    return group;
  }
}
