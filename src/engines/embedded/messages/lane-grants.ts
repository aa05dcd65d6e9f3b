import { TenonError } from "../../../contracts/errors.ts";
import type {
  Batch,
  Held,
  JoinOptions,
  LaneCommit,
  Membership,
  Positions,
  SeekTarget,
} from "../../../contracts/messages.ts";
import { checkName } from "../../../contracts/topic-declarations.ts";
import { Writer } from "../cursor.ts";
import { recordKind } from "../records.ts";
import type { Appends } from "./appends.ts";
import type { Group, Topic } from "./catalogue.ts";
import { LaneOwner } from "./lane-owner.ts";
import { type Lane, laneCommitBytes, writeHeld } from "./lanes.ts";
import { GroupMembers } from "./memberships.ts";
import type { MessageStore } from "./message-store.ts";
import type { Queue } from "./queues.ts";

/** Who owns which lane, and what owners do with them: grants, commits, releases, seeks. */
export class LaneGrants {
  readonly #store: MessageStore;
  readonly #appends: Appends;
  readonly #members = new Map<Group, GroupMembers>();

  constructor(store: MessageStore, appends: Appends) {
    this.#store = store;
    this.#appends = appends;
  }

  memberCount(group: Group): number {
    return this.#members.get(group)?.size ?? 0;
  }

  async join(topicName: string, groupName: string, options: JoinOptions): Promise<Membership> {
    this.#store.core.throwIfClosed();
    checkName("group", groupName);
    const group = await this.#joined(this.#store.topic(topicName), groupName, options);
    let members = this.#members.get(group);
    if (members === undefined) {
      const grants = {
        grant: (lane: Lane, join: JoinOptions) => this.#grant(lane, join),
        released: (lane: Lane) => this.#released(lane),
        left: () => this.#left(group),
      };
      members = new GroupMembers(group, grants, this.#store.core.world.timers);
      this.#members.set(group, members);
    }
    return members.join(options);
  }

  /** The group, which is there and durable; made when it was not. */
  async #joined(topic: Topic, name: string, options: JoinOptions): Promise<Group> {
    const ephemeral = options.ephemeral === true;
    if (options.from !== undefined) checkTarget(topic, options.from);
    let group = topic.groups.get(name);
    if (group === undefined) {
      const starts = await this.#starts(topic, options.from ?? "now");
      this.#store.core.throwIfClosed();
      throwIfRemoved(topic);
      group = topic.groups.get(name);
      if (group === undefined) return this.#durable(this.#store.declareGroup(topic, name, starts, ephemeral));
    }
    if (ephemeral || group.ephemeral) throw groupTaken(group);
    return this.#durable(group);
  }

  async #durable(group: Group): Promise<Group> {
    if (group.batch > this.#store.core.journal.durableBatch) await this.#store.core.journal.durable();
    this.#store.core.throwIfClosed();
    throwIfRemoved(group.topic, group);
    return group;
  }

