import type { TopicDeclaration } from "../../../contracts/messages.ts";
import { checkDeclaration } from "../../../contracts/topic-declarations.ts";
import { otherPartitions, topicNotFound } from "../../lanes/errors.ts";
import { atOnce } from "../at-once.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import type { Streams } from "../streams.ts";
import { type ChainParts, PartitionChain } from "./partition-chain.ts";
import { newPartition, type Seal } from "./partition-head.ts";
import { type StateStore, valueNames } from "./state-store.ts";
import { decodeRecord, encodeRecord, type TopicRecord } from "./topic-record.ts";

export const partitionsMax = 1_024;

/** A topic as it stands in the streams. One that is declared after its removal is another one. */
export interface Topic {
  readonly name: string;
  readonly id: number;
  readonly partitions: number;
  chain(partition: number): PartitionChain;
}

export interface FoundRecord {
  readonly record: TopicRecord;
  readonly revision: number;
}

export interface TopicParts {
  readonly jetStream: JetStream;
  readonly link: NatsLink;
  readonly streams: Streams;
  readonly state: StateStore;
  readonly chains: ChainParts;
}

/** Which topics there are, and the record of each. */
export class Topics {
  readonly #parts: TopicParts;
  readonly #known = new Map<string, Topic>();

  constructor(parts: TopicParts) {
    this.#parts = parts;
  }

