import { TenonError } from "../../../contracts/errors.ts";
import type { Batch } from "../../../contracts/messages.ts";
import { packedBytes, packMessage } from "../../lanes/message-format.ts";
import type { Core } from "../core.ts";
import { Reader, Writer } from "../cursor.ts";
import { offsetOf, segmentOf } from "../journal/journal.ts";
import { recordKind } from "../records.ts";
import type { CheckedBatch } from "./appends.ts";
import { Catalogue, type Group, type LogRetention, type Topic, type TopicSettings } from "./catalogue.ts";
import { DelayedMessages } from "./delayed-messages.ts";
import { IdWindow, placeOf } from "./id-window.ts";
import { MessageIndex, recordPosition } from "./message-index.ts";
import { type RunHeader, readMessageId, readRunHeader, runHeaderBytes, writeRunHeader } from "./message-run.ts";
import { Producers } from "./producers.ts";
import { type Queue, Queues } from "./queues.ts";
import {
  appendEviction,
  appendGroup,
  appendLog,
  appendLogRetention,
  appendRemoval,
  appendSettings,
  appendTopic,
  appendTrimming,
} from "./topic-records.ts";

interface ActiveId {
  readonly topic: number;
  readonly id: string;
  readonly place: number;
  readonly at: number;
}

/** The messages as a function of the journal: topics, queues, lanes, delays, producers, ids; what is written and what is replayed. */
export class MessageStore {
  readonly core: Core;
  readonly catalogue = new Catalogue();
  readonly queues = new Queues();
  readonly index: MessageIndex;
  readonly producers = new Producers();
  readonly ids = new IdWindow();
  readonly delayed: DelayedMessages;
  /** The ids that the active segment stores, for its footer. */
  #activeIds: ActiveId[] = [];

  constructor(core: Core) {
    this.core = core;
    this.index = new MessageIndex({ readFooterPart: (...part) => core.journal.readFooterPart(...part) });
    this.delayed = new DelayedMessages(core, {
      queue: (id) => this.catalogue.queue(id),
      findQueue: (id) => this.catalogue.findQueue(id),
      release: (...delayed) => this.#release(...delayed),
      noteId: (queue, id, at) => this.noteId(queue, id, -1, at),
    });
  }

  /** `not-found` when there is none. */
  topic(name: string): Topic {
    const topic = this.catalogue.topics.get(name);
    if (topic !== undefined) return topic;
    throw new TenonError("not-found", `there is no topic ${name}; declare it first`, { fields: { topic: name } });
  }

  /** `not-found` when there is none. */
  group(topicName: string, name: string): Group {
    const group = this.topic(topicName).groups.get(name);
    if (group !== undefined) return group;
    const message = `topic ${topicName} has no group ${name}; declare it or consume first`;
    throw new TenonError("not-found", message, { fields: { topic: topicName, group: name } });
  }

  declareTopic(name: string, partitions: number, settings: TopicSettings): Topic {
    const { journal } = this.core;
    this.catalogue.throwIfNumbered(this.catalogue.nextQueue, partitions);
    appendTopic(journal, { id: this.catalogue.nextQueue, name, settings }, partitions);
    return this.catalogue.addTopic(name, partitions, settings, journal.batch);
  }

  changeTopic(topic: Topic, settings: TopicSettings): void {
    appendSettings(this.core.journal, topic.id, settings);
    topic.settings = settings;
    topic.batch = this.core.journal.batch;
  }

  declareLog(name: string, partitions: number, retention: LogRetention): Topic {
    const { journal } = this.core;
    this.catalogue.throwIfNumbered(this.catalogue.nextQueue, partitions);
    appendLog(journal, { id: this.catalogue.nextQueue, name }, retention, partitions);
    return this.catalogue.addLog(name, partitions, retention, journal.batch);
  }

  changeLog(log: Topic, retention: LogRetention): void {
    appendLogRetention(this.core.journal, log.id, retention);
    log.log = retention;
    log.batch = this.core.journal.batch;
  }

  /** A log's records below are kept no longer. */
  trim(queue: Queue, start: number): void {
    appendTrimming(this.core.journal, queue.id, start);
    queue.start = start;
  }

  replayTrimming(payload: Buffer): void {
    const reader = new Reader(payload);
    this.catalogue.queue(reader.u32()).startAt(reader.f64());
  }

  declareGroup(topic: Topic, name: string, starts: readonly number[], ephemeral = false): Group {
    const { journal } = this.core;
    this.catalogue.throwIfNumbered(this.catalogue.nextLane, topic.queues.length);
    appendGroup(journal, { id: this.catalogue.nextLane, name, topic, ephemeral }, starts);
    return this.catalogue.addGroup(topic, name, starts, { ephemeral, batch: journal.batch });
  }

