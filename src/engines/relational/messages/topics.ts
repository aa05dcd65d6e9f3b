import type { TopicDeclaration, TopicDescription } from "../../../contracts/messages.ts";
import { checkDeclaration } from "../../../contracts/topic-declarations.ts";
import { ephemeralTaken, groupNotFound, otherPartitions, topicNotFound } from "../../lanes/errors.ts";
import { GroupState } from "../../lanes/group-state.ts";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Row } from "../sql.ts";
import type { Transaction } from "../transaction.ts";
import type { MessageCommands } from "./commands.ts";
import type { Groups } from "./groups.ts";
import type { Trimmer } from "./trimmer.ts";

export const partitionsMax = 1_024;

/** A topic as it stands in the tables. One that is declared after its removal is another one. */
export interface Topic {
  readonly name: string;
  readonly id: number;
  readonly partitions: number;
  /** Where the topic's changes are told. */
  readonly channel: string;
  /** Whether its row is locked before messages are appended, as their count has a limit. */
  limited: boolean;
}

export interface TopicParts {
  readonly connection: DatabaseConnection;
  readonly commands: MessageCommands;
  readonly prefix: string;
  readonly groups: Groups;
  readonly trimmer: Trimmer;
}

/** Which topics there are, and what is set and known of each as a whole. */
export class Topics {
  readonly #parts: TopicParts;
  readonly #known = new Map<string, Topic>();

  constructor(parts: TopicParts) {
    this.#parts = parts;
  }

  /** `not-found` when it was never declared. It may have been removed since. */
  async find(name: string): Promise<Topic> {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const { connection, commands } = this.#parts;
    const [row] = await connection.read("finding a topic", commands.find, [Buffer.from(name)]);
    if (row === undefined) throw topicNotFound(name);
    return this.#note(name, row);
  }

