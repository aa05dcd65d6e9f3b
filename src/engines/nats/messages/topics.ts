import type { TopicDeclaration } from "../../../contracts/messages.ts";
import { checkDeclaration } from "../../../contracts/topic-declarations.ts";
import { otherPartitions, topicNotFound } from "../../lanes/errors.ts";
import { atOnce } from "../at-once.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import { NamedPlaces } from "../named-places.ts";
import type { StateStore } from "../state-store.ts";
import type { Streams } from "../streams.ts";
import { type ChainParts, PartitionChain } from "./partition-chain.ts";
import { newPartition, type Seal } from "./partition-head.ts";
import type { TopicRecord } from "./topic-record.ts";

export const partitionsMax = 1_024;

/** A topic as it stands in the streams. One that is declared after its removal is another one. */
export interface Topic {
  readonly name: string;
  readonly id: number;
  readonly partitions: number;
  chain(partition: number): PartitionChain;
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
  readonly places: NamedPlaces<TopicRecord, Topic>;
  readonly #parts: TopicParts;

  constructor(parts: TopicParts) {
    this.#parts = parts;
    const { link, streams, state } = parts;
    this.places = new NamedPlaces(state, {
      what: "topic",
      letter: "t",
      placeOf: (name, { id, partitions }) => this.#topicOf(name, id, partitions),
      notFound: topicNotFound,
      empty: ({ id }) => this.#empty(id),
      removed: ({ id }) => link.tell(`${streams.prefix}.n.${id}`, "all"),
    });
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

  /** Makes the topic or changes its settings. */
  async declare(name: string, declaration: TopicDeclaration): Promise<Topic> {
    checkDeclaration(name, declaration, { partitionsMax, seal: true });
    for (;;) {
      const { place, record, isNew } = await this.places.declare(name, {
        make: () => this.#make(name, declaration),
        change: (former) => {
          if (former.partitions === declaration.partitions) return withSettings(former, declaration);
          throw otherPartitions(name, former.partitions, declaration.partitions);
        },
      });
      if (isNew) return place;
      // Also where whoever set the limit, or the seal, did not come to it.
      if (record.countMax !== undefined && !(await this.#parts.chains.room.limit(place))) continue;
      if (record.seal === undefined || (await sealPartitions(place, record.seal))) return place;
    }
  }

  async #make(name: string, declaration: TopicDeclaration): Promise<TopicRecord> {
    const { partitions } = declaration;
    const id = await this.#parts.state.number();
    const made = this.#topicOf(name, id, partitions);
    const record = withSettings({ format: 1, id, partitions, retentionMs: 0, groups: [] }, declaration);
    const { countMax, seal = newPartition.seal } = record;
    await atOnce(partitionsOf(made), (partition) =>
      made.chain(partition).make({ limited: countMax !== undefined, seal }),
    );
    return record;
  }

  async #empty(id: number): Promise<void> {
    const { jetStream, state, streams } = this.#parts;
    const what = "removing a topic";
    await Promise.all([
      jetStream.purge(what, streams.runs, `${streams.prefix}.r.${id}.>`),
      jetStream.purge(what, streams.delayed, `${streams.prefix}.d.${id}.>`),
      jetStream.purge(what, streams.producers, `${streams.prefix}.e.${id}.>`),
      ...["g", "l", "p", "a"].map((kind) => state.remove(what, `${kind}.${id}.>`)),
    ]);
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
