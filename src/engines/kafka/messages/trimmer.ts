import type { World } from "../../../world/world.ts";
import type { Cluster } from "../cluster.ts";
import { plain } from "../failures.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import type { Topics } from "./topics.ts";

/** A topic that is at work is looked at so often. */
const everyMs = 5_000;

/** Gives back what every group has settled and the retention does not keep. */
export class Trimmer {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #journal: Journal;
  readonly #topics: Topics;
  /** When each topic was looked at; by number. */
  readonly #looked = new Map<number, number>();
  /** Below which positions records were deleted, by topic. */
  readonly #deleted = new Map<number, readonly number[]>();

  constructor(cluster: Cluster, journal: Journal, topics: Topics) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#journal = journal;
    this.#topics = topics;
  }

  /** Something of the topic was settled, or appended without anybody to settle it. */
  note(topic: JournaledTopic): void {
    const now = this.#world.clock.monotonic();
    const looked = this.#looked.get(topic.number);
    if (looked === undefined) this.#looked.set(topic.number, now);
    if (looked === undefined || now - looked < everyMs) return;
    this.#looked.set(topic.number, now);
    this.trim(topic).catch((error: unknown) => {
      if (this.#cluster.isClosed) return;
      this.#world.log.log("debug", "trimming a topic in Kafka failed", { error: plain(error)?.message ?? "" });
    });
  }

  async trim(topic: JournaledTopic): Promise<void> {
    const ends = await this.#topics.ends(topic, "trimming a topic", () => this.#topics.checkThere(topic));
    await this.#journal.submit<"trim">({ kind: "trim", topic: topic.number, ends }, "trimming a topic");
    const there = this.#journal.state.topic(topic.number);
    if (there === undefined) {
      this.#looked.delete(topic.number);
      this.#deleted.delete(topic.number);
      return;
    }
    const first = [...there.first];
    const deleted = this.#deleted.get(topic.number) ?? [];
    for (const [partition, position] of first.entries()) {
      if (position > (deleted[partition] ?? 0)) await this.#delete(topic, partition, position);
    }
    this.#deleted.set(topic.number, first);
  }

  async #delete(topic: JournaledTopic, partition: number, below: number): Promise<void> {
    const { client, commandTimeoutMs } = this.#cluster;
    const name = topic.kafkaName;
    const partitions = [{ partitionIndex: partition, offset: BigInt(below) }];
    const check = () => this.#topics.checkThere(topic);
    const asked = { what: "trimming a topic", outcome: "not-applied", check } as const;
    await this.#cluster.leader(asked, name, partition, (connection) =>
      client.deleteRecordsV2.api.async(connection, [{ name, partitions }], commandTimeoutMs),
    );
  }
}
