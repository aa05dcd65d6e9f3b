import { TenonError } from "../../../contracts/errors.ts";
import { checkJoin } from "../../../contracts/join-options.ts";
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
} from "../../../contracts/messages.ts";
import { checkDeclaration, nameBytesMax, sealNoteBytesMax } from "../../../contracts/topic-declarations.ts";
import { Appends, batchBytesMax } from "./appends.ts";
import { partitionsMax, type Topic, type TopicSettings } from "./catalogue.ts";
import { groupTaken, LaneGrants } from "./lane-grants.ts";
import type { Lane } from "./lanes.ts";
import type { MessageStore } from "./message-store.ts";

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
      windowMax: 2 ** 31 - 1,
      heldMax: 2 ** 31 - 1,
      sessionMsMin: 1,
      countLimits: "evict",
      seal: true,
      batchBytesMax,
    };
    this.#appends = new Appends(store, this.capabilities);
    this.#grants = new LaneGrants(store, this.#appends);
  }

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    this.#store.core.throwIfClosed();
    checkDeclaration(name, declaration, this.capabilities);
    const { partitions, groups = [] } = declaration;
    let topic = this.#store.catalogue.topics.get(name);
    if (topic !== undefined && topic.queues.length !== partitions) {
      const message = `topic ${name} has ${topic.queues.length} partitions, not ${partitions}; the count is fixed when a topic is declared first`;
      throw new TenonError("conflict", message, { fields: { topic: name, partitions: topic.queues.length } });
    }
    for (const group of groups.map((each) => topic?.groups.get(each))) if (group?.ephemeral) throw groupTaken(group);
    // A topic and its groups are one change: a crash leaves all of them or none.
    this.#store.core.journal.ensureRoom(
      (groups.length + 1) * (2 * nameBytesMax + 64 + 8 * partitions) + sealNoteBytesMax,
      groups.length + 1,
    );
    const settings = settingsOf(declaration, topic?.settings ?? { ...settingsDefault, retentionMs: this.#retentionMs });
    if (topic === undefined) topic = this.#store.declareTopic(name, partitions, settings);
    else if (settingsDiffer(topic.settings, settings)) this.#store.changeTopic(topic, settings);
    for (const group of groups) {
      if (!topic.groups.has(group)) this.#store.declareGroup(topic, group, nexts(topic));
    }
    const batch = Math.max(topic.batch, ...[...topic.groups.values()].map((group) => group.batch));
    if (batch > this.#store.core.journal.durableBatch) await this.#store.core.journal.durable();
  }

  async remove(name: string): Promise<void> {
    this.#store.core.throwIfClosed();
    await this.#grants.removeTopic(this.#store.topic(name));
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    this.#store.core.throwIfClosed();
    await this.#grants.removeGroup(this.#store.group(topic, group));
  }

  /** What it answers is durable, removals included. */
  async topics(): Promise<readonly string[]> {
    this.#store.core.throwIfClosed();
    const names = [...this.#store.catalogue.topics.keys()].sort();
    await this.#store.core.journal.durable();
    return names;
  }

  /** What it answers is durable: a settlement that it counts is not undone by a crash. */
  async describe(name: string): Promise<TopicDescription> {
    const { core, index } = this.#store;
    core.throwIfClosed();
    if (!this.#store.catalogue.topics.has(name)) await core.journal.durable();
    const topic = this.#store.topic(name);
    const { retentionMs, countMax, whenFull, sealed } = topic.settings;
    const lanes = topic.queues.flatMap((queue) => queue.lanes);
    const figures = new Map(lanes.map((lane) => [lane, progressOf(lane)]));
    const description = {
      topic: name,
      retentionMs,
      countMax: countMax === Number.POSITIVE_INFINITY ? undefined : countMax,
      whenFull,
      sealed: sealed === "" ? undefined : sealed,
      partitions: topic.queues.map((queue) => ({
        first: BigInt(index.firstOffset(queue)),
        next: BigInt(queue.visible),
      })),
      delayedCount: topic.delayedCount,
    };
    await core.journal.durable();
    const groups = [...topic.groups.values()].map(async (group) => ({
      group: group.name,
      members: this.#grants.memberCount(group),
      ephemeral: group.ephemeral,
      lanes: await Promise.all(
        group.lanes.map((lane) => this.#describeLane(lane, figures.get(lane) ?? progressOf(lane))),
      ),
    }));
    return { ...description, groups: await Promise.all(groups) };
  }

  async #describeLane(lane: Lane, { low, lag, held }: LaneProgress): Promise<LaneDescription> {
    const oldestPublishedAt = lag === 0 ? undefined : await this.#store.publishedAt(lane.queue, low);
    return { low: BigInt(low), lag, held, oldestPublishedAt };
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    return this.#appends.append(batch);
  }

  async join(topic: string, group: string, options: JoinOptions): Promise<Membership> {
    checkJoin(options, this.capabilities);
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

interface LaneProgress {
  readonly low: number;
  readonly lag: number;
  readonly held: number;
}

function progressOf(lane: Lane): LaneProgress {
  return { low: lane.settled.low, lag: lane.lag, held: lane.held.size };
}

const settingsDefault = { countMax: Number.POSITIVE_INFINITY, whenFull: "refuse", sealed: "" } as const;

/** What is given replaces what was; what is left out stays. */
function settingsOf(declaration: TopicDeclaration, former: TopicSettings): TopicSettings {
  const { retentionMs = former.retentionMs, countMax = former.countMax } = declaration;
  const { whenFull = former.whenFull, sealed = former.sealed } = declaration;
  return { retentionMs, countMax, whenFull, sealed };
}

function settingsDiffer(a: TopicSettings, b: TopicSettings): boolean {
  const limits = a.retentionMs !== b.retentionMs || a.countMax !== b.countMax || a.whenFull !== b.whenFull;
  return limits || a.sealed !== b.sealed;
}

function nexts(topic: Topic): number[] {
  return topic.queues.map((queue) => queue.next);
}
