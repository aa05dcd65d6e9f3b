import {
  ByteReader,
  ByteWriter,
  laterName,
  laterPlaceOf,
  levelMax,
  type Refused,
  type Report,
} from "../../lanes/index.ts";
import type { Command, DeclareCommand, JoinCommand } from "./commands.ts";
import { JournaledGroup } from "./group.ts";
import type { CommittedCommand, DeclareLogCommand } from "./log-commands.ts";
import { type DeclaredLog, JournaledLogs } from "./logs.ts";
import { OpenTransactions } from "./open-transactions.ts";
import type { JournaledProducers } from "./producers.ts";
import type { Declared, JoinedOrNot, News, Removed, Results } from "./results.ts";
import { JournaledTopic, type TopicPlace } from "./topic.ts";

const format = 2;
/** With topics of delayed messages. */
const laterFormat = 3;
/** How long Kafka's number of a removed topic is remembered, so that nobody declares what is being deleted. */
const removalMs = 3_600_000;

/**
 * All that the engine knows beside messages, as the journal makes it: a deterministic state machine that does no I/O and asks no clock. Everybody who reads the journal has the
 * same one.
 */
export class JournalState {
  /** The latest instant that a record bears: the brokers' clocks may go back. */
  now = 0;
  #logs = new JournaledLogs();
  #open = new OpenTransactions();
  readonly #topics = new Map<string, JournaledTopic>();
  readonly #removed = new Map<string, number>();
  #numbers = 0;
  #fences = 0;
  #news: News[] = [];

  topicNamed(name: string): JournaledTopic | undefined {
    return this.#topics.get(name);
  }

