import type { World } from "../../../world/world.ts";
import type { JetStream } from "../jet-stream.ts";
import type { ServerClock } from "../server-clock.ts";
import { type StateStore, valueNames } from "../state-store.ts";
import type { Streams } from "../streams.ts";
import type { LaneValues } from "./lane-values.ts";
import { subjectOf } from "./partition-chain.ts";
import type { Positions } from "./positions.ts";
import { retentionOf } from "./topic-record.ts";
import { partitionsOf, type Topic, type Topics } from "./topics.ts";

/** A partition that is being settled is looked at so often. */
const everyMs = 500;
const rememberedMax = 20_000;

export interface KeeperParts {
  readonly world: World;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly state: StateStore;
  readonly clock: ServerClock;
  readonly topics: Topics;
  readonly lanes: LaneValues;
  readonly positions: Positions;
}

/** Gives back what every group has settled and the retention does not keep, and appends what is due where somebody looks. */
export class PartitionKeeper {
  readonly #parts: KeeperParts;
  /** Removes groups whose members' sessions have ended. */
  endGroups: (topic: Topic) => Promise<unknown> = async () => undefined;
  readonly #looked = new Map<string, number>();
  /** By partition, below which sequence nothing is left. */
  readonly #purged = new Map<string, number>();

  constructor(parts: KeeperParts) {
    this.#parts = parts;
  }

  /** Something of the partition was settled, or appended without anybody to settle it: now and then it is trimmed. */
  note(topic: Topic, partition: number): void {
    const now = this.#parts.world.clock.monotonic();
    const key = `${topic.id}/${partition}`;
    // Of topics that are long gone nothing needs to be known.
    if (this.#looked.size > rememberedMax) this.#looked.clear();
    if (this.#purged.size > rememberedMax) this.#purged.clear();
    if (now - (this.#looked.get(key) ?? Number.NEGATIVE_INFINITY) < everyMs) return;
    this.#looked.set(key, now);
    this.endGroups(topic)
      .then(() => this.trim(topic, partition))
      .catch(() => undefined);
  }

  /**
   * What is looked at first is older than what is looked at later: so a group that is declared meanwhile loses nothing that was appended after its declaration. The last run stays, as it says all that is known
   * of the partition.
   */
  async trim(topic: Topic, partition: number): Promise<void> {
    const { state, clock, topics, positions, jetStream, streams } = this.#parts;
    const last = await topic.chain(partition).look();
    const found = await topics.places.recordOf(topic);
    if (last === undefined || found === undefined) return;
    await clock.ready();
    const settled = await this.#settledBelow(topic, partition, found.record.groups);
    const next = last.head.first + last.head.count;
    const below = Math.min(next, settled?.position ?? next);
    const { trim, revision } = await positions.trimOf(topic, partition);
    const retentionMs = retentionOf(found.record);
    const passed = retentionMs > 0 ? Math.min(below, trim.retention.note(below, retentionMs, clock.earliest)) : below;
    if (passed > trim.first || retentionMs > 0) {
      trim.first = Math.max(trim.first, passed);
      const name = valueNames.partition(topic.id, partition);
      if ((await state.write("trimming a partition", name, trim.encode(), revision)) === undefined) return;
    }
    const sequence =
      settled !== undefined && trim.first === settled.position
        ? settled.sequence
        : trim.first === next
          ? last.sequence
          : await positions.sequenceOf(topic.id, partition, trim.first, last.sequence);
    const key = `${topic.id}/${partition}`;
    const purgeable = Math.min(sequence, last.sequence);
    if (purgeable <= (this.#purged.get(key) ?? 0)) return;
    await jetStream.purge("trimming a partition", streams.runs, subjectOf(streams, topic.id, partition), purgeable);
    this.#purged.set(key, purgeable);
  }

  /** The lowest of the groups' lanes; `undefined` without groups. */
  async #settledBelow(
    topic: Topic,
    partition: number,
    groups: readonly { readonly id: number }[],
  ): Promise<{ readonly position: number; readonly sequence: number } | undefined> {
    const read = await Promise.all(groups.map(({ id }) => this.#parts.lanes.read(topic.id, id, partition)));
    let lowest: { position: number; sequence: number } | undefined;
    for (const lane of read) {
      // The group was removed meanwhile.
      if (lane === undefined) continue;
      const position = lane.value.state.progress.low;
      if (lowest === undefined || position < lowest.position) lowest = { position, sequence: lane.value.lowSequence };
    }
    return lowest;
  }

  /** Brings every partition to what it should be now. */
  async tidy(topic: Topic): Promise<void> {
    const partitions = partitionsOf(topic);
    await Promise.all(
      partitions.map(async (partition) => {
        await this.releaseDue(topic, partition);
        await this.trim(topic, partition);
      }),
    );
  }

  /** All that is due by now. */
  async releaseDue(topic: Topic, partition: number): Promise<void> {
    const { clock } = this.#parts;
    const chain = topic.chain(partition);
    for (;;) {
      const last = await chain.look();
      await clock.ready();
      if (last === undefined || last.head.dueAt < 0 || last.head.dueAt > clock.earliest) return;
      if (!(await chain.releaseDue())) return;
    }
  }
}