  /** `not-found` when it was never declared. It may have been removed since. */
  async find(name: string): Promise<Topic> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const found = await this.read(name);
    if (found === undefined) throw topicNotFound(name);
    return this.#note(name, found.record);
  }

  #note(name: string, { id, partitions }: TopicRecord): Topic {
    const known = this.#known.get(name);
    if (known?.id === id) return known;
    const topic = this.#topicOf(name, id, partitions);
    this.#known.set(name, topic);
    return topic;
  }

  #topicOf(name: string, id: number, partitions: number): Topic {
    const chains = new Map<number, PartitionChain>();
    const topic: Topic = {
      name,
      id,
      partitions,
      chain: (partition) => {
        const chain = chains.get(partition) ?? new PartitionChain(this.#parts.chains, topic, partition);
        chains.set(partition, chain);
        return chain;
      },
    };
    return topic;
  }

  /** Forgets where a topic stood. */
  forget(topic: Topic): void {
    if (this.#known.get(topic.name) === topic) this.#known.delete(topic.name);
  }

  /** Asks about a topic; when that turns out to be gone (`undefined`), once more about the one that has its name now. */
  async during<T>(name: string, ask: (topic: Topic) => Promise<T | undefined>): Promise<T> {
    for (;;) {
      const known = this.#known.get(name);
      const topic = known ?? (await this.find(name));
      const answer = await ask(topic);
      if (answer !== undefined) return answer;
      this.forget(topic);
      if (known === undefined) throw topicNotFound(name);
    }
  }

  /** The record under the name, whichever topic that is. What somebody began to remove is removed. */
  async read(name: string): Promise<FoundRecord | undefined> {
    const value = await this.#parts.state.read("reading a topic", valueNames.topic(name));
    if (value === undefined) return undefined;
    const found = { record: decodeRecord(value.bytes), revision: value.revision };
    if (found.record.removed !== true) return found;
    await this.#finishRemoval(name, found);
    return undefined;
  }

  /** The record of this very topic; `undefined` when it is gone. */
  async recordOf(topic: Topic): Promise<FoundRecord | undefined> {
    const found = await this.read(topic.name);
    return found?.record.id === topic.id ? found : undefined;
  }

  /** `false` when it is not as it was read. */
  async write(name: string, record: TopicRecord, revision: number): Promise<boolean> {
    const bytes = encodeRecord(record);
    return (await this.#parts.state.write("changing a topic", valueNames.topic(name), bytes, revision)) !== undefined;
  }

  /** Makes the topic or changes its settings. */
  async declare(name: string, declaration: TopicDeclaration): Promise<Topic> {
    checkDeclaration(name, declaration, { partitionsMax, seal: true });
    const { partitions } = declaration;
    for (;;) {
      const found = await this.read(name);
      if (found === undefined) {
        const made = await this.#make(name, declaration);
        if (made !== undefined) return made;
        continue;
      }
      if (found.record.partitions !== partitions) throw otherPartitions(name, found.record.partitions, partitions);
      const record = withSettings(found.record, declaration);
      const isSame = JSON.stringify(record) === JSON.stringify(found.record);
      if (!isSame && !(await this.write(name, record, found.revision))) continue;
      const topic = this.#note(name, record);
      // Also where whoever set the limit, or the seal, did not come to it.
      if (record.countMax !== undefined && !(await this.#parts.chains.room.limit(topic))) continue;
      if (record.seal === undefined || (await sealPartitions(topic, record.seal))) return topic;
    }
  }

  /** Its partitions are there before the topic is. `undefined` when somebody else was faster. */
  async #make(name: string, declaration: TopicDeclaration): Promise<Topic | undefined> {
    const { partitions } = declaration;
    const { state, jetStream, streams } = this.#parts;
    const id = await state.number();
    const made = this.#topicOf(name, id, partitions);
    const record = withSettings({ format: 1, id, partitions, retentionMs: 0, groups: [] }, declaration);
    const { countMax, seal = newPartition.seal } = record;
    await atOnce(partitionsOf(made), (partition) =>
      made.chain(partition).make({ limited: countMax !== undefined, seal }),
    );
    if (await this.write(name, record, 0)) return this.#note(name, record);
    jetStream.purge("giving up a topic", streams.runs, `${streams.prefix}.r.${id}.>`).catch(() => undefined);
    return undefined;
  }

  async remove(name: string): Promise<void> {
    this.#known.delete(name);
    for (;;) {
      const found = await this.read(name);
      if (found === undefined) throw topicNotFound(name);
      const record: TopicRecord = { ...found.record, removed: true };
      const value = valueNames.topic(name);
      const revision = await this.#parts.state.write("removing a topic", value, encodeRecord(record), found.revision);
      if (revision === undefined) continue;
      await this.#finishRemoval(name, { record, revision });
      return;
    }
  }

  /** Whoever appends to its partitions, or commits to its lanes, finds them gone; so that comes before its name is free. */
  async #finishRemoval(name: string, { record: { id }, revision }: FoundRecord): Promise<void> {
    const { jetStream, state, streams, link } = this.#parts;
    const what = "removing a topic";
    await Promise.all([
      jetStream.purge(what, streams.runs, `${streams.prefix}.r.${id}.>`),
      jetStream.purge(what, streams.delayed, `${streams.prefix}.d.${id}.>`),
      jetStream.purge(what, streams.producers, `${streams.prefix}.e.${id}.>`),
      ...["g", "l", "p", "a"].map((kind) => state.remove(what, `${kind}.${id}.>`)),
    ]);
    await state.remove(what, valueNames.topic(name), revision + 1);
    link.tell(`${streams.prefix}.n.${id}`, "all");
  }

  async names(): Promise<readonly string[]> {
    const names = (await this.#parts.state.names("listing the topics", "t.>")).map(valueNames.topicOf);
    const found = await atOnce(names, (name) => this.read(name));
    const there = names.filter((_, index) => found[index] !== undefined);
    return there.sort();
  }
}

function storedMs(retentionMs: number): number | null {
  return retentionMs === Number.POSITIVE_INFINITY ? null : retentionMs;
}

export function partitionsOf({ partitions }: Topic): readonly number[] {
  return Array.from({ length: partitions }, (_, partition) => partition);
}

/** `false` when the topic is gone. */
async function sealPartitions(topic: Topic, seal: Seal): Promise<boolean> {
  const done = await atOnce(partitionsOf(topic), (partition) => topic.chain(partition).seal(seal));
  return !done.includes(false);
}

/** Those that are given replace the former ones. */
function withSettings(record: TopicRecord, declaration: TopicDeclaration): TopicRecord {
  const { retentionMs, countMax, whenFull, sealed } = declaration;
  const { whenFull: former, ...rest } = record;
  const { version, note } = record.seal ?? newPartition.seal;
  return {
    ...rest,
    ...(retentionMs === undefined ? {} : { retentionMs: storedMs(retentionMs) }),
    ...(countMax === undefined ? {} : { countMax }),
    ...((sealed ?? note) === note ? {} : { seal: { version: version + 1, note: sealed! } }),
    ...((whenFull ?? former) === "evict" ? { whenFull: "evict" } : {}),
  };
}
