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
import { ephemeralTaken, groupNotFound, topicNotFound } from "../../lanes/errors.ts";
import { Memberships } from "../../lanes/memberships.ts";
import { checkTarget } from "../../lanes/targets.ts";
import { closed } from "../failures.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import { ProducerEpochs } from "../producer-epochs.ts";
import type { ServerClock } from "../server-clock.ts";
import { StateStore } from "../state-store.ts";
import type { Streams } from "../streams.ts";
import { Appends } from "./appends.ts";
import { DelayStore } from "./delay-store.ts";
import { Descriptions } from "./descriptions.ts";
import { Groups } from "./groups.ts";
import { LaneValues } from "./lane-values.ts";
import { type LaneStoreParts, NatsLaneStore } from "./nats-lane-store.ts";
import { PartitionKeeper } from "./partition-keeper.ts";
import { Positions } from "./positions.ts";
import { Room } from "./room.ts";
import { partitionsMax, Topics } from "./topics.ts";

export interface MessageSettings {
  readonly world: World;
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly survives: MessageCapabilities["survives"];
  /** The server's `max_payload`. */
  readonly payloadBytesMax: number;
}

/** What is remembered of a partition, and what stands between messages, has room in one message of the server beside a batch. */
const batchShare = 7 / 8;
const messageShare = 3 / 4;
const largestBatch = 8 * 1024 * 1024;
const largestMessage = 4 * 1024 * 1024;

/** The `messages` contract on JetStream. */
export class NatsMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #topics: Topics;
  readonly #groups: Groups;
  readonly #appends: Appends;
  readonly #descriptions: Descriptions;
  readonly #parts: LaneStoreParts;
  readonly #members: Memberships;
  #closing: Promise<void> | undefined;

  constructor(settings: MessageSettings) {
    const { world, link, jetStream, streams, clock, survives, payloadBytesMax } = settings;
    this.capabilities = {
      survives,
      deduplicate: "session",
      delay: true,
      delayLatenessMs: 1_000,
      replay: true,
      fence: true,
      orderAfterCrash: true,
      atomic: false,
      messageBytesMax: Math.min(largestMessage, Math.floor(payloadBytesMax * messageShare)),
      keyBytesMax: Math.min(65_535, Math.floor(payloadBytesMax * messageShare)),
      partitionsMax,
      windowMax: Math.min(1_000_000, payloadBytesMax),
      heldMax: Math.min(10_000, Math.floor(payloadBytesMax / 64)),
      sessionMsMin: 1,
      countLimits: "evict",
      seal: true,
      batchBytesMax: Math.min(largestBatch, Math.floor(payloadBytesMax * batchShare)),
    };
    const { capabilities } = this;
    this.#members = new Memberships({ world, capabilities });
    const state = new StateStore(jetStream, streams);
    const lanes = new LaneValues(state, world);
    const delays = new DelayStore(jetStream, streams);
    const epochs = new ProducerEpochs(jetStream, streams, world);
    const room = new Room({ world, state, delays, lanes }, () => topics);
    const chains = { world, link, jetStream, streams, clock, epochs, delays, room, payloadBytesMax };
    const topics: Topics = new Topics({ jetStream, link, streams, state, chains });
    const positions = new Positions(jetStream, streams, state);
    const keeper = new PartitionKeeper({ world, jetStream, streams, state, clock, topics, lanes, positions });
    const groups = new Groups({ world, link, streams, state, clock, topics, lanes, positions, keeper });
    keeper.endGroups = (topic) => groups.endEphemeral(topic);
    this.#topics = topics;
    this.#groups = groups;
    this.#appends = new Appends({ topics, keeper, capabilities });
    this.#descriptions = new Descriptions({ topics, groups, keeper, lanes, state, positions, delays, clock });
    this.#parts = { world, jetStream, streams, clock, lanes, keeper, appends: this.#appends, link, groups };
  }

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    this.#throwIfClosed("declaring a topic");
    for (;;) {
      const topic = await this.#topics.declare(name, declaration);
      const declared = await this.#groups.declare(topic, declaration.groups ?? []);
      if (declared === "done") return;
      // Removed meanwhile, and so declared after that.
      if (declared === undefined) this.#topics.places.forget(topic);
      else throw ephemeralTaken(name, declared.ephemeral);
    }
  }

  async topics(): Promise<readonly string[]> {
    this.#throwIfClosed("listing the topics");
    return this.#topics.places.names();
  }

  async remove(topic: string): Promise<void> {
    this.#throwIfClosed("removing a topic");
    await this.#topics.places.remove(topic);
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    this.#throwIfClosed("removing a group");
    const removed = await this.#topics.places.during(topic, (place) => this.#groups.removeNamed(place, group));
    if (removed === "group") throw groupNotFound(topic, group);
  }

  async describe(topic: string): Promise<TopicDescription> {
    this.#throwIfClosed("describing a topic");
    return this.#topics.places.during(topic, (place) => this.#descriptions.of(place));
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    if (this.#closing !== undefined) return Promise.reject(closed("appending"));
    return this.#appends.append(batch);
  }

  async join(name: string, group: string, options: JoinOptions): Promise<Membership> {
    this.#throwIfClosed("joining a group");
    checkName("group", group);
    checkJoin(options, this.capabilities);
    const from = options.from ?? "now";
    checkTarget(name, from);
    const joined = await this.#topics.places.during(name, (topic) => {
      return this.#members.join(new NatsLaneStore(this.#parts, topic), { group, options, from });
    });
    if (this.#closing !== undefined) await joined.close(closed("joining a group"));
    this.#throwIfClosed("joining a group");
    return joined;
  }

  async seek(name: string, group: string, to: SeekTarget): Promise<void> {
    this.#throwIfClosed("seeking");
    checkTarget(name, to);
    const sought = await this.#topics.places.during(name, (topic) => this.#groups.seek(topic, group, to));
    if (sought === undefined) throw topicNotFound(name);
    if (sought === "group") throw groupNotFound(name, group);
  }

  /** Gives every lane back, as far as the server answers soon. The connection stays open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#members.close(new TenonError("closed", "The NATS engine was closed."));
  }

  #throwIfClosed(what: string): void {
    if (this.#closing !== undefined) throw closed(what);
  }
}