  topic(number: number): JournaledTopic | undefined {
    for (const topic of this.#topics.values()) if (topic.number === number) return topic;
    return undefined;
  }

  get names(): readonly string[] {
    return [...this.#topics.keys()].filter((name) => laterPlaceOf(name) === undefined).sort();
  }

  /** Those that hold what is delayed of a topic, by level. */
  laterOf(number: number): ReadonlyMap<number, JournaledTopic> {
    const levels = new Map<number, JournaledTopic>();
    for (let level = 0; level <= levelMax; level++) {
      const topic = this.#topics.get(laterName({ topic: number, level }));
      if (topic !== undefined) levels.set(level, topic);
    }
    return levels;
  }

  #countLater(topic: number): number {
    let count = 0;
    for (const level of this.laterOf(topic).values()) count += level.kept;
    return count;
  }

  get logs(): JournaledLogs {
    return this.#logs;
  }

  /** Of a topic or a log. */
  producersOf(number: number): JournaledProducers | undefined {
    return (this.topic(number) ?? this.#logs.numbered(number))?.producers;
  }

  /** Whether a topic or a log has this name in Kafka. */
  isTaken(kafkaName: string): boolean {
    return this.#places.some((place) => place.kafkaName === kafkaName);
  }

  get #places(): readonly TopicPlace[] {
    return [...this.#topics.values(), ...this.#logs.all];
  }

  isRemoved(kafkaId: string): boolean {
    return this.#removed.has(kafkaId);
  }

  /** What has changed since it was asked last. */
  takeNews(): readonly News[] {
    const news = this.#news;
    this.#news = [];
    return news;
  }

  /** Carries a command out. `undefined` also for a kind that nobody knows. */
  apply(command: Command, at: number): Results[keyof Results] {
    this.now = Math.max(this.now, at);
    switch (command.kind) {
      case "declare":
        return this.#declare(command);
      case "remove":
        return this.#remove(command.name);
      case "removeGroup":
        return this.#removeGroup(command.name, command.group);
      case "join":
        return this.#join(command);
      case "renew":
        return this.#renew(command.topic, command.group, command.member, command.sessionMs);
      case "leave":
        return this.#leave(command.topic, command.group, command.member, command.orderly);
      case "release": {
        const topic = this.topic(command.topic);
        const group = topic?.group(command.group);
        group?.state.release(command.partition, command.fence, command.orderly);
        this.#balance(topic, group);
        return undefined;
      }
      case "commit":
        return this.topic(command.topic)?.group(command.group)?.commit(command);
      case "seek":
        return this.#seek(command.name, command.group, command.starts);
      case "look":
        this.#letTimePass(command.name === null ? undefined : this.#topics.get(command.name));
        return undefined;
      case "producer":
        return this.producersOf(command.topic)?.open(command, this.now);
      case "admit":
        return this.#letTimePass(this.topic(command.topic))?.admit(command, this.#countLater(command.topic), this.now);
      case "appended":
        this.topic(command.topic)?.appended(command.partition, command.admission, command.end, command.empty);
        return undefined;
      case "trim":
        this.#letTimePass(this.topic(command.topic))?.trim(command.ends, this.now);
        return undefined;
      case "declareLog":
        return this.#declareLog(command);
      case "removeLog":
        return this.#noteRemoval(this.#logs.remove(command.name));
      case "writer":
        return this.#logs.open(command);
      case "committed":
        return this.#committed(command);
      case "forget":
        this.#logs.numbered(command.log)?.forget(command.reader);
        return undefined;
      default:
        return undefined;
    }
  }

  #declare(command: DeclareCommand): Declared {
    const { name, kafkaId, partitions, groups } = command;
    if (this.#removed.has(kafkaId)) return { refused: "removed" };
    const known = this.#letTimePass(this.#topics.get(name));
    if (known === undefined && this.#isThere(kafkaId)) return { refused: "other" };
    if (known !== undefined) {
      if (known.partitions !== partitions) return { refused: "partitions", partitions: known.partitions };
      if (known.kafkaId !== kafkaId) return { refused: "other" };
      const ephemeral = groups.find((group) => known.groups.get(group)?.state.isEphemeral);
      if (ephemeral !== undefined) return { refused: "ephemeral", group: ephemeral };
    }
    const missing = groups.filter((group) => known?.groups.has(group) !== true);
    if (missing.length > 0 && command.starts === null) return { refused: "starts" };
    const topic = known ?? new JournaledTopic(command, ++this.#numbers);
    topic.set(command);
    this.#topics.set(name, topic);
    const later = laterPlaceOf(name);
    if (later !== undefined) this.#news.push({ topic: later.topic });
    for (const group of missing) this.#make(topic, group, command.starts!);
    return { topic: topic.number };
  }

  #isThere(kafkaId: string): boolean {
    return this.#places.some((place) => place.kafkaId === kafkaId);
  }

  #make(topic: JournaledTopic, name: string, starts: readonly number[]): JournaledGroup {
    const kept = starts.map((start, partition) => Math.max(start, topic.first[partition]!));
    const group = JournaledGroup.starting(++this.#numbers, name, kept);
    topic.groups.set(name, group);
    return group;
  }

  #remove(name: string): Results["remove"] {
    const topic = this.#topics.get(name);
    this.#topics.delete(name);
    return this.#noteRemoval(topic);
  }

  #noteRemoval(place: (Removed & { readonly number: number }) | undefined): Removed | undefined {
    if (place === undefined) return undefined;
    for (const [kafkaId, at] of this.#removed) if (at + removalMs < this.now) this.#removed.delete(kafkaId);
    this.#removed.set(place.kafkaId, this.now);
    this.#news.push({ topic: place.number });
    return { kafkaName: place.kafkaName, kafkaId: place.kafkaId };
  }

  #removeGroup(name: string, group: string): Results["removeGroup"] {
    const topic = this.#letTimePass(this.#topics.get(name));
    if (topic === undefined) return "topic";
    const found = topic.groups.get(group);
    if (found === undefined) return "group";
    topic.groups.delete(group);
    this.#news.push({ topic: topic.number, group: found.number });
    return "done";
  }

  #join(command: JoinCommand): JoinedOrNot {
    const { topic: number, group: name, member, ephemeral, agreement, sessionMs, revokeMs } = command;
    const topic = this.#letTimePass(this.topic(number));
    if (topic === undefined) return { refused: "gone" };
    const known = topic.groups.get(name);
    if (known === undefined && !command.mayMake) return { refused: "group" };
    if (known === undefined && command.starts === null) return { refused: "starts" };
    const group = known ?? this.#make(topic, name, command.starts!);
    const joining = { id: member, sessionMs, revokeMs, agreement, ephemeral };
    const refused = group.state.join(joining, this.now, known === undefined);
    if (refused !== undefined) return refused;
    group.windowMax = Math.max(group.windowMax, command.windowMax);
    this.#balance(topic, group);
    return { group: group.number, report: group.state.reportTo(member, this.now) };
  }

