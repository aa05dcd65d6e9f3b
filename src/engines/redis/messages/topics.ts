import type { TopicDeclaration, TopicDescription } from "../../../contracts/messages.ts";
import { checkDeclaration } from "../../../contracts/topic-declarations.ts";
import { ephemeralTaken, groupNotFound, otherPartitions, topicNotFound } from "../../lanes/errors.ts";
import type { Connection } from "../connection.ts";
import { type Family, familyOf, namesKey } from "./keys.ts";
import { numberOf, type Reply, refusalOf, textOf } from "./replies.ts";
import * as scripts from "./scripts/scripts.ts";

export const partitionsMax = 1_024;

/** Messages are not kept beyond their settlement unless a topic says so: memory is dear. */
const retentionMsDefault = 0;

/** A topic as it stands in Redis. One that is declared after its removal is another one. */
export interface Topic {
  readonly name: string;
  readonly family: Family;
  /** The key of its settings; the keys of everything that belongs to it begin with this one. */
  readonly key: string;
}

/** Which topics there are, and what is set and known of each as a whole. */
export class Topics {
  readonly #connection: Connection;
  readonly #prefix: string;
  readonly #known = new Map<string, Topic>();

  constructor(connection: Connection, prefix: string) {
    this.#connection = connection;
    this.#prefix = prefix;
  }

  familyOf(name: string): Family {
    return familyOf(this.#prefix, name);
  }

  /** `not-found` when it was never declared. It may have been removed since: scripts say `gone` then, see `during`. */
  async find(name: string): Promise<Topic> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const family = familyOf(this.#prefix, name);
    const number = await this.#connection.command(family.topics, ["HGET", family.topics, name]);
    if (number === null) throw topicNotFound(name);
    return this.#note(name, family, textOf(number));
  }

  /** Forgets where a topic stood. */
  forget(topic: Topic): void {
    if (this.#known.get(topic.name) === topic) this.#known.delete(topic.name);
  }

  /**
   * Asks about a topic; when it turns out to be gone, once more about the one that has its name now. `not-found` when there is none.
   */
  async during(name: string, ask: (topic: Topic) => Promise<Reply>): Promise<Reply> {
    for (;;) {
      const known = this.#known.get(name);
      const topic = known ?? (await this.find(name));
      const reply = await ask(topic);
      if (refusalOf(reply) !== "gone") return reply;
      this.forget(topic);
      if (known === undefined) throw topicNotFound(name);
    }
  }

  #note(name: string, family: Family, number: string): Topic {
    const topic: Topic = { name, family, key: `${family.base}${number}` };
    this.#known.set(name, topic);
    return topic;
  }

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    checkDeclaration(name, declaration, { partitionsMax, seal: true });
    const { partitions, groups = [], retentionMs, countMax, whenFull, sealed } = declaration;
    const family = familyOf(this.#prefix, name);
    const names = namesKey(this.#prefix);
    const keys = [family.topics, family.counters];
    const settings = [retentionMs ?? "", countMax ?? "", whenFull ?? "", sealed === undefined ? "" : `=${sealed}`];
    const args = [family.base, name, partitions, retentionMsDefault, ...settings, ...groups];
    const { isCluster } = this.#connection;
    const reply = (await this.#connection.run(scripts.declare, isCluster ? keys : [...keys, names], args)) as Reply;
    const refusal = refusalOf(reply);
    if (refusal === "partitions") throw otherPartitions(name, numberOf(reply[1]), partitions);
    if (refusal === "ephemeral") throw ephemeralTaken(name, textOf(reply[1]));
    const number = numberOf(reply[0]);
    this.#note(name, family, String(number));
    if (isCluster) await this.#connection.run(scripts.listTopic, [names], [name, number, 1]);
  }

  async remove(name: string): Promise<void> {
    const family = familyOf(this.#prefix, name);
    const names = namesKey(this.#prefix);
    const { isCluster } = this.#connection;
    const keys = isCluster ? [family.topics] : [family.topics, names];
    this.#known.delete(name);
    const reply = (await this.#connection.run(scripts.remove, keys, [family.base, name])) as Reply;
    if (refusalOf(reply) === "gone") throw topicNotFound(name);
    if (isCluster) await this.#connection.run(scripts.listTopic, [names], [name, numberOf(reply[0]), 0]);
  }

  async removeGroup(name: string, group: string): Promise<void> {
    const reply = await this.during(name, (topic) => this.#run(scripts.removeGroup, topic, [group]));
    if (refusalOf(reply) === "group") throw groupNotFound(name, group);
  }

  async names(): Promise<readonly string[]> {
    const key = namesKey(this.#prefix);
    const names = (await this.#connection.command(key, ["HKEYS", key])) as Reply;
    return names.map(textOf).sort();
  }

  async describe(name: string): Promise<TopicDescription> {
    const reply = await this.during(name, (topic) => this.#run(scripts.describe, topic, []));
    const [, retentionMs, countMax, whenFull, delayed, extents, groups, sealed] = reply as [
      number,
      Buffer,
      Buffer,
      Buffer,
      Buffer,
      Reply,
      Reply,
      Buffer,
    ];
    return {
      topic: name,
      retentionMs: numberOf(retentionMs),
      countMax: countMax.length === 0 ? undefined : numberOf(countMax),
      whenFull: textOf(whenFull) === "evict" ? "evict" : "refuse",
      sealed: sealed.length === 0 ? undefined : textOf(sealed),
      partitions: inGroupsOf(2, extents).map(([first, next]) => ({ first: positionOf(first), next: positionOf(next) })),
      groups: groups.map((group) => describeGroup(group as [Buffer, number, number, Reply])),
      delayedCount: numberOf(delayed),
    };
  }

  #run(script: (typeof scripts)[keyof typeof scripts], topic: Topic, args: readonly string[]): Promise<Reply> {
    return this.#connection.run(script, [topic.key], args) as Promise<Reply>;
  }
}

function describeGroup([group, members, ephemeral, lanes]: readonly [
  Buffer,
  number,
  number,
  Reply,
]): TopicDescription["groups"][number] {
  return {
    group: textOf(group),
    members,
    ephemeral: ephemeral === 1,
    lanes: inGroupsOf(4, lanes).map(([low, lag, held, oldest]) => ({
      low: positionOf(low),
      lag: numberOf(lag),
      held: numberOf(held),
      oldestPublishedAt: (oldest as Buffer).length === 0 ? undefined : numberOf(oldest),
    })),
  };
}

function positionOf(item: unknown): bigint {
  return BigInt(numberOf(item));
}

function inGroupsOf(size: number, items: Reply): Reply[] {
  return Array.from({ length: items.length / size }, (_, index) => items.slice(index * size, index * size + size));
}
