import { TenonError } from "../../contracts/errors.ts";
import type {
  Batch,
  JoinOptions,
  LaneCommit,
  LaneDescription,
  Membership,
  MessageCapabilities,
  MessageEngine,
  SeekTarget,
  TopicDeclaration,
  TopicDescription,
} from "../../contracts/messages.ts";
import { type CheckedBatch, checkBatch } from "./appends.ts";
import { Catalogue, type Group, type Topic } from "./catalogue.ts";
import type { Core } from "./core.ts";
import { Reader, stringBytes, Writer } from "./cursor.ts";
import { DelayedMessages } from "./delayed-messages.ts";
import { IdWindow } from "./id-window.ts";
import { type Journal, offsetOf, segmentOf } from "./journal/journal.ts";
import { LaneOwner } from "./lane-owner.ts";
import { type Lane, laneCommitBytes, writeHeld } from "./lanes.ts";
import { GroupMembers } from "./memberships.ts";
import { MessageIndex, recordPosition } from "./message-index.ts";
import {
  messageBytes,
  type RunHeader,
  readMessageId,
  readRunHeader,
  runHeaderBytes,
  writeMessage,
  writeRunHeader,
} from "./message-run.ts";
import { Producers } from "./producers.ts";
import { type Queue, Queues } from "./queues.ts";
import { recordKind } from "./records.ts";

interface ActiveId {
  readonly topic: number;
  readonly id: string;
  readonly offset: number;
  readonly at: number;
}

const partitionsMax = 1_024;
const nameBytesMax = 512;