  #renew(topicNumber: number, groupNumber: number, member: string, sessionMs: number): Report | Refused {
    const topic = this.#letTimePass(this.topic(topicNumber));
    if (topic === undefined) return { refused: "gone" };
    const group = topic.group(groupNumber);
    if (group === undefined) return { refused: "group" };
    const renewed = group.state.renew(member, sessionMs, this.now);
    this.#balance(topic, group);
    return renewed ? group.state.reportTo(member, this.now) : { refused: "ended" };
  }

  #leave(topicNumber: number, name: string, member: string, orderly: boolean): undefined {
    const topic = this.topic(topicNumber);
    const group = topic?.groups.get(name);
    if (topic === undefined || group === undefined || !group.state.leave(member, orderly)) return;
    if (group.state.isEphemeral) topic.groups.delete(name);
    else this.#balance(topic, group);
  }

  #seek(name: string, groupName: string, starts: readonly (number | null)[]): Results["seek"] {
    const topic = this.#letTimePass(this.#topics.get(name));
    if (topic === undefined) return "topic";
    const group = topic.groups.get(groupName);
    if (group === undefined) return "group";
    group.seek(starts, topic.first);
    this.#balance(topic, group);
    this.#news.push({ topic: topic.number, group: group.number });
    return "done";
  }

  #letTimePass(topic: JournaledTopic | undefined): JournaledTopic | undefined {
    for (const group of topic?.removeEnded(this.now) ?? []) this.#news.push({ topic: topic!.number, group });
    return topic;
  }

  #balance(topic: JournaledTopic | undefined, group: JournaledGroup | undefined): void {
    if (topic === undefined || group === undefined) return;
    const moved = group.balance(this.now, () => ++this.#fences);
    if (moved) this.#news.push({ topic: topic.number, group: group.number });
  }

  // Logs ---------------------------------------------------------------------------------------------------------------

  #declareLog(command: DeclareLogCommand): DeclaredLog {
    const { name, kafkaId } = command;
    if (this.#removed.has(kafkaId)) return { refused: "removed" };
    if (this.#logs.named(name) === undefined && this.#isThere(kafkaId)) return { refused: "other" };
    return this.#logs.declare(command, () => ++this.#numbers);
  }

  #committed(command: CommittedCommand): undefined {
    this.#logs.committed(command);
    this.#tell(command);
  }

  #tell({ positions }: CommittedCommand): void {
    for (const log of new Set(positions.map(([number]) => number))) this.#news.push({ topic: log });
  }

  /** A command of a transaction is carried out where that is committed, if it is. */
  hold(producer: string, command: Command): void {
    this.#open.hold(producer, command);
  }

  decide(producer: string, isCommitted: boolean, at: number): void {
    for (const command of this.#open.take(producer)) {
      if (isCommitted) this.apply(command, at);
      else if (command.kind === "committed") this.#tell(command);
    }
  }

  /** Whether it is not decided yet where a reader stands in a log. */
  isUndecided(log: number, reader: string): boolean {
    return this.#open.moves(log, reader);
  }

  encode(): Buffer {
    const isLater = [...this.#topics.keys()].some((name) => laterPlaceOf(name) !== undefined);
    const writer = new ByteWriter()
      .u8(isLater ? laterFormat : format)
      .f64(this.now)
      .whole(this.#numbers)
      .whole(this.#fences);
    writer.whole(this.#topics.size);
    for (const topic of this.#topics.values()) topic.encode(writer, isLater);
    writer.whole(this.#removed.size);
    for (const [kafkaId, at] of this.#removed) writer.text(kafkaId).f64(at);
    this.#logs.encode(writer);
    this.#open.encode(writer);
    return writer.done();
  }

  static decode(bytes: Uint8Array): JournalState {
    const reader = new ByteReader(bytes, "a snapshot in Kafka's journal");
    const found = reader.u8();
    if (found !== format && found !== laterFormat) throw reader.corrupt();
    const state = new JournalState();
    state.now = reader.f64();
    state.#numbers = reader.whole();
    state.#fences = reader.whole();
    for (let left = reader.whole(); left > 0; left--) {
      const topic = JournaledTopic.decode(reader, found === laterFormat);
      state.#topics.set(topic.name, topic);
    }
    for (let left = reader.whole(); left > 0; left--) state.#removed.set(reader.text(), reader.f64());
    state.#logs = JournaledLogs.decode(reader);
    state.#open = OpenTransactions.decode(reader);
    reader.end();
    return state;
  }
}
