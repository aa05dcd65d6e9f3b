import { checkEngine } from "../contracts/engine-arguments.ts";
import { isCode, type TenonError } from "../contracts/errors.ts";
import type { MessageEngine, TopicDescription } from "../contracts/messages.ts";
import { checkName, internalPrefix, isInternal } from "./names.ts";
import { countOption } from "./options.ts";

/** How a topic is created. What is left out of a later `create` stays as it is. */
export interface CreateOptions {
  /** Fixed for ever by the first `create`; 8 when that leaves it out. */
  readonly partitions?: number | undefined;
  /** Groups that receive every message from now on. */
  readonly groups?: readonly string[] | undefined;
  /** How long a message is kept after every group has settled it; the engine's default when left out. */
  readonly retentionMs?: number | undefined;
  /** How many unsettled messages the topic keeps, delayed ones included; no limit when left out. */
  readonly countMax?: number | undefined;
  /** What happens to a message that would exceed `countMax`: it is refused (`overloaded`; when left out), or the oldest ones give way. */
  readonly whenFull?: "refuse" | "evict" | undefined;
}

/** Creates, looks at and deletes topics without publishing or consuming. */
export interface TopicAdministration {
  /** Creates the topic and its groups, or brings their settings up to date. `conflict` when it has another partition count. */
  create(topic: string, options?: CreateOptions): Promise<void>;
  /** `not-found` when there is none. */
  describe(topic: string): Promise<TopicDescription>;
  /** Sorted by name, without the topics that Tenon keeps for itself. */
  list(): Promise<readonly string[]>;
  /**
   * Deletes the topic with its messages, its groups, their dead letters and retries. Those who consume it end (`not-found`), and publishing
   * to it is refused. Ends a deletion that was interrupted; `not-found` when nothing of it is there.
   */
  delete(topic: string): Promise<void>;
  /** The same for one group of a topic. */
  removeGroup(topic: string, group: string): Promise<void>;
}

export function topicAdministration(engine: { readonly messages: MessageEngine }): TopicAdministration {
  checkEngine("topicAdministration()", engine, "messages");
  return new Administration(engine.messages);
}

export const partitionsDefault = 8;

class Administration implements TopicAdministration {
  readonly #engine: MessageEngine;

  constructor(engine: MessageEngine) {
    this.#engine = engine;
  }

  async create(topic: string, options: CreateOptions = {}): Promise<void> {
    checkName("topic", topic);
    const { groups, retentionMs, countMax, whenFull } = options;
    for (const group of groups ?? []) checkName("group", group);
    const { partitionsMax } = this.#engine.capabilities;
    const given = options.partitions ?? (await this.#partitionsOf(topic));
    const partitions = countOption("partitions", given, partitionsDefault, 1, partitionsMax);
    await this.#engine.declare(topic, { partitions, groups, retentionMs, countMax, whenFull });
  }

  async #partitionsOf(topic: string): Promise<number | undefined> {
    if (!(await this.#engine.topics()).includes(topic)) return undefined;
    return (await this.#engine.describe(topic)).partitions.length;
  }

  async describe(topic: string): Promise<TopicDescription> {
    checkName("topic", topic);
    return await this.#engine.describe(topic);
  }

  async list(): Promise<readonly string[]> {
    return (await this.#engine.topics()).filter((topic) => !isInternal(topic));
  }

  // The topic goes first: then nobody can be consuming it who would make the others anew.
  async delete(topic: string): Promise<void> {
    checkName("topic", topic);
    const missing = await refusedAsMissing(this.#engine.remove(topic));
    const others = await this.#removeInternal(internalPrefix(topic));
    if (missing !== undefined && others === 0) throw missing;
  }

  async removeGroup(topic: string, group: string): Promise<void> {
    checkName("topic", topic);
    checkName("group", group);
    const missing = await refusedAsMissing(this.#engine.removeGroup(topic, group));
    const others = await this.#removeInternal(internalPrefix(topic, group));
    if (missing !== undefined && others === 0) throw missing;
  }

  /** Answers how many there were. */
  async #removeInternal(prefix: string): Promise<number> {
    const topics = (await this.#engine.topics()).filter((topic) => topic.startsWith(prefix));
    for (const topic of topics) await refusedAsMissing(this.#engine.remove(topic));
    return topics.length;
  }
}

/** The error when there is nothing to remove; every other one is thrown. */
async function refusedAsMissing(removal: Promise<void>): Promise<TenonError | undefined> {
  try {
    await removal;
    return undefined;
  } catch (error) {
    if (isCode(error, "not-found")) return error;
    throw error;
  }
}