/** The messages: topics, queues, lanes, delays and producers as functions of the journal, and the contract on top. */
export class MessageStore implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly core: Core;
  readonly catalogue = new Catalogue();
  readonly queues = new Queues();
  readonly index: MessageIndex;
  readonly producers = new Producers();
  readonly ids = new IdWindow();
  readonly delayed: DelayedMessages;
  readonly #retentionMs: number;
  readonly #members = new Map<Group, GroupMembers>();
  /** The ids that the active segment stores, for its footer. */
  #activeIds: ActiveId[] = [];

  constructor(core: Core, survives: MessageCapabilities["survives"], retentionMs: number) {
    this.core = core;
    this.#retentionMs = retentionMs;
    this.index = new MessageIndex({ readFooterPart: (...part) => core.journal.readFooterPart(...part) });
    this.delayed = new DelayedMessages(core, {
      queue: (id) => this.catalogue.queue(id),
      release: (...delayed) => this.#release(...delayed),
    });
    this.capabilities = {
      survives,
      deduplicate: "id",
      delay: true,
      delayLatenessMs: 1_000,
      replay: true,
      fence: true,
      orderAfterCrash: true,
      atomic: true,
      messageBytesMax: 4 * 1024 * 1024,
      keyBytesMax: 65_535,
      partitionsMax,
    };
  }

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    this.core.throwIfClosed();
    const { partitions } = declaration;
    checkName("topic", name);
    for (const group of declaration.groups ?? []) checkName("group", group);
    if (!(Number.isInteger(partitions) && partitions >= 1 && partitions <= partitionsMax)) {
      throw new TenonError("invalid", `topic ${name} needs 1 to ${partitionsMax} partitions, not ${partitions}`);
    }
    const topic = this.catalogue.topics.get(name) ?? this.#declareTopic(name, declaration);
    if (topic.queues.length !== partitions) {
      const message = `topic ${name} has ${topic.queues.length} partitions, not ${partitions}; the count is fixed when a topic is declared first`;
      throw new TenonError("conflict", message, { fields: { topic: name, partitions: topic.queues.length } });
    }
    for (const group of declaration.groups ?? []) {
      if (!topic.groups.has(group)) this.#declareGroup(topic, group, nexts(topic));
    }
    const batch = Math.max(topic.batch, ...[...topic.groups.values()].map((group) => group.batch));
    if (batch > this.core.journal.durableBatch) await this.core.journal.durable();
  }

  async topics(): Promise<readonly string[]> {
    this.core.throwIfClosed();
    return [...this.catalogue.topics.keys()].sort();
  }

  async describe(name: string): Promise<TopicDescription> {
    this.core.throwIfClosed();
    const topic = this.#topic(name);
    const groups = [...topic.groups.values()].map(async (group) => ({
      group: group.name,
      members: this.#members.get(group)?.size ?? 0,
      lanes: await Promise.all(group.lanes.map((lane) => this.#describeLane(lane))),
    }));
    return {
      topic: name,
      partitions: topic.queues.map((queue) => ({
        first: BigInt(this.index.firstOffset(queue)),
        next: BigInt(queue.visible),
      })),
      groups: await Promise.all(groups),
      delayedCount: this.delayed.countOf(topic),
    };
  }

  async #describeLane(lane: Lane): Promise<LaneDescription> {
    const lag = lane.lag;
    const low = BigInt(lane.settled.low);
    const held = lane.held.size;
    const oldestPublishedAt = lag === 0 ? undefined : await this.#publishedAt(lane.queue, lane.settled.low);
    return { low, lag, held, oldestPublishedAt };
  }

  async #publishedAt(queue: Queue, offset: number): Promise<number | undefined> {
    const location = await this.index.locate(queue, offset);
    if (location === undefined) return undefined;
    return readRunHeader(new Reader(await this.core.journal.read(recordPosition(location)))).publishedAt;
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    try {
      this.core.throwIfClosed();
      const checked = this.#check(batch);
      const known = this.#known(checked);
      if (known === undefined) this.core.throwIfFull(`publishing to topic ${batch.topic}`);
      if (known === undefined) this.core.journal.ensureRoom(checked.bytes + 1_024, batch.messages.length + 1);
      const positions = known ?? this.#append(checked);
      return this.core.journal.durable().then(() => positions);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #check(batch: Batch): CheckedBatch {
    const queue = this.#topic(batch.topic).queues[batch.partition];
    if (queue !== undefined) return checkBatch(batch, queue, this.capabilities);
    const count = this.#topic(batch.topic).queues.length;
    throw new TenonError(
      "invalid",
      `topic ${batch.topic} has no partition ${batch.partition}; it has 0 to ${count - 1}`,
    );
  }

  /** The positions of a batch that its producer repeats. */
  #known({ batch, queue }: CheckedBatch): (bigint | undefined)[] | undefined {
    if (batch.producer === undefined) return undefined;
    const known = this.producers.check(batch.producer, queue.topic.id, queue.id, batch.messages.length);
    if (known === undefined) return undefined;
    return batch.messages.map((_, i) => {
      const offset = known.offsets === undefined ? known.first + i : known.offsets[i]!;
      return offset < 0 ? undefined : BigInt(offset);
    });
  }

  /** Writes a checked batch whose producer, if any, says it is new. Synchronous: all of its records are in one journal batch. */
  #append(checked: CheckedBatch): (bigint | undefined)[] {
    const { batch, queue } = checked;
    const now = this.core.world.clock.now();
    if (checked.special) return this.#appendSpecial(checked, now);
    const first = queue.next;
    const count = batch.messages.length;
    const producer = batch.producer && { ...batch.producer, count, offsets: undefined };
    this.#writeRun(queue, { first, count, now, producer, source: undefined, moved: false }, checked);
    const positions: bigint[] = new Array(count);
    for (let i = 0; i < count; i++) positions[i] = BigInt(first + i);
    return positions;
  }

  /** Some messages have ids, of which some may be known, and some are delayed. */
  #appendSpecial(checked: CheckedBatch, now: number): (bigint | undefined)[] {
    const { batch, queue } = checked;
    const topic = queue.topic.id;
    const first = queue.next;
    const offsets: number[] = [];
    const indexes: number[] = [];
    const fresh = new Map<string, number>();
    for (let i = 0; i < batch.messages.length; i++) {
      const { id, dueAt } = batch.messages[i]!;
      const known = id === undefined ? undefined : (fresh.get(id) ?? this.ids.find(topic, id, now));
      const offset = known ?? (dueAt !== undefined && dueAt > now ? -1 : first + indexes.length);
      offsets.push(offset);
      if (known !== undefined) continue;
      if (id !== undefined) fresh.set(id, offset);
      if (offset >= 0) indexes.push(i);
      else this.delayed.write(queue, batch.messages[i]!, checked.headers?.[i]);
    }
    for (const [id, offset] of fresh) this.noteId(topic, id, offset, now);
    const count = indexes.length;
    const producer = batch.producer && { ...batch.producer, count: offsets.length, offsets };
    if (count > 0 || producer !== undefined) {
      const messages = indexes.map((i) => batch.messages[i]!);
      const headers = checked.headers && indexes.map((i) => checked.headers![i]);
      this.#writeRun(
        queue,
        { first, count, now, producer, source: undefined, moved: false },
        { batch: { messages }, headers, bytes: -1 },
      );
    }
    return offsets.map((offset) => (offset < 0 ? undefined : BigInt(offset)));
  }

  #writeRun(
    queue: Queue,
    run: Pick<RunHeader, "first" | "count" | "producer" | "source" | "moved"> & { readonly now: number },
    content: Pick<CheckedBatch, "headers" | "bytes"> & { readonly batch: Pick<Batch, "messages"> },
  ): void {
    const { headers } = content;
    const messages = content.batch.messages;
    let bytes = content.bytes;
    if (bytes < 0) {
      bytes = 0;
      for (let i = 0; i < messages.length; i++) bytes += messageBytes(messages[i]!, headers?.[i]?.length ?? -1);
    }
    const header: RunHeader = {
      queue: queue.id,
      count: run.count,
      first: run.first,
      publishedAt: run.now,
      moved: run.moved,
      producer: run.producer,
      source: run.source,
    };
    const journal = this.core.journal;
    const start = journal.append(recordKind.run, runHeaderBytes(header) + bytes);
    const buffer = journal.buffer;
    const writer = new Writer(buffer, start);
    writeRunHeader(writer, header);
    let at = writer.at;
    for (let i = 0; i < messages.length; i++) at = writeMessage(buffer, at, messages[i]!, headers?.[i]);
    this.#applyRun(queue, header, journal.position, bytes, journal.batch);
  }

  /** A run's effect on the state, when it is written and when it is replayed. */
  #applyRun(queue: Queue, header: RunHeader, position: number, bytes: number, batch: number): void {
    this.queues.add(queue, header.first, header.count, segmentOf(position), offsetOf(position), bytes);
    if (!header.moved && header.count > 0) this.queues.advance(queue, header.first + header.count, batch);
    if (header.source !== undefined) this.delayed.released(queue, header.source);
    if (header.producer !== undefined) {
      const { sequence, count, offsets } = header.producer;
      this.producers.add(
        header.producer,
        queue.topic.id,
        queue.id,
        { sequence, count, first: header.first, offsets },
        header.publishedAt,
      );
    }
  }

  replayRun(payload: Buffer, position: number): void {
    const reader = new Reader(payload);
    const header = readRunHeader(reader);
    const queue = this.catalogue.queue(header.queue);
    this.#applyRun(queue, header, position, payload.length, 0);
    if (header.moved) return;
    for (let offset = header.first; offset < header.first + header.count; offset++) {
      const id = readMessageId(reader);
      if (id !== undefined) this.noteId(queue.topic.id, id, offset, header.publishedAt);
    }
  }

  /** Writes a message that has become due at its partition's end. */
  #release(queue: Queue, encoded: Buffer, source: number, now: number): void {
    const header: RunHeader = {
      queue: queue.id,
      count: 1,
      first: queue.next,
      publishedAt: now,
      moved: false,
      producer: undefined,
      source,
    };
    this.#writeEncoded(queue, header, [encoded]);
  }

  /** Writes messages of a segment that is going away anew, at their own offsets. */
  move(queue: Queue, first: number, publishedAt: number, encoded: readonly Buffer[]): void {
    const count = encoded.length;
    const header: RunHeader = {
      queue: queue.id,
      count,
      first,
      publishedAt,
      moved: true,
      producer: undefined,
      source: undefined,
    };
    this.#writeEncoded(queue, header, encoded);
  }

  #writeEncoded(queue: Queue, header: RunHeader, encoded: readonly Buffer[]): void {
    const bytes = encoded.reduce((sum, message) => sum + message.length, 0);
    const journal = this.core.journal;
    const start = journal.append(recordKind.run, runHeaderBytes(header) + bytes);
    const writer = new Writer(journal.buffer, start);
    writeRunHeader(writer, header);
    for (const message of encoded) writer.bytes(message);
    this.#applyRun(queue, header, journal.position, bytes, journal.batch);
  }

  noteId(topic: number, id: string, offset: number, now: number): void {
    this.ids.add(topic, id, offset, now);
    this.#activeIds.push({ topic, id, offset, at: now });
  }

  takeActiveIds(): readonly ActiveId[] {
    const ids = this.#activeIds;
    this.#activeIds = [];
    return ids;
  }

  async join(topicName: string, groupName: string, options: JoinOptions): Promise<Membership> {
    this.core.throwIfClosed();
    checkName("group", groupName);
    checkJoin(options);
    const topic = this.#topic(topicName);
    let group = topic.groups.get(groupName);
    if (group === undefined) {
      const starts = await this.#starts(topic, options.from ?? "now");
      this.core.throwIfClosed();
      group = topic.groups.get(groupName) ?? this.#declareGroup(topic, groupName, starts);
    }
    if (group.batch > this.core.journal.durableBatch) await this.core.journal.durable();
    this.core.throwIfClosed();
    let members = this.#members.get(group);
    if (members === undefined) {
      const grants = {
        grant: (lane: Lane, join: JoinOptions) => this.#grant(lane, join),
        released: (lane: Lane) => this.#released(lane),
      };
      members = new GroupMembers(group, grants, this.core.world.timers);
      this.#members.set(group, members);
    }
    return members.join(options);
  }

  async #grant(lane: Lane, options: JoinOptions): Promise<LaneOwner> {
    this.core.throwIfClosed();
    lane.fence += 1;
    lane.granted = true;
    this.#writeGrant(recordKind.laneGranted, lane);
    await this.core.journal.durable();
    return new LaneOwner(
      lane,
      {
        index: this.index,
        read: (position) => this.core.journal.read(position),
        commit: (owner, change) => this.#commit(owner, change),
        release: (owner) => this.#releaseLane(owner),
      },
      options.windowMax,
    );
  }

  replayGrant(payload: Buffer, granted: boolean): void {
    const reader = new Reader(payload);
    const lane = this.catalogue.lane(reader.u32());
    lane.fence = reader.f64();
    lane.granted = granted;
    if (!granted) lane.suspectBelow = 0;
  }

  #released(lane: Lane): void {
    lane.granted = false;
    lane.suspectBelow = 0;
    if (this.core.closed) return;
    this.#writeGrant(recordKind.laneReleased, lane);
    this.core.flush();
  }

  #writeGrant(kind: number, lane: Lane): void {
    const at = this.core.journal.append(kind, 12);
    new Writer(this.core.journal.buffer, at).u32(lane.id).f64(lane.fence);
  }

  async #releaseLane(owner: LaneOwner): Promise<void> {
    if (owner.ended) return;
    owner.ended = true;
    owner.wake();
    this.#members.get(owner.lane.group)?.ended(owner.lane, true);
  }

  #commit(owner: LaneOwner, change: LaneCommit): Promise<void> {
    try {
      this.core.throwIfClosed();
      owner.throwIfEnded();
      const appends = (change.appends ?? []).map((batch) => this.#check(batch));
      const fresh = appends.filter((checked) => this.#known(checked) === undefined);
      const settled = this.#offsets(owner.lane, change.settled);
      const held = (change.held ?? []).filter((entry) => Number(entry.position) >= owner.lane.settled.low);
      const bytes = laneCommitBytes(settled.length, held.length);
      let total = bytes;
      let records = 1;
      for (const checked of fresh) {
        total += checked.bytes + 1_024;
        records += checked.batch.messages.length + 1;
      }
      this.core.journal.ensureRoom(total, records);
      for (const checked of fresh) this.#append(checked);
      this.#writeCommit(owner.lane, settled, held, bytes);
      if (change.settled.length > 0) owner.wake();
      return this.core.journal.durable();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** The positions to settle, as numbers, less those that are settled already. */
  #offsets(lane: Lane, positions: readonly bigint[]): number[] {
    const offsets: number[] = [];
    for (let i = 0; i < positions.length; i++) {
      const offset = Number(positions[i]!);
      if (offset >= lane.queue.visible || offset < 0) {
        throw new TenonError(
          "invalid",
          `position ${offset} of topic ${lane.group.topic.name}/${lane.queue.partition} does not exist; settle what was fetched`,
        );
      }
      if (offset >= lane.settled.low) offsets.push(offset);
    }
    return offsets;
  }

  #writeCommit(lane: Lane, settled: readonly number[], held: NonNullable<LaneCommit["held"]>, bytes: number): void {
    const journal = this.core.journal;
    const base = lane.settled.low;
    const start = journal.append(recordKind.laneCommit, bytes);
    const buffer = journal.buffer;
    const writer = new Writer(buffer, start);
    writer.u32(lane.id).f64(lane.fence).f64(base).u32(settled.length).u32(held.length);
    let at = writer.at;
    for (let i = 0; i < settled.length; i++) {
      at = buffer.writeUInt32LE(settled[i]! - base, at);
      lane.settle(settled[i]!);
    }
    writer.at = at;
    for (const { position, failures, deliveries, dueAt } of held) {
      const entry = { failures, deliveries, dueAt };
      writeHeld(writer, base, Number(position), entry);
      lane.hold(Number(position), entry);
    }
  }

  async seek(topicName: string, groupName: string, to: SeekTarget): Promise<void> {
    this.core.throwIfClosed();
    const topic = this.#topic(topicName);
    const group = topic.groups.get(groupName);
    if (group === undefined) {
      throw new TenonError("not-found", `topic ${topicName} has no group ${groupName}; declare it or consume first`);
    }
    const starts = await this.#starts(topic, to, group);
    this.core.throwIfClosed();
    for (const lane of group.lanes) {
      lane.seek(starts[lane.queue.partition]!);
      const at = this.core.journal.append(recordKind.laneSeek, 12);
      new Writer(this.core.journal.buffer, at).u32(lane.id).f64(lane.settled.low);
    }
    this.#members
      .get(group)
      ?.takeAll(new TenonError("lost", `group ${groupName} of topic ${topicName} was moved to another position`));
    for (const lane of group.lanes) lane.suspectBelow = 0;
    await this.core.journal.durable();
  }

  replaySeek(payload: Buffer): void {
    const reader = new Reader(payload);
    this.catalogue.lane(reader.u32()).seek(reader.f64());
  }

  /** The offset to start from, by partition. */
  async #starts(topic: Topic, target: SeekTarget, group?: Group): Promise<number[]> {
    return Promise.all(
      topic.queues.map(async (queue) => {
        const first = this.index.firstOffset(queue);
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
    let from = this.index.firstOffset(queue);
    let to = queue.visible;
    while (from < to) {
      const middle = Math.floor((from + to) / 2);
      const publishedAt = await this.#publishedAt(queue, middle);
      if (publishedAt === undefined || publishedAt >= at) to = middle;
      else from = middle + 1;
    }
    return from;
  }

  #topic(name: string): Topic {
    const topic = this.catalogue.topics.get(name);
    if (topic !== undefined) return topic;
    throw new TenonError("not-found", `topic ${name} was never declared; declare it first`, {
      fields: { topic: name },
    });
  }

  #declareTopic(name: string, { partitions, retentionMs = this.#retentionMs }: TopicDeclaration): Topic {
    this.core.throwIfFull(`declaring topic ${name}`);
    this.appendTopic(this.core.journal, name, partitions, retentionMs);
    return this.catalogue.addTopic(name, partitions, retentionMs, this.core.journal.batch);
  }

  appendTopic(journal: Journal, name: string, partitions: number, retentionMs: number): void {
    const at = journal.append(recordKind.topic, stringBytes(name) + 4 + 8);
    new Writer(journal.buffer, at).string(name).u32(partitions).f64(retentionMs);
  }

  replayTopic(payload: Buffer): void {
    const reader = new Reader(payload);
    this.catalogue.addTopic(reader.string(), reader.u32(), reader.f64(), 0);
  }

  #declareGroup(topic: Topic, name: string, starts: readonly number[]): Group {
    this.appendGroup(this.core.journal, topic, name, starts);
    return this.catalogue.addGroup(topic, name, starts, this.core.journal.batch);
  }

  appendGroup(journal: Journal, topic: Topic, name: string, starts: readonly number[]): void {
    const at = journal.append(recordKind.group, stringBytes(topic.name) + stringBytes(name) + 8 * starts.length);
    const writer = new Writer(journal.buffer, at).string(topic.name).string(name);
    for (const start of starts) writer.f64(start);
  }

  replayGroup(payload: Buffer): void {
    const reader = new Reader(payload);
    const topicName = reader.string();
    const topic = this.catalogue.topics.get(topicName);
    if (topic === undefined) throw new RangeError(`a group of the unknown topic ${topicName}`);
    const name = reader.string();
    this.catalogue.addGroup(
      topic,
      name,
      topic.queues.map(() => reader.f64()),
      0,
    );
  }

  /** Releases every lane in order; what is written here goes out with the journal's close. */
  releaseAll(): void {
    for (const lane of this.catalogue.lanes) {
      if (!lane.granted) continue;
      lane.granted = false;
      this.#writeGrant(recordKind.laneReleased, lane);
    }
  }

  close(reason: TenonError): void {
    this.delayed.close();
    for (const members of this.#members.values()) members.close(reason);
  }
}

function nexts(topic: Topic): number[] {
  return topic.queues.map((queue) => queue.next);
}

function checkName(what: string, name: string): void {
  if (name.length > 0 && Buffer.byteLength(name) <= nameBytesMax) return;
  throw new TenonError("invalid", `a ${what} name needs 1 to ${nameBytesMax} bytes, not ${Buffer.byteLength(name)}`);
}

function checkJoin({ sessionMs, revokeMs, windowMax }: JoinOptions): void {
  if (sessionMs > 0 && revokeMs >= 0 && Number.isInteger(windowMax) && windowMax >= 1) return;
  throw new TenonError("invalid", "joining a group needs sessionMs > 0, revokeMs ≥ 0 and a whole windowMax ≥ 1");
}
