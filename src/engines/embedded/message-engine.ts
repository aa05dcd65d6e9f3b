import { TenonError } from "../../contracts/errors.ts";
import type {
  Batch,
  JoinOptions,
  LaneDescription,
  Membership,
  MessageCapabilities,
  MessageEngine,
  SeekTarget,
  TopicDeclaration,
  TopicDescription,
} from "../../contracts/messages.ts";
import { Appends } from "./appends.ts";
import type { Topic } from "./catalogue.ts";
import { LaneGrants } from "./lane-grants.ts";
import type { Lane } from "./lanes.ts";
import type { MessageStore } from "./message-store.ts";
import { checkName } from "./names.ts";

const partitionsMax = 1_024;

/** The `messages` contract on the journal's state. */
export class EmbeddedMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #store: MessageStore;
  readonly #retentionMs: number;
  readonly #appends: Appends;
  readonly #grants: LaneGrants;

  constructor(store: MessageStore, survives: MessageCapabilities["survives"], retentionMs: number) {
    this.#store = store;
    this.#retentionMs = retentionMs;
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
    this.#appends = new Appends(store, this.capabilities);
    this.#grants = new LaneGrants(store, this.#appends);
  }

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    this.#store.core.throwIfClosed();
    const { partitions } = declaration;
    checkName("topic", name);
    for (const group of declaration.groups ?? []) checkName("group", group);
    if (!(Number.isInteger(partitions) && partitions >= 1 && partitions <= partitionsMax)) {
      throw new TenonError("invalid", `topic ${name} needs 1 to ${partitionsMax} partitions, not ${partitions}`);
    }
    const topic =
      this.#store.catalogue.topics.get(name) ??
      this.#store.declareTopic(name, partitions, declaration.retentionMs ?? this.#retentionMs);
    if (topic.queues.length !== partitions) {
      const message = `topic ${name} has ${topic.queues.length} partitions, not ${partitions}; the count is fixed when a topic is declared first`;
      throw new TenonError("conflict", message, { fields: { topic: name, partitions: topic.queues.length } });
    }
    for (const group of declaration.groups ?? []) {
      if (!topic.groups.has(group)) this.#store.declareGroup(topic, group, nexts(topic));
    }
    const batch = Math.max(topic.batch, ...[...topic.groups.values()].map((group) => group.batch));
    if (batch > this.#store.core.journal.durableBatch) await this.#store.core.journal.durable();
  }

  async topics(): Promise<readonly string[]> {
    this.#store.core.throwIfClosed();
    return [...this.#store.catalogue.topics.keys()].sort();
  }

  async describe(name: string): Promise<TopicDescription> {
    this.#store.core.throwIfClosed();
    const topic = this.#store.topic(name);
    const groups = [...topic.groups.values()].map(async (group) => ({
      group: group.name,
      members: this.#grants.memberCount(group),
      lanes: await Promise.all(group.lanes.map((lane) => this.#describeLane(lane))),
    }));
    return {
      topic: name,
      partitions: topic.queues.map((queue) => ({
        first: BigInt(this.#store.index.firstOffset(queue)),
        next: BigInt(queue.visible),
      })),
      groups: await Promise.all(groups),
      delayedCount: this.#store.delayed.countOf(topic),
    };
  }

  async #describeLane(lane: Lane): Promise<LaneDescription> {
    const lag = lane.lag;
    const low = BigInt(lane.settled.low);
    const held = lane.held.size;
    const oldestPublishedAt = lag === 0 ? undefined : await this.#store.publishedAt(lane.queue, lane.settled.low);
    return { low, lag, held, oldestPublishedAt };
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.#appends.append(batch);
  }

  join(topic: string, group: string, options: JoinOptions): Promise<Membership> {
    return this.#grants.join(topic, group, options);
  }

  seek(topic: string, group: string, to: SeekTarget): Promise<void> {
    return this.#grants.seek(topic, group, to);
  }

  /** Releases every lane in order; what is written here goes out with the journal's close. */
  releaseAll(): void {
    this.#grants.releaseAll();
  }

  close(reason: TenonError): void {
    this.#store.delayed.close();
    this.#grants.close(reason);
  }
}

function nexts(topic: Topic): number[] {
  return topic.queues.map((queue) => queue.next);
}