  async #grant(lane: Lane, options: JoinOptions): Promise<LaneOwner> {
    this.#store.core.throwIfClosed();
    lane.fence += 1;
    lane.granted = true;
    this.#writeGrant(recordKind.laneGranted, lane);
    await this.#store.core.journal.durable();
    return new LaneOwner(
      lane,
      {
        index: this.#store.index,
        read: (position) => this.#store.core.journal.read(position),
        commit: (owner, change) => this.#commit(owner, change),
        release: (owner) => this.#releaseLane(owner),
      },
      options.windowMax,
    );
  }

  #released(lane: Lane): void {
    lane.granted = false;
    lane.suspectBelow = 0;
    if (this.#store.core.closed || lane.group.removed) return;
    this.#writeGrant(recordKind.laneReleased, lane);
    this.#store.core.flush();
  }

  /** A member has left; an ephemeral group goes with it. */
  async #left(group: Group): Promise<void> {
    if (!group.ephemeral || group.removed || this.#store.core.closed) return;
    await this.removeGroup(group);
  }

  async removeTopic(topic: Topic): Promise<void> {
    const groups = [...topic.groups.values()];
    this.#store.removeTopic(topic);
    for (const group of groups) this.#end(group);
    await this.#store.core.journal.durable();
  }

  async removeGroup(group: Group): Promise<void> {
    this.#store.removeGroup(group);
    this.#end(group);
    await this.#store.core.journal.durable();
  }

  #end(group: Group): void {
    const members = this.#members.get(group);
    this.#members.delete(group);
    members?.end(removed(group.topic, group));
  }

  #writeGrant(kind: number, lane: Lane): void {
    const at = this.#store.core.journal.append(kind, 12);
    new Writer(this.#store.core.journal.buffer, at).u32(lane.id).f64(lane.fence);
  }

  async #releaseLane(owner: LaneOwner): Promise<void> {
    if (owner.ended) return;
    owner.ended = true;
    owner.wake();
    this.#members.get(owner.lane.group)?.ended(owner.lane, true);
  }

  #commit(owner: LaneOwner, change: LaneCommit): Promise<void> {
    try {
      this.#store.core.throwIfClosed();
      owner.throwIfEnded();
      refuseRepeatedProducers(change.appends ?? []);
      const appends = (change.appends ?? []).map((batch) => this.#appends.check(batch));
      const fresh = appends.filter((checked) => this.#appends.known(checked) === undefined);
      const settled = this.#offsets(owner.lane, change.settled);
      const held = this.#holds(owner.lane, change.held ?? []);
      const { low } = owner.lane.settled;
      this.#appends.makeRoom(fresh, laneCommitBytes(settled.length, held.length), 1);
      for (const checked of fresh) this.#appends.write(checked);
      if (owner.lane.settled.low === low) this.#writeCommit(owner.lane, settled, held);
      // To make room for what is appended, messages of this very lane were evicted.
      else this.#writeCommit(owner.lane, this.#offsets(owner.lane, change.settled), this.#holds(owner.lane, held));
      if (change.settled.length > 0) owner.wake();
      return this.#store.core.journal.durable();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The positions to settle, as numbers, less those that are settled already. */
  #offsets(lane: Lane, positions: Positions): number[] {
    const offsets: number[] = [];
    for (let i = 0; i < positions.length; i++) {
      const offset = existing(lane, positions[i]!);
      if (offset >= lane.settled.low) offsets.push(offset);
    }
    return offsets;
  }

  #holds(lane: Lane, held: readonly Held[]): readonly Held[] {
    for (const entry of held) checkHeld(lane, entry);
    return held.filter((entry) => existing(lane, entry.position) >= lane.settled.low);
  }

  #writeCommit(lane: Lane, settled: readonly number[], held: readonly Held[]): void {
    const journal = this.#store.core.journal;
    const base = lane.settled.low;
    const start = journal.append(recordKind.laneCommit, laneCommitBytes(settled.length, held.length));
    for (let i = 0; i < settled.length; i++) lane.settle(settled[i]!);
    lane.queue.settledFrom(base);
    const buffer = journal.buffer;
    const writer = new Writer(buffer, start);
    writer.u32(lane.id).f64(lane.fence).f64(base).f64(lane.settled.low).u32(settled.length).u32(held.length);
    let at = writer.at;
    for (let i = 0; i < settled.length; i++) at = buffer.writeUInt32LE(settled[i]! - base, at);
    writer.at = at;
    for (const { position, failures, deliveries, dueAt } of held) {
      const entry = { failures, deliveries, dueAt };
      writeHeld(writer, base, Number(position), entry);
      lane.hold(Number(position), entry);
    }
  }

  async seek(topicName: string, groupName: string, to: SeekTarget): Promise<void> {
    this.#store.core.throwIfClosed();
    const group = this.#store.group(topicName, groupName);
    const starts = await this.#starts(group.topic, to, group);
    this.#store.core.throwIfClosed();
    throwIfRemoved(group.topic, group);
    this.#store.core.journal.ensureRoom(group.lanes.length * 12, group.lanes.length);
    for (const lane of group.lanes) {
      lane.seek(starts[lane.queue.partition]!);
      const at = this.#store.core.journal.append(recordKind.laneSeek, 12);
      new Writer(this.#store.core.journal.buffer, at).u32(lane.id).f64(lane.settled.low);
      lane.queue.recount();
    }
    this.#members
      .get(group)
      ?.takeAll(new TenonError("lost", `group ${groupName} of topic ${topicName} was moved to another position`));
    for (const lane of group.lanes) lane.suspectBelow = 0;
    await this.#store.core.journal.durable();
  }

  /** The offset to start from, by partition. */
  async #starts(topic: Topic, target: SeekTarget, group?: Group): Promise<number[]> {
    checkTarget(topic, target);
    return Promise.all(
      topic.queues.map(async (queue) => {
        const first = this.#store.index.firstOffset(queue);
        if (target === "now") return queue.next;
        if (target === "earliest") return first;
        if ("at" in target) return this.#offsetAt(queue, target.at);
        const position = target.positions.get(queue.partition);
        if (position === undefined) return group?.lanes[queue.partition]?.settled.low ?? queue.next;
        return Math.min(Math.max(Number(position), first), queue.next);
      }),
    );
  }

  /** The first message published at or after the instant: a binary search over offsets, each step reading a run's header. */
  async #offsetAt(queue: Queue, at: number): Promise<number> {
    let from = this.#store.index.firstOffset(queue);
    let to = queue.visible;
    while (from < to) {
      const middle = Math.floor((from + to) / 2);
      const publishedAt = await this.#store.publishedAt(queue, middle);
      if (publishedAt === undefined || publishedAt >= at) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  /** Releases every lane in order; what is written here goes out with the journal's close. */
  releaseAll(): void {
    for (const lane of this.#store.catalogue.lanes) {
      // Who lost a lane may still be at work on its messages: they stay suspect.
      if (!lane.granted || lane.owner === undefined) continue;
      lane.granted = false;
      this.#writeGrant(recordKind.laneReleased, lane);
    }
  }

  close(reason: TenonError): void {
    for (const members of this.#members.values()) members.close(reason);
  }
}

function removed(topic: Topic, group: Group | undefined): TenonError {
  const what =
    topic.removed || group === undefined ? `topic ${topic.name}` : `group ${group.name} of topic ${topic.name}`;
  const fields = { topic: topic.name, ...(group && { group: group.name }) };
  return new TenonError("not-found", `${what} was removed; declare it anew first`, { fields });
}

function throwIfRemoved(topic: Topic, group?: Group): void {
  if (topic.removed || group?.removed) throw removed(topic, group);
}

/** An ephemeral group is made by its only member. */
export function groupTaken({ name, topic, ephemeral }: Group): TenonError {
  const why = ephemeral ? "is ephemeral and belongs to one member" : "is there already, so it cannot be ephemeral";
  const fields = { topic: topic.name, group: name };
  return new TenonError("conflict", `group ${name} of topic ${topic.name} ${why}; take another name`, { fields });
}

function checkTarget(topic: Topic, target: SeekTarget): void {
  if (target === "now" || target === "earliest") return;
  if (typeof target === "object" && target !== null) {
    if ("at" in target && Number.isFinite(target.at)) return;
    if ("positions" in target && target.positions instanceof Map) return;
  }
  const allowed = '"now", "earliest", { at: an instant in ms } or { positions: a Map by partition }';
  throw new TenonError("invalid", `a group of topic ${topic.name} cannot start there; give ${allowed}`);
}

function checkHeld(lane: Lane, { failures, deliveries, dueAt }: Held): void {
  if (isCount(failures) && isCount(deliveries) && Number.isFinite(dueAt)) return;
  const place = `topic ${lane.group.topic.name}/${lane.queue.partition}`;
  throw new TenonError(
    "invalid",
    `a held entry of ${place} needs whole failures and deliveries ≥ 0 and an instant dueAt`,
  );
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

/** Each batch is checked against what is stored, so two of one producer would not see each other. */
function refuseRepeatedProducers(batches: readonly Batch[]): void {
  const marks = batches.flatMap(({ topic, partition, producer }) =>
    producer === undefined ? [] : [JSON.stringify([topic, partition, producer.id])],
  );
  if (new Set(marks).size === marks.length) return;
  throw new TenonError("invalid", "a lane's commit holds two batches of one producer and partition; merge them");
}

/** A position as an offset; `invalid` when no message of the lane has it. */
function existing(lane: Lane, position: bigint): number {
  const offset = Number(position);
  if (offset < lane.queue.visible && offset >= 0) return offset;
  const place = `topic ${lane.group.topic.name}/${lane.queue.partition}`;
  throw new TenonError("invalid", `position ${position} of ${place} does not exist; commit what was fetched`);
}
