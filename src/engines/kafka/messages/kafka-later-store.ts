import type { Batch, JoinOptions, Membership } from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";
import { type Join, keeperGroup, type LaterStore, type LaterTopic, laterName } from "../../lanes/index.ts";
import type { Journal } from "../journal/journal.ts";
import type { AppendParts, Appends } from "./appends.ts";
import type { Topics } from "./topics.ts";

/** Delayed messages in topics of their own; see `Later`. */
export class KafkaLaterStore implements LaterStore {
  readonly world: World;
  readonly #journal: Journal;
  readonly #topics: Topics;
  readonly #appends: Appends;
  readonly #join: Join;

  constructor({ cluster, journal, topics }: AppendParts, appends: Appends, join: Join) {
    this.world = cluster.world;
    this.#journal = journal;
    this.#topics = topics;
    this.#appends = appends;
    this.#join = join;
  }

  now(): number {
    return this.#journal.now;
  }

  async isThere({ name, number }: LaterTopic): Promise<boolean> {
    const topic = this.#journal.state.topicNamed(name);
    return topic?.number === number && !(await this.#topics.isDeleted(topic));
  }

  async levels({ number }: LaterTopic): Promise<readonly number[]> {
    return [...this.#journal.state.laterOf(number).keys()];
  }

  make({ number, partitions }: LaterTopic, level: number): Promise<void> {
    return this.#topics.declare(laterName({ topic: number, level }), { partitions, groups: [keeperGroup] });
  }

  remove({ number }: LaterTopic, level: number): Promise<void> {
    return this.#topics.remove(laterName({ topic: number, level }));
  }

  append({ number }: LaterTopic, batch: Batch) {
    return this.#appends.appendTo(number, batch);
  }

  deliver({ number }: LaterTopic, batch: Batch) {
    return this.#appends.appendTo(number, batch, true);
  }

  async keep({ number }: LaterTopic, level: number, batch: Omit<Batch, "topic">) {
    const topic = laterName({ topic: number, level });
    const positions = await this.#appends.keep({ ...batch, topic });
    const { state } = this.#journal;
    const place = state.topicNamed(topic);
    if (place === undefined || state.topic(number)?.countMax === undefined) return positions;
    const { partition } = batch;
    const end = Number(positions.at(-1)!) + 1;
    const command = { kind: "appended", topic: place.number, partition, admission: "", end } as const;
    await this.#journal.submit<"appended">(command, "an append");
    return positions;
  }

  join({ number }: LaterTopic, level: number, options: JoinOptions): Promise<Membership> {
    return this.#join(laterName({ topic: number, level }), keeperGroup, options);
  }

  listen({ number }: LaterTopic, hear: () => void): () => void {
    return this.#journal.listen(number, hear);
  }
}
