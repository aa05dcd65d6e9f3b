import { isCode } from "../../../contracts/errors.ts";
import type { Batch, Lane, Membership } from "../../../contracts/messages.ts";
import { topicNotFound } from "../errors.ts";
import { pauseBeforeTry } from "./failures.ts";
import { KeptLane } from "./kept-lane.ts";
import type { LaterBounds, LaterStore, LaterTopic } from "./later-store.ts";

/** As consumers have it, if nothing else is said. */
const sessionMs = 10_000;
const revokeMs = 10_000;

export interface KeeperHost {
  readonly store: LaterStore;
  readonly bounds: LaterBounds;
  /** Makes the level when it is not there, and sees to it that somebody keeps it. */
  ready(topic: LaterTopic, level: number): Promise<void>;
  /** The topic, or the level, is gone. */
  gone(topic: LaterTopic, level: number): void;
}

/** This process as one of those that keep a level of a topic's delayed messages, until the engine closes or they are gone. */
export class Keeper {
  readonly #host: KeeperHost;
  readonly #topic: LaterTopic;
  readonly #level: number;

  constructor(host: KeeperHost, topic: LaterTopic, level: number) {
    this.#host = host;
    this.#topic = topic;
    this.#level = level;
    void this.#run();
  }

  async #run(): Promise<void> {
    try {
      const membership = await this.#join();
      for (;;) void this.#keep(membership, await membership.nextLane());
    } catch (error) {
      // Whatever else may have ended it: it begins anew.
      if (!isCode(error, "closed")) this.#host.gone(this.#topic, this.#level);
    }
  }

  async #join(): Promise<Membership> {
    const { store, bounds } = this.#host;
    for (let failures = 0; ; failures++) {
      try {
        return await store.join(this.#topic, this.#level, { sessionMs, revokeMs, windowMax: bounds.windowMax });
      } catch (error) {
        if (isCode(error, "closed", "not-found")) throw error;
        await pauseBeforeTry(store.world, failures);
      }
    }
  }

  async #keep(membership: Membership, lane: Lane): Promise<void> {
    const { store, bounds } = this.#host;
    const kept = new KeptLane(
      {
        world: store.world,
        bounds,
        now: () => store.now(),
        append: async (target, messages, producer) => {
          const batch = { topic: this.#topic.name, partition: lane.partition, messages, producer };
          if (target === undefined) return this.#deliver(batch);
          await this.#host.ready(this.#topic, target);
          return store.keep(this.#topic, target, batch);
        },
      },
      lane,
      this.#level,
    );
    try {
      await kept.run();
    } catch {
      // The lane would be granted again and again.
      await membership.leave().catch(() => undefined);
      this.#host.gone(this.#topic, this.#level);
    }
  }

  /** A topic that was deleted behind the engine's back may fail with whatever; then there is nothing to wait for. */
  async #deliver(batch: Batch): Promise<unknown> {
    const { store } = this.#host;
    try {
      return await store.deliver(this.#topic, batch);
    } catch (error) {
      const isThere = await store.isThere(this.#topic).catch(() => true);
      throw isThere ? error : topicNotFound(this.#topic.name);
    }
  }
}
