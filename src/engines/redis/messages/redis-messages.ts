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
import { groupNotFound } from "../../lanes/errors.ts";
import type { Member } from "../../lanes/member.ts";
import { Memberships } from "../../lanes/memberships.ts";
import { checkTarget } from "../../lanes/targets.ts";
import type { Connection } from "../connection.ts";
import { Appends } from "./appends.ts";
import { type LanePath, RedisLaneStore } from "./redis-lane-store.ts";
import { engineClosed, type Reply, refusalOf } from "./replies.ts";
import * as scripts from "./scripts/scripts.ts";
import { targetArguments } from "./targets.ts";
import { partitionsMax, Topics } from "./topics.ts";

export interface MessageSettings {
  /** What the keys begin with. */
  readonly prefix: string;
  readonly world: World;
  readonly survives: MessageCapabilities["survives"];
}

/** What a script answers when the topic is gone. */
const gone: Reply = [Buffer.from("gone")];

/** The `messages` contract on Redis. */
export class RedisMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #connection: Connection;
  readonly #topics: Topics;
  readonly #appends: Appends;
  readonly #members: Memberships;
  #closing: Promise<void> | undefined;

  constructor(connection: Connection, { prefix, world, survives }: MessageSettings) {
    this.#connection = connection;
    this.capabilities = {
      survives,
      deduplicate: "id",
      delay: true,
      delayLatenessMs: 1_000,
      replay: true,
      fence: true,
      orderAfterCrash: true,
      // Topics of several families lie in several slots of a cluster.
      atomic: !connection.isCluster,
      messageBytesMax: 4 * 1024 * 1024,
      keyBytesMax: 65_535,
      partitionsMax,
      windowMax: 2 ** 31 - 1,
      heldMax: 2 ** 31 - 1,
      sessionMsMin: 1,
      countLimits: "evict",
      seal: true,
      batchBytesMax: 8 * 1024 * 1024,
    };
    this.#topics = new Topics(connection, prefix);
    this.#appends = new Appends(connection, this.#topics, this.capabilities);
    this.#members = new Memberships({ world, capabilities: this.capabilities });
  }

  async declare(topic: string, declaration: TopicDeclaration): Promise<void> {
    this.#throwIfClosed("declaring a topic");
    await this.#topics.declare(topic, declaration);
  }

  async topics(): Promise<readonly string[]> {
    this.#throwIfClosed("listing the topics");
    return this.#topics.names();
  }

  async remove(topic: string): Promise<void> {
    this.#throwIfClosed("removing a topic");
    await this.#topics.remove(topic);
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    this.#throwIfClosed("removing a group");
    await this.#topics.removeGroup(topic, group);
  }

  async describe(topic: string): Promise<TopicDescription> {
    this.#throwIfClosed("describing a topic");
    return this.#topics.describe(topic);
  }

  append(batch: Batch): Promise<readonly (bigint | undefined)[]> {
    if (this.#closing !== undefined) return Promise.reject(engineClosed("appending"));
    return this.#appends.append(batch);
  }

  async join(name: string, group: string, options: JoinOptions): Promise<Membership> {
    this.#throwIfClosed("joining a group");
    checkName("group", group);
    checkJoin(options, this.capabilities);
    const from = options.from ?? "now";
    checkTarget(name, from);
    let joined: Member | undefined;
    await this.#topics.during(name, async (topic) => {
      joined = await this.#members.join(new RedisLaneStore(this.#path(), topic), { group, options, from });
      if (joined === undefined) return gone;
      if (this.#closing !== undefined) await joined.close(engineClosed("joining a group"));
      return [];
    });
    this.#throwIfClosed("joining a group");
    return joined!;
  }

  async seek(name: string, group: string, to: SeekTarget): Promise<void> {
    this.#throwIfClosed("seeking");
    checkTarget(name, to);
    const target = targetArguments(to);
    const reply = await this.#topics.during(name, ({ key, family }) => {
      return this.#connection.run(scripts.seek, [key, family.counters], [group, ...target]) as Promise<Reply>;
    });
    if (refusalOf(reply) === "group") throw groupNotFound(name, group);
  }

  /** Gives every lane back, as far as Redis answers soon. The connection stays open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#members.close(engineClosed("this"));
  }

  #path(): LanePath {
    return {
      connection: this.#connection,
      topics: this.#topics,
      appends: this.#appends,
      capabilities: this.capabilities,
    };
  }

  #throwIfClosed(what: string): void {
    if (this.#closing !== undefined) throw engineClosed(what);
  }
}
