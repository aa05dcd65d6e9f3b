import { TenonError } from "../../../contracts/errors.ts";
import { checkJoin } from "../../../contracts/join-options.ts";
import type {
  Batch,
  JoinOptions,
  Membership,
  MessageCapabilities,
  MessageEngine,
  SeekTarget,
  TopicDeclaration,
  TopicDescription,
} from "../../../contracts/messages.ts";
import { checkName } from "../../../contracts/topic-declarations.ts";
import { fetchBytesMax } from "../../lanes/fetch-size.ts";
import {
  checkTarget,
  type Join,
  Later,
  type Member,
  Memberships,
  refuseLaterName,
  topicNotFound,
} from "../../lanes/index.ts";
import type { Cluster } from "../cluster.ts";
import { closed } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import type { TopicMaker } from "../topic-maker.ts";
import { Appends } from "./appends.ts";
import type { LaneParts } from "./kafka-lane.ts";
import { KafkaLaneStore } from "./kafka-lane-store.ts";
import { KafkaLaterStore } from "./kafka-later-store.ts";
import { partitionsMax, Topics } from "./topics.ts";
import { Trimmer } from "./trimmer.ts";
import { Watcher } from "./watcher.ts";

export interface MessageSettings {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly maker: TopicMaker;
  readonly prefix: string;
  readonly survives: MessageCapabilities["survives"];
}

/** The `messages` contract on Kafka. */
export class KafkaMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #journal: Journal;
  readonly #topics: Topics;
  readonly #appends: Appends;
  readonly #watcher: Watcher;
  readonly #parts: LaneParts;
  readonly #members: Memberships;
  #closing: Promise<void> | undefined;

  constructor({ cluster, journal, maker, prefix, survives }: MessageSettings) {
    this.capabilities = {
      survives,
      deduplicate: "session",
      delay: true,
      delayLatenessMs: 1_000,
      replay: true,
      fence: true,
      orderAfterCrash: true,
      atomic: false,
      messageBytesMax: 4 * 1024 * 1024,
      keyBytesMax: 65_535,
      partitionsMax,
      windowMax: 100_000,
      heldMax: 10_000,
      sessionMsMin: 1,
      countLimits: "evict",
      seal: false,
      batchBytesMax: 8 * 1024 * 1024,
    };
    const { capabilities } = this;
    this.#members = new Memberships({ world: cluster.world, capabilities });
    const topics = new Topics({ cluster, journal, maker, prefix });
    const trimmer = new Trimmer(cluster, journal, topics);
    const parts = { cluster, journal, topics, trimmer, capabilities };
    const join: Join = (topic, group, options) => this.#join(topic, group, options);
    const appends = new Appends(parts, (self) => new Later(new KafkaLaterStore(parts, self, join)));
    this.#journal = journal;
    this.#topics = topics;
    this.#appends = appends;
    this.#watcher = new Watcher(cluster, fetchBytesMax);
    this.#parts = { cluster, journal, topics, appends, watcher: this.#watcher, trimmer };
  }

  async declare(topic: string, declaration: TopicDeclaration): Promise<void> {
    this.#checkCall("declaring a topic", topic);
    await this.#topics.declare(topic, declaration);
  }

  async topics(): Promise<readonly string[]> {
    this.#throwIfClosed("listing the topics");
    return this.#topics.names();
  }

  async remove(topic: string): Promise<void> {
    this.#checkCall("removing a topic", topic);
    await this.#journal.reach("removing a topic", topic);
    await this.#appends.later.remove(await this.#topics.find(topic));
    await this.#topics.remove(topic);
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    this.#checkCall("removing a group", topic);
    await this.#topics.removeGroup(topic, group);
  }

  async describe(topic: string): Promise<TopicDescription> {
    this.#checkCall("describing a topic", topic);
    return this.#topics.describe(topic, (of, partition, copying) => this.#appends.hasCopy(of, partition, copying));
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    if (this.#closing !== undefined) return Promise.reject(closed("appending"));
    return this.#appends.append(batch);
  }

  async join(name: string, group: string, options: JoinOptions): Promise<Membership> {
    this.#checkCall("joining a group", name);
    checkName("group", group);
    checkJoin(options, this.capabilities);
    checkTarget(name, options.from ?? "now");
    const joined = await this.#join(name, group, options);
    const topic = this.#journal.state.topicNamed(name);
    if (topic !== undefined) this.#appends.later.consumed(topic);
    return joined;
  }

  async #join(name: string, group: string, options: JoinOptions): Promise<Member> {
    const from = options.from ?? "now";
    const topic = await this.#topics.find(name);
    // It may have been removed and declared anew, as this engine has read since.
    const joined =
      (await this.#joinTo(topic, group, options, from)) ?? (await this.#joinAnew(name, group, options, from));
    if (this.#closing !== undefined) await joined.close(closed("joining a group"));
    this.#throwIfClosed("joining a group");
    return joined;
  }

  async #joinAnew(name: string, group: string, options: JoinOptions, from: SeekTarget): Promise<Member> {
    const joined = await this.#joinTo(await this.#topics.find(name), group, options, from);
    if (joined === undefined) throw topicNotFound(name);
    return joined;
  }

  /** `undefined`: the topic is gone. */
  async #joinTo(
    topic: JournaledTopic,
    group: string,
    options: JoinOptions,
    from: SeekTarget,
  ): Promise<Member | undefined> {
    return this.#members.join(new KafkaLaneStore(this.#parts, topic), { group, options, from });
  }

  async seek(name: string, group: string, to: SeekTarget): Promise<void> {
    this.#checkCall("seeking", name);
    checkTarget(name, to);
    await this.#topics.seek(name, group, to);
  }

  /** Gives every lane back, as far as the servers answer soon. The connections stay open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#members.close(new TenonError("closed", "The Kafka engine was closed."));
    this.#watcher.close();
  }

  /** Of a call that names a topic. */
  #checkCall(what: string, topic: string): void {
    this.#throwIfClosed(what);
    refuseLaterName(topic);
  }

  #throwIfClosed(what: string): void {
    if (this.#closing !== undefined) throw closed(what);
  }
}
