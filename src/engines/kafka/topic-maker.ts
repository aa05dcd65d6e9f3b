import { TenonError } from "../../contracts/errors.ts";
import type { TopicsAnswer } from "./clients.ts";
import type { Cluster } from "./cluster.ts";
import { answeredCode, answerOf, failureOf, kafkaCode } from "./failures.ts";
import { checkKept, readSettings, settingsKept, settingsNeeded } from "./topic-settings.ts";

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
      const code = await this.#create(name, partitions);
      // It collides with a topic whose name differs in dots and underscores only.
      if (code === kafkaCode.invalidTopic) continue;
      const found = await this.#find(name, partitions);
      // Who made it, may have made it otherwise.
      if (code === kafkaCode.topicExists) checkKept(name, await readSettings(this.#cluster, name, kept), kept);
      return found;
    }
    throw new TenonError(
      "invalid",
      `Kafka takes none of the names ${names.join(", ")} for a topic; choose another one`,
    );
  }

  /** Answers Kafka's error; 0: it was made. */
  async #create(name: string, partitions: number): Promise<number> {
    const { client, commandTimeoutMs } = this.#cluster;
    const { replicationFactor = -1, settings } = this.#settings;
    const configs = Object.entries({ ...settingsNeeded, ...settings }).map(([key, value]) => ({ name: key, value }));
    const topics = [{ name, numPartitions: partitions, replicationFactor, assignments: [] as [], configs }];
    const what = "making a topic";
    try {
      await this.#cluster.controller({ what, outcome: "not-applied" }, (connection) =>
        client.createTopicsV7.api.async(connection, topics, commandTimeoutMs, false),
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

  /** Brokers hear of a new topic a little after the controller. One that nobody hears of may have been deleted meanwhile, and is made anew. */
  async #find(name: string, partitions: number): Promise<MadeTopic> {
    const { world, commandTimeoutMs } = this.#cluster;
    const deadline = world.clock.monotonic() + commandTimeoutMs;
    for (let pauseMs = findMs.first; ; pauseMs = Math.min(findMs.longest, pauseMs * 2)) {
      const topic = await this.#cluster.readTopic(name);
      if (topic?.leaders.every((leader) => leader >= 0)) {
        return { kafkaName: name, kafkaId: topic.id, partitions: topic.leaders.length };
      }
      if (world.clock.monotonic() >= deadline) {
        const text = `Kafka has not made topic ${name} known within ${commandTimeoutMs} ms. Try again.`;
        throw new TenonError("unavailable", text, { outcome: "unknown", fields: { kafkaName: name } });
      }
      await world.timers.sleep(pauseMs);
      if (topic === undefined && pauseMs === findMs.longest) await this.#create(name, partitions);
    }
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
