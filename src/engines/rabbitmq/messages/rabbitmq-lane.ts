import type { Held } from "../../../contracts/messages.ts";
import { positionBeyond } from "../../lanes/errors.ts";
import type { LaneProgress } from "../../lanes/lane-progress.ts";
import {
  type Fetched,
  type FetchRequest,
  type Grant,
  type LaneChange,
  laneNameOf,
  type OpenedLane,
} from "../../lanes/lane-store.ts";
import { Gone } from "../failures.ts";
import type { Appends } from "./appends.ts";
import { Deliveries } from "./deliveries.ts";
import { LaneRecord } from "./lane-record.ts";
import type { MessageParts } from "./parts.ts";
import type { Topic } from "./topics.ts";

export interface LaneParts extends MessageParts {
  readonly appends: Appends;
}

export interface LaneHearing {
  /** There are messages. */
  arrived(): void;
  /** The topic or the group may be gone. */
  gone(): void;
}

/** A lane under one grant. */
export class RabbitmqLane implements OpenedLane {
  readonly low: number;
  readonly suspectBelow: number;
  readonly held: readonly Held[];
  readonly settledEnd: number;
  readonly #parts: LaneParts;
  readonly #topic: Topic;
  readonly #grant: Grant;
  readonly #windowMax: number;
  readonly #before: LaneProgress;
  readonly #deliveries: Deliveries;
  #progress: LaneProgress;

  /** `undefined` when a later grant was opened before. */
  static async open(
    parts: LaneParts,
    topic: Topic,
    grant: Grant,
    windowMax: number,
    hearing: LaneHearing,
  ): Promise<RabbitmqLane | undefined> {
    const { groupNumber, partition, fence } = grant;
    const name = topic.names.lane(groupNumber, partition);
    try {
      const opened = await parts.values.hold(name, "opening a lane", async (value) => {
        const record = LaneRecord.decode(value.bytes);
        const head = () => parts.partitions.hold(topic, partition, "opening a lane", ({ next }) => next);
        if (!record.open(fence, record.state.fence === 0 ? 0 : await head())) return undefined;
        record.state.cursor = record.state.progress.low + windowMax;
        const bytes = record.encode();
        await value.write(bytes);
        return bytes;
      });
      return opened && new RabbitmqLane(parts, topic, grant, windowMax, hearing, opened);
    } catch (error) {
      if (error instanceof Gone) return undefined;
      throw error;
    }
  }

  private constructor(
    parts: LaneParts,
    topic: Topic,
    grant: Grant,
    windowMax: number,
    hearing: LaneHearing,
    bytes: Buffer,
  ) {
    this.#parts = parts;
    this.#topic = topic;
    this.#grant = grant;
    this.#windowMax = windowMax;
    const { state } = LaneRecord.decode(bytes);
    this.#progress = state.progress;
    this.#before = LaneRecord.decode(bytes).state.progress;
    this.low = state.progress.low;
    this.suspectBelow = state.suspectBelow;
    this.held = state.progress.held;
    this.settledEnd = state.progress.end;
    const host = {
      world: parts.world,
      connection: parts.connection,
      name: laneNameOf(grant),
      queue: topic.names.messages(grant.groupNumber, grant.partition),
      isSettled: (position: number) => this.#progress.has(position),
      arrived: () => hearing.arrived(),
      gone: () => hearing.gone(),
    };
    this.#deliveries = new Deliveries(host, this.low);
  }

  get partition(): number {
    return this.#grant.partition;
  }

  wasSettled(position: number): boolean {
    return this.#before.has(position);
  }

  async fetch({ cursor, limit, bytesMax, windowMax }: FetchRequest): Promise<Fetched> {
    const { low } = this.#progress;
    const runs = this.#deliveries.runs({ cursor, limit, bytesMax, end: low + windowMax });
    return { low, next: Math.max(this.#deliveries.seenEnd, low), dueMs: -1, runs };
  }

  async commit(change: LaneChange): Promise<number | undefined> {
    try {
      await this.#checkPositions(change);
      for (const batch of change.appends) await this.#parts.appends.append(batch);
      return await this.#commit(change);
    } catch (error) {
      if (error instanceof Gone) return undefined;
      throw error;
    }
  }

  async #commit({ settled, held }: LaneChange): Promise<number | undefined> {
    const { groupNumber, partition, fence } = this.#grant;
    const name = this.#topic.names.lane(groupNumber, partition);
    const progress = await this.#parts.values.hold(name, "a commit of a lane", async (value) => {
      const record = LaneRecord.decode(value.bytes);
      if (!record.isOwnedUnder(fence)) return undefined;
      const { state } = record;
      state.progress.apply({ settled, held: held.values() });
      state.cursor = state.progress.low + this.#windowMax;
      await value.write(record.encode());
      return state.progress;
    });
    if (progress === undefined) return undefined;
    this.#progress = progress;
    if (settled.to.length > 0) this.#deliveries.acknowledge(Math.max(settled.to.at(-1)!, progress.low));
    return progress.low;
  }

  async #checkPositions({ settled, held }: LaneChange): Promise<void> {
    let last = (settled.to.at(-1) ?? 0) - 1;
    for (const position of held.keys()) last = Math.max(last, position);
    if (last < this.#deliveries.seenEnd) return;
    const { partition } = this.#grant;
    const next = await this.#parts.partitions.hold(this.#topic, partition, "committing", (head) => head.next);
    if (last >= next) throw positionBeyond(laneNameOf(this.#grant), next);
  }

  /** The grant has ended here: what is in hand goes back. */
  end(): void {
    this.#deliveries.end();
  }
}
