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
import { groupNotFound } from "../../lanes/errors.ts";
import { Memberships } from "../../lanes/memberships.ts";
import { checkTarget } from "../../lanes/targets.ts";
import type { DatabaseConnection } from "../connection.ts";
import { closed } from "../failures.ts";
import type { Listener } from "../listener.ts";
import { Appends } from "./appends.ts";
import type { MessageCommands } from "./commands.ts";
import { Groups } from "./groups.ts";
import { type LaneParts, RelationalLaneStore } from "./relational-lane-store.ts";
import { partitionsMax, Topics } from "./topics.ts";
import { Trimmer } from "./trimmer.ts";

export interface MessageSettings {
  readonly world: World;
  readonly commands: MessageCommands;
  /** What the names of channels begin with. */
  readonly prefix: string;
  readonly survives: MessageCapabilities["survives"];
}

/** The `messages` contract in tables. */
export class RelationalMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  /** What people call it. */
  readonly #server: string;
  readonly #topics: Topics;
  readonly #groups: Groups;
  readonly #appends: Appends;
  readonly #parts: LaneParts;
  readonly #members: Memberships;
  #closing: Promise<void> | undefined;

  constructor(
    connection: DatabaseConnection,
    listener: Listener,
    { world, commands, prefix, survives }: MessageSettings,
  ) {
    this.#server = connection.server;
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
      windowMax: 1_000_000,
      heldMax: 100_000,
      sessionMsMin: 1,
      countLimits: "evict",
      seal: true,
      batchBytesMax: 8 * 1024 * 1024,
    };
    const { capabilities } = this;
    this.#members = new Memberships({ world, capabilities });
    const trimmer = new Trimmer(connection, commands, () => world.clock.monotonic());
    const groups = new Groups(connection, commands, prefix, trimmer);
    const topics = new Topics({ connection, commands, prefix, groups, trimmer });
    const parts = { connection, commands, topics, groups, trimmer, capabilities };
    trimmer.endGroups = (topic) => groups.endEphemeral(topic);
    this.#topics = topics;
    this.#groups = groups;
    this.#appends = new Appends(parts);
    this.#parts = { ...parts, appends: this.#appends, listener };
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
    if (this.#closing !== undefined) return Promise.reject(closed(this.#server, "appending"));
    return this.#appends.append(batch);
  }

  async join(name: string, group: string, options: JoinOptions): Promise<Membership> {
    this.#throwIfClosed("joining a group");
    checkName("group", group);
    checkJoin(options, this.capabilities);
    const from = options.from ?? "now";
    checkTarget(name, from);
    const joined = await this.#topics.during(name, (topic) => {
      return this.#members.join(new RelationalLaneStore(this.#parts, topic), { group, options, from });
    });
    if (this.#closing !== undefined) await joined.close(closed(this.#server, "joining a group"));
    this.#throwIfClosed("joining a group");
    return joined;
  }

  async seek(name: string, group: string, to: SeekTarget): Promise<void> {
    this.#throwIfClosed("seeking");
    checkTarget(name, to);
    const sought = await this.#topics.during(name, (topic) => this.#groups.seek(topic, group, to));
    if (sought === "group") throw groupNotFound(name, group);
  }

  /** Gives every lane back, as far as the server answers soon. The connections stay open. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#members.close(new TenonError("closed", `The ${this.#server} engine was closed.`));
    return this.#closing;
  }

  #throwIfClosed(what: string): void {
    if (this.#closing !== undefined) throw closed(this.#server, what);
  }
}
