import { isCode, TenonError } from "../../contracts/errors.ts";
import type { TopicsAnswer } from "./clients.ts";
import type { Cluster } from "./cluster.ts";
import { answeredCode, answerOf, failureOf, kafkaCode } from "./failures.ts";
import { checkKept, readSettingsIfThere, settingsKept, settingsNeeded } from "./topic-settings.ts";

export interface TopicMakerSettings {
  /** Copies of each partition; `undefined`: as many as the brokers say. */
  readonly replicationFactor: number | undefined;
  /** Further settings of the topics, as Kafka names them. */
  readonly settings: Readonly<Record<string, string>>;
}

export interface MadeTopic {
  readonly kafkaName: string;
  readonly kafkaId: string;
  readonly partitions: number;
}

/** How soon a topic that was made is looked for again, at first and at most. */
const findMs = { first: 5, longest: 200 };

/** Makes and deletes topics in Kafka. */
export class TopicMaker {
  readonly #cluster: Cluster;
  readonly #settings: TopicMakerSettings;

  constructor(cluster: Cluster, settings: TopicMakerSettings) {
    this.#cluster = cluster;
    this.#settings = settings;
  }

  /** The topic of the first name that Kafka takes; the one that is there, when there is one. */
  async make(names: readonly string[], partitions: number, kept = settingsKept): Promise<MadeTopic> {
    for (const name of names) {
      const made = await this.#make(name, partitions, kept);
      if (made !== undefined) return made;
    }
    throw new TenonError(
      "invalid",
      `Kafka takes none of the names ${names.join(", ")} for a topic; choose another one`,
    );
  }

  /** Brokers hear of a new topic a little after the controller. `undefined`: Kafka does not take the name. */
  async #make(name: string, partitions: number, kept: typeof settingsKept): Promise<MadeTopic | undefined> {
    const { world, commandTimeoutMs } = this.#cluster;
    const deadline = world.clock.monotonic() + commandTimeoutMs;
    let code = await this.#create(name, partitions);
    for (let pauseMs = findMs.first; ; pauseMs = Math.min(findMs.longest, pauseMs * 2)) {
      // It collides with a topic whose name differs in dots and underscores only.
      if (code === kafkaCode.invalidTopic) return undefined;
      const found = await this.#find(name, code === kafkaCode.topicExists ? kept : undefined);
      if (found !== undefined) return found;
      if (world.clock.monotonic() >= deadline) {
        const text = `Kafka has not made topic ${name} known within ${commandTimeoutMs} ms. Try again.`;
        throw new TenonError("unavailable", text, { outcome: "unknown", fields: { kafkaName: name } });
      }
      await world.timers.sleep(pauseMs);
      // Whoever made it may have deleted it meanwhile.
      if (pauseMs === findMs.longest) code = await this.#create(name, partitions);
    }
  }

  /** Whether nobody has the name, for sure: brokers, which may be behind, do not decide it. */
  async isFree(name: string): Promise<boolean> {
    try {
      return (await this.#create(name, 1, true)) === 0;
    } catch (error) {
      // Who may not make topics does not hear of it.
      if (isCode(error, "conflict")) return false;
      throw error;
    }
  }

  /** Answers Kafka's error; 0: it was made, or could be. */
  async #create(name: string, partitions: number, isTrial = false): Promise<number> {
    const { client, commandTimeoutMs } = this.#cluster;
    const { replicationFactor = -1, settings } = this.#settings;
    const configs = Object.entries({ ...settingsNeeded, ...settings }).map(([key, value]) => ({ name: key, value }));
    const topics = [{ name, numPartitions: partitions, replicationFactor, assignments: [] as [], configs }];
    const what = "making a topic";
    try {
      await this.#cluster.controller({ what, outcome: "not-applied" }, (connection) =>
        client.createTopicsV7.api.async(connection, topics, commandTimeoutMs, isTrial),
      );
      return 0;
    } catch (error) {
      const code = answeredCode(error);
      if (code === kafkaCode.topicExists || code === kafkaCode.invalidTopic) return code;
      if (code === undefined) throw failureOf(error, what, "unknown");
      const message = answerOf<TopicsAnswer>(error).topics[0]?.errorMessage ?? "no reason was given";
      throw new TenonError("conflict", `Kafka did not make topic ${name}: ${message} (error ${code}).`, {
        fields: { kafkaName: name, kafkaError: code },
      });
    }
  }

  /** The topic, when the brokers know it. `kept`: the settings to look at, as who made it may have made it otherwise. */
  async #find(name: string, kept: typeof settingsKept | undefined): Promise<MadeTopic | undefined> {
    const topic = await this.#cluster.readTopic(name);
    if (topic === undefined || topic.leaders.some((leader) => leader < 0)) return undefined;
    if (kept !== undefined) {
      const settings = await readSettingsIfThere(this.#cluster, name, kept);
      if (settings === undefined) return undefined;
      checkKept(name, settings, kept);
    }
    return { kafkaName: name, kafkaId: topic.id, partitions: topic.leaders.length };
  }

  /** Idempotent. By its number: one that was made anew under the same name stays. */
  async remove({ kafkaName, kafkaId }: Pick<MadeTopic, "kafkaName" | "kafkaId">): Promise<void> {
    const { client, commandTimeoutMs } = this.#cluster;
    try {
      await this.#cluster.controller({ what: "deleting a topic", outcome: "not-applied" }, async (connection) => {
        try {
          await client.deleteTopicsV6.api.async(connection, [{ name: null, topicId: kafkaId }], commandTimeoutMs);
        } catch (error) {
          if (answeredCode(error) !== kafkaCode.unknownTopicId) throw error;
        }
      });
    } catch (error) {
      throw failureOf(error, "deleting a topic", "unknown");
    } finally {
      this.#cluster.forget(kafkaName);
    }
  }
}
