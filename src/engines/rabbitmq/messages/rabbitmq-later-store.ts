import type { Batch, JoinOptions, Membership } from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";
import { keeperGroup, laterName } from "../../lanes/later/later-names.ts";
import type { Join, LaterStore, LaterTopic } from "../../lanes/later/later-store.ts";
import { topicNamesOf } from "../names.ts";
import type { Appends } from "./appends.ts";
import type { MessageParts } from "./parts.ts";
import type { Topics } from "./topics.ts";

/** Delayed messages in topics of their own; see `Later`. */
export class RabbitmqLaterStore implements LaterStore {
  readonly world: World;
  readonly #parts: MessageParts;
  readonly #topics: Topics;
  readonly #appends: Appends;
  readonly #join: Join;

  constructor(parts: MessageParts, topics: Topics, appends: Appends, join: Join) {
    this.world = parts.world;
    this.#parts = parts;
    this.#topics = topics;
    this.#appends = appends;
    this.#join = join;
  }

  /** The process's, as for sessions. */
  now(): number {
    return this.world.clock.now();
  }

  isThere(topic: LaterTopic): Promise<boolean> {
    return this.#topics.isThere(topic);
  }

  levels({ number }: LaterTopic): Promise<readonly number[]> {
    return this.#topics.levels(number);
  }

  async make({ number, partitions }: LaterTopic, level: number): Promise<void> {
    const { connection, news, names } = this.#parts;
    await this.#topics.declare(laterName({ topic: number, level }), { partitions, groups: [keeperGroup] });
    await connection.with("telling of delayed messages", async (channel) => {
      news.tell(channel, topicNamesOf(names, number).news);
    });
  }

  remove({ number }: LaterTopic, level: number): Promise<void> {
    return this.#topics.remove(laterName({ topic: number, level }));
  }

  append({ number }: LaterTopic, batch: Batch) {
    return this.#appends.appendTo(number, batch);
  }

  deliver({ number }: LaterTopic, batch: Batch) {
    return this.#appends.appendTo(number, batch);
  }

  keep({ number }: LaterTopic, level: number, batch: Omit<Batch, "topic">) {
    return this.#appends.keep({ ...batch, topic: laterName({ topic: number, level }) });
  }

  join({ number }: LaterTopic, level: number, options: JoinOptions): Promise<Membership> {
    return this.#join(laterName({ topic: number, level }), keeperGroup, options);
  }

  listen({ number }: LaterTopic, hear: () => void): () => void {
    const { news, names } = this.#parts;
    const listening = news.listen(topicNamesOf(names, number).news, (told) => {
      if (told === "missed") hear();
    });
    return () => {
      listening.then((stop) => stop()).catch(() => undefined);
    };
  }
}