  /** The oldest messages of a queue are settled for every group; what a full topic does to make room. */
  evict(queue: Queue, below: number): void {
    appendEviction(this.core.journal, queue.id, below);
    this.#applyEviction(queue, below);
    for (const lane of queue.lanes) lane.owner?.wake();
  }

  replayEviction(payload: Buffer): void {
    const reader = new Reader(payload);
    this.#applyEviction(this.catalogue.queue(reader.u32()), reader.f64());
  }

  #applyEviction(queue: Queue, below: number): void {
    if (!(below <= queue.next)) throw new RangeError(`an eviction up to ${below}, beyond the end ${queue.next}`);
    for (const lane of queue.lanes) lane.settleBelow(below);
    queue.recount();
  }

  removeTopic(topic: Topic): void {
    appendRemoval(this.core.journal, "topicRemoved", topic.id);
    this.#forgetTopic(topic);
  }

  removeGroup(group: Group): void {
    appendRemoval(this.core.journal, "groupRemoved", group.id);
    this.catalogue.removeGroup(group);
  }

  replayRemoval(kind: number, payload: Buffer): void {
    const id = new Reader(payload).u32();
    if (kind === recordKind.groupRemoved) this.catalogue.removeGroup(this.catalogue.group(id));
    else this.#forgetTopic(this.catalogue.queue(id).topic);
  }

  #forgetTopic(topic: Topic): void {
    this.catalogue.removeTopic(topic);
    this.queues.removed(topic.queues);
    for (const queue of topic.queues) queue.wakeAll();
    this.producers.forget(topic.id);
    this.delayed.removed(new Set(topic.queues.map((queue) => queue.id)));
  }

  /** When the message at an offset, or the next stored one, was published. */
  async publishedAt(queue: Queue, offset: number): Promise<number | undefined> {
    for (;;) {
      const { generation } = this.index;
      try {
        const location = await this.index.locate(queue, offset);
        if (location === undefined) return undefined;
        return readRunHeader(new Reader(await this.core.journal.read(recordPosition(location)))).publishedAt;
      } catch (error) {
        // A segment was cleaned away meanwhile; what it held and is still kept stands elsewhere now.
        if (generation === this.index.generation) throw error;
      }
    }
  }

  /** Writes messages of a queue as one run. */
  writeRun(
    queue: Queue,
    run: Pick<RunHeader, "first" | "count" | "producer" | "source" | "moved"> & { readonly now: number },
    content: Pick<CheckedBatch, "headers" | "bytes"> & { readonly batch: Pick<Batch, "messages"> },
  ): void {
    const { headers } = content;
    const messages = content.batch.messages;
    let bytes = content.bytes;
    if (bytes < 0) {
      bytes = 0;
      for (let i = 0; i < messages.length; i++) bytes += packedBytes(messages[i]!, headers?.[i]?.length ?? -1);
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
    for (let i = 0; i < messages.length; i++) at = packMessage(buffer, at, messages[i]!, headers?.[i]);
    this.#applyRun(queue, header, journal.position, bytes, journal.batch);
  }

  /** A run's effect on the state, when it is written and when it is replayed. */
  #applyRun(queue: Queue, header: RunHeader, position: number, bytes: number, batch: number): void {
    this.queues.add(queue, header.first, header.count, segmentOf(position), offsetOf(position), bytes);
    if (!header.moved) queue.appendedAt = Math.max(queue.appendedAt, header.publishedAt);
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
      if (id !== undefined) this.noteId(queue, id, offset, header.publishedAt);
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

  /** `offset`: -1 for a delayed message. */
  noteId(queue: Queue, id: string, offset: number, now: number): void {
    const topic = queue.topic.id;
    const place = placeOf(queue.partition, offset);
    this.ids.add(topic, id, place, now);
    this.#activeIds.push({ topic, id, place, at: now });
  }

  takeActiveIds(): readonly ActiveId[] {
    const ids = this.#activeIds;
    this.#activeIds = [];
    return ids;
  }

  /** Replaying is over: what the journal says is durable, and whoever owned a lane is gone. */
  start(): void {
    for (const queue of this.catalogue.queues) {
      queue.visible = queue.next;
      queue.recount();
    }
    for (const lane of this.catalogue.lanes) lane.ownerVanished();
    this.delayed.start();
    for (const group of this.catalogue.groups) if (group.ephemeral) this.removeGroup(group);
    this.core.flush();
  }
}