  #note(name: string, row: Row): Topic {
    const id = Number(row.id);
    const topic: Topic = {
      name,
      id,
      partitions: row.partitions as number,
      channel: `${this.#parts.prefix}_t${id}`,
      limited: row.count_max !== null,
    };
    this.#known.set(name, topic);
    return topic;
  }

  /** Forgets where a topic stood. */
  forget(topic: Topic): void {
    if (this.#known.get(topic.name) === topic) this.#known.delete(topic.name);
  }

  /** Asks about a topic; when that turns out to be gone (`undefined`), once more about the one that has its name now. */
  async during<T>(name: string, ask: (topic: Topic) => Promise<T | undefined>): Promise<T> {
    for (;;) {
      const known = this.#known.get(name);
      const topic = known ?? (await this.find(name));
      const answer = await ask(topic);
      if (answer !== undefined) return answer;
      this.forget(topic);
      if (known === undefined) throw topicNotFound(name);
    }
  }

  async declare(name: string, declaration: TopicDeclaration): Promise<void> {
    checkDeclaration(name, declaration, { partitionsMax, seal: true });
    const { partitions, groups = [], retentionMs, countMax, whenFull, sealed } = declaration;
    const { connection, commands } = this.#parts;
    const row = await connection.transaction("declaring a topic", async (transaction) => {
      const bytes = Buffer.from(name);
      await transaction.run(commands.makeTopic, [bytes, partitions]);
      const [topic] = await transaction.run(commands.lockTopic, [bytes]);
      if (topic!.partitions !== partitions) throw otherPartitions(name, topic!.partitions as number, partitions);
      const id = Number(topic!.id);
      await transaction.run(commands.makePartitions, [id, partitions]);
      const settings = [retentionMs ?? null, countMax ?? null, whenFull ?? null];
      await transaction.run(commands.setTopic, [id, ...settings]);
      await this.#parts.groups.removeEnded(transaction, id);
      for (const group of groups) {
        const found = await this.#parts.groups.make(transaction, { id, name, partitions }, group, "now");
        if (found.state.isEphemeral) throw ephemeralTaken(name, group);
      }
      if (sealed !== undefined) await this.#seal(transaction, id, sealed);
      return { ...topic, count_max: countMax ?? topic!.count_max };
    });
    this.#note(name, row as unknown as Row);
  }

  /**
   * The seal stands in the partitions' rows, whose locks appends hold until they have committed: one that is under way is waited for, and one that comes later reads the seal with the row that it locks. In the
   * topic's row it could have read it before the seal, and committed after it.
   */
  async #seal(transaction: Transaction, id: number, sealed: string): Promise<void> {
    const { commands } = this.#parts;
    await transaction.run(commands.lockPartitions, [id]);
    await transaction.run(commands.sealPartitions, [id, Buffer.from(sealed)]);
  }

  async remove(name: string): Promise<void> {
    const { connection, commands } = this.#parts;
    this.#known.delete(name);
    const id = await connection.transaction("removing a topic", async (transaction) => {
      const [row] = await transaction.run(commands.removeTopic, [Buffer.from(name)]);
      if (row === undefined) throw topicNotFound(name);
      for (const part of [commands.removeGroups, commands.removeLanes, commands.removePartitions]) {
        await transaction.run(part, [Number(row.id)]);
      }
      await transaction.run(commands.notify, [`${this.#parts.prefix}_t${row.id}`, "all"]);
      return Number(row.id);
    });
    await this.#removeRest(id);
  }

  /** Its number is never given again, so what is left is out of reach; an error leaves it where it is. */
  async #removeRest(id: number): Promise<void> {
    const { connection, commands } = this.#parts;
    try {
      for (const statement of commands.removeRest) {
        while ((await connection.write("removing messages", statement, [id])).length > 0);
      }
    } catch {
      // It takes room and nothing else.
    }
  }

  async removeGroup(name: string, group: string): Promise<void> {
    const found = await this.during(name, (topic) => this.#parts.groups.removeNamed(topic, group));
    if (found === "group") throw groupNotFound(name, group);
  }

  async names(): Promise<readonly string[]> {
    const { connection, commands } = this.#parts;
    const rows = await connection.read("listing the topics", commands.names);
    return rows.map(({ name }) => (name as Buffer).toString()).sort();
  }

  describe(name: string): Promise<TopicDescription> {
    return this.during(name, (topic) => this.#describe(topic));
  }

  async #describe(topic: Topic): Promise<TopicDescription | undefined> {
    const { connection, commands, groups, trimmer } = this.#parts;
    await groups.endEphemeral(topic);
    await trimmer.tidy(topic);
    const rows = await connection.read("describing a topic", commands.describe, [topic.id]);
    const [first] = rows;
    if (first === undefined) return undefined;
    const now = first.now as number;
    const partitions = [...new Map(rows.map((row) => [row.partition, row])).values()];
    const byGroup = Map.groupBy(
      rows.filter((row) => row.name !== null),
      (row) => (row.name as Buffer).toString(),
    );
    return {
      topic: topic.name,
      retentionMs: Number(first.retention_ms),
      countMax: first.count_max === null ? undefined : Number(first.count_max),
      whenFull: String(first.when_full) === "evict" ? "evict" : "refuse",
      // Each of its partitions has it.
      sealed: (first.sealed as Buffer).toString() || undefined,
      partitions: partitions.map((row) => ({ first: BigInt(row.first as number), next: BigInt(row.next as number) })),
      groups: [...byGroup].map(([group, lanes]) => {
        const state = GroupState.decode(lanes[0]!.state as Buffer);
        return {
          group,
          members: state.countMembers(now),
          ephemeral: state.isEphemeral,
          lanes: lanes.map(describeLane),
        };
      }),
      delayedCount: partitions.reduce((sum, row) => sum + Number(row.delayed), 0),
    };
  }
}

function describeLane(row: Row): TopicDescription["groups"][number]["lanes"][number] {
  const progress = LaneProgress.decode(row.progress as Buffer);
  const lag = progress.lag(Number(row.next));
  const oldestPublishedAt = lag === 0 || row.oldest === null ? undefined : (row.oldest as number);
  return { low: BigInt(progress.low), lag, held: progress.heldCount, oldestPublishedAt };
}
