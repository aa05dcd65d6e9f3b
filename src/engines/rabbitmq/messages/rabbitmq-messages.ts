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
import type { World } from "../../../world/world.ts";
import { Later } from "../../lanes/later/later.ts";
import { refuseLaterName } from "../../lanes/later/later-names.ts";
import { Memberships } from "../../lanes/memberships.ts";
import { checkTarget } from "../../lanes/targets.ts";
import type { RabbitmqQueueOptions } from "../clients.ts";
import type { RabbitmqConnection } from "../connection.ts";
import { asRead, closed } from "../failures.ts";
import type { LockedValues } from "../locked-values.ts";
import type { Names } from "../names.ts";
import type { News } from "../news.ts";
import { Appends } from "./appends.ts";
import { Groups } from "./groups.ts";
import { Partitions } from "./partitions.ts";
import type { LaneParts } from "./rabbitmq-lane.ts";
import { RabbitmqLaneStore } from "./rabbitmq-lane-store.ts";
import { RabbitmqLaterStore } from "./rabbitmq-later-store.ts";
import { partitionsMax, Topics } from "./topics.ts";

export interface MessageSettings {
  readonly world: World;
  readonly names: Names;
  readonly survives: MessageCapabilities["survives"];
  readonly connection: RabbitmqConnection;
  readonly values: LockedValues;
  readonly news: News;
  readonly queue: RabbitmqQueueOptions;
}

/** The `messages` contract on RabbitMQ. */
export class RabbitmqMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #topics: Topics;
  readonly #groups: Groups;
  readonly #appends: Appends;
  readonly #parts: LaneParts;
  readonly #members: Memberships;
  #closing: Promise<void> | undefined;

  constructor({ survives, ...settings }: MessageSettings) {
    this.capabilities = {
      survives,
      deduplicate: "session",
      delay: true,
      delayLatenessMs: 1_000,
      replay: false,
      fence: false,
      orderAfterCrash: true,
      atomic: false,
      messageBytesMax: 4 * 1024 * 1024,
      keyBytesMax: 65_535,
      partitionsMax,
      windowMax: 60_000,
      heldMax: 10_000,
      sessionMsMin: 1,
      countLimits: "none",
      seal: false,
      batchBytesMax: 8 * 1024 * 1024,
    };
    this.#members = new Memberships({ world: settings.world, capabilities: this.capabilities });
    const partitions = new Partitions(settings.values, () => settings.world.clock.now());
    const parts = { ...settings, capabilities: this.capabilities, partitions };
    this.#groups = new Groups(parts);
    this.#topics = new Topics(parts, this.#groups);
    this.#appends = new Appends(parts, this.#topics, (appends) => {
      const join = (topic: string, group: string, options: JoinOptions) => this.#join(topic, group, options);
      return new Later(new RabbitmqLaterStore(parts, this.#topics, appends, join));
    });
    this.#parts = { ...parts, appends: this.#appends };
  }

  async declare(topic: string, declaration: TopicDeclaration): Promise<void> {
    this.#checkCall("declaring a topic", topic);
    await this.#topics.declare(topic, declaration);
  }

  async topics(): Promise<readonly string[]> {
    this.#throwIfClosed("listing the topics");
    return this.#topics.names().catch(asRead);
  }

  async remove(topic: string): Promise<void> {
    this.#checkCall("removing a topic", topic);
    await this.#topics.withPlace(topic, (place) => this.#appends.later.remove(place));
    await this.#topics.remove(topic);
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    this.#checkCall("removing a group", topic);
    await this.#topics.removeGroup(topic, group);
  }

  async describe(topic: string): Promise<TopicDescription> {
    this.#checkCall("describing a topic", topic);
    return this.#topics.describe(topic).catch(asRead);
  }

  async append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    this.#throwIfClosed("appending");
    return this.#appends.check(batch);
  }

  async join(name: string, group: string, options: JoinOptions): Promise<Membership> {
    this.#checkCall("joining a group", name);
    checkName("group", group);
    checkJoin(options, this.capabilities);
    const joined = await this.#join(name, group, options);
    const place = this.#topics.placeKnown(name);
    if (place !== undefined) this.#appends.later.consumed(place);
    return joined;
  }

  async #join(name: string, group: string, options: JoinOptions): Promise<Membership> {
    this.#throwIfClosed("joining a group");
    const from = options.from ?? "now";
    checkTarget(name, from);
    if (from !== "now") throw noReplay(name);
    const joined = await this.#topics.during(name, (topic) => {
      return this.#members.join(new RabbitmqLaneStore(this.#parts, this.#groups, topic), { group, options, from });
    });
    if (this.#closing !== undefined) await joined.close(closed("joining a group"));
    this.#throwIfClosed("joining a group");
    return joined;
  }

  async seek(name: string, group: string, to: SeekTarget): Promise<void> {
    this.#checkCall("seeking", name);
    checkTarget(name, to);
    await this.#topics.checkGroup(name, group);
    throw noReplay(name);
  }

  /** Gives every lane back, as far as the server answers soon. The connection stays open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#members.close(new TenonError("closed", "The RabbitMQ engine was closed."));
    return this.#closing;
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

function noReplay(topic: string): TenonError {
  const text = `a group of topic ${topic} on RabbitMQ starts now and cannot be moved: what is settled is gone; leave \`from\` out`;
  return new TenonError("unsupported", text, { fields: { topic } });
}
