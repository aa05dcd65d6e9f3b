import { ByteReader, ByteWriter, type Refused, type Report } from "../../lanes/index.ts";
import type { Command, DeclareCommand, JoinCommand } from "./commands.ts";
import { JournaledGroup } from "./group.ts";
import type { Admitted } from "./room.ts";
import { type JournaledProducer, JournaledTopic } from "./topic.ts";

const format = 1;
/** How long Kafka's number of a removed topic is remembered, so that nobody declares what is being deleted. */
const removalMs = 3_600_000;

/** What has changed for members: of one group, or of all that a topic has. */
export interface News {
  readonly topic: number;
  /** `undefined`: all of them. */
  readonly group?: number | undefined;
}

/** `starts`: the group has to be made, and the command does not say where it starts. */
export type Declared =
  | { readonly refused?: undefined; readonly topic: number }
  | { readonly refused: "partitions"; readonly partitions: number }
  | { readonly refused: "ephemeral"; readonly group: string }
  | { readonly refused: "starts" | "removed" | "other" };

export type JoinedOrNot =
  | { readonly refused?: undefined; readonly group: number; readonly report: Report }
  | Refused
  | { readonly refused: "starts" };

/** What a command came to, by its kind. */
export interface Results {
  readonly declare: Declared;
  readonly remove: { readonly kafkaName: string; readonly kafkaId: string } | undefined;
  readonly removeGroup: "done" | "topic" | "group";
  readonly join: JoinedOrNot;
  readonly renew: Report | Refused;
  readonly leave: undefined;
  readonly release: undefined;
  readonly commit: number | undefined;
  readonly seek: "done" | "topic" | "group";
  readonly look: undefined;
  /** `undefined`: the topic is gone. */
  readonly producer: JournaledProducer | undefined;
  /** `undefined`: the topic does not count, or is gone. */
  readonly admit: Admitted | undefined;
  readonly appended: undefined;
  readonly trim: undefined;
}

/**
 * All that the engine knows beside messages, as the journal makes it: a deterministic state machine that does no I/O and asks no clock. Everybody who reads the journal has the
 * same one.
 */
export class JournalState {
  /** The latest instant that a record bears: the brokers' clocks may go back. */
  now = 0;
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

  get topics(): Iterable<JournaledTopic> {
    return this.#topics.values();
  }

  get names(): readonly string[] {
    return [...this.#topics.keys()].sort();
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
        return this.topic(command.topic)?.open(command, this.now);
      case "admit":
        return this.#letTimePass(this.topic(command.topic))?.admit(command, this.now);
      case "appended":
        this.topic(command.topic)?.appended(command.partition, command.admission, command.end);
        return undefined;
      case "trim":
        this.#letTimePass(this.topic(command.topic))?.trim(command.ends, this.now);
        return undefined;
      default:
        return undefined;
    }
  }

  #declare(command: DeclareCommand): Declared {
    const { name, kafkaId, partitions, groups } = command;
    if (this.#removed.has(kafkaId)) return { refused: "removed" };
    const known = this.#letTimePass(this.#topics.get(name));
    if (known === undefined && this.#isTaken(kafkaId)) return { refused: "other" };
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
    for (const group of missing) this.#make(topic, group, command.starts!);
    return { topic: topic.number };
  }

  #isTaken(kafkaId: string): boolean {
    for (const topic of this.#topics.values()) if (topic.kafkaId === kafkaId) return true;
    return false;
  }

  #make(topic: JournaledTopic, name: string, starts: readonly number[]): JournaledGroup {
    const kept = starts.map((start, partition) => Math.max(start, topic.first[partition]!));
    const group = JournaledGroup.starting(++this.#numbers, name, kept);
    topic.groups.set(name, group);
    return group;
  }

  #remove(name: string): Results["remove"] {
    const topic = this.#topics.get(name);
    if (topic === undefined) return undefined;
    for (const [kafkaId, at] of this.#removed) if (at + removalMs < this.now) this.#removed.delete(kafkaId);
    this.#topics.delete(name);
    this.#removed.set(topic.kafkaId, this.now);
    this.#news.push({ topic: topic.number });
    return { kafkaName: topic.kafkaName, kafkaId: topic.kafkaId };
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

  encode(): Buffer {
    const writer = new ByteWriter().u8(format).f64(this.now).whole(this.#numbers).whole(this.#fences);
    writer.whole(this.#topics.size);
    for (const topic of this.#topics.values()) topic.encode(writer);
    writer.whole(this.#removed.size);
    for (const [kafkaId, at] of this.#removed) writer.text(kafkaId).f64(at);
    return writer.done();
  }

  static decode(bytes: Uint8Array): JournalState {
    const reader = new ByteReader(bytes, "a snapshot in Kafka's journal");
    if (reader.u8() !== format) throw reader.corrupt();
    const state = new JournalState();
    state.now = reader.f64();
    state.#numbers = reader.whole();
    state.#fences = reader.whole();
    for (let left = reader.whole(); left > 0; left--) {
      const topic = JournaledTopic.decode(reader);
      state.#topics.set(topic.name, topic);
    }
    for (let left = reader.whole(); left > 0; left--) state.#removed.set(reader.text(), reader.f64());
    reader.end();
    return state;
  }
}
