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
import { Member } from "../../lanes/member.ts";
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

/** How long closing may take to give lanes back when the server does not answer. */
const closeMs = 2_000;

/** The `messages` contract in tables. */
export class RelationalMessages implements MessageEngine {
  readonly capabilities: MessageCapabilities;
  readonly #world: World;
  /** What people call it. */
  readonly #server: string;
  readonly #topics: Topics;
  readonly #groups: Groups;
  readonly #appends: Appends;
  readonly #parts: LaneParts;
  readonly #members = new Set<Member>();
  #closing: Promise<void> | undefined;

  constructor(
    connection: DatabaseConnection,
    listener: Listener,
    { world, commands, prefix, survives }: MessageSettings,
  ) {
    this.#world = world;
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
      batchBytesMax: 8 * 1024 * 1024,
    };
    const { capabilities } = this;
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
    const joined = await this.#topics.during(name, async (topic) => {
      const member = new Member(
        { world: this.#world, capabilities: this.capabilities },
        new RelationalLaneStore(this.#parts, topic),
        { group, options, from, left: (left) => this.#members.delete(left) },
      );
      this.#members.add(member);
      try {
        if (await member.join()) return member;
        this.#members.delete(member);
        return undefined;
      } catch (error) {
        this.#members.delete(member);
        throw error;
      }
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
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const reason = new TenonError("closed", `The ${this.#server} engine was closed.`);
    const left = Promise.all([...this.#members].map((member) => member.close(reason).catch(() => undefined)));
    const done = new AbortController();
    const overdue = this.#world.timers.sleep(closeMs, { signal: done.signal }).catch(() => undefined);
    await Promise.race([left, overdue]);
    done.abort();
  }

  #throwIfClosed(what: string): void {
    if (this.#closing !== undefined) throw closed(this.#server, what);
  }
}
