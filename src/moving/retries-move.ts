import { retryTopicOf } from "../contracts/message-conventions.ts";
import { retryCopyOf } from "./copies.ts";
import { type JoinedSignal, joinedSignal } from "./joined-signal.ts";
import { repeating } from "./repeating.ts";
import { TopicCopier } from "./topic-copier.ts";
import type { TopicMoveParts } from "./topic-move.ts";

export interface RetriesMoveParts extends TopicMoveParts {
  readonly group: string;
  readonly partitions: number;
}

/**
 * Where the other engine has no delay nobody reads topics of retries there: what waits in this one goes to the topic itself, for its group alone, when it is
 * due. It has no keys, so it needs no order.
 */
export class RetriesMove {
  readonly #parts: RetriesMoveParts;
  readonly #run: JoinedSignal;
  readonly #copier: TopicCopier;

  constructor(parts: RetriesMoveParts) {
    const { from, to, topic, group, partitions, signal } = parts;
    this.#parts = parts;
    this.#run = joinedSignal(signal);
    this.#copier = new TopicCopier({
      ...{ from, to, topic: retryTopicOf(topic, group), partitions, group, target: topic },
      copyOf: (stored) => retryCopyOf(stored, group),
      isForwarding: () => true,
      signal: this.#run.signal,
      failed: (error) => this.#run.abort(error),
    });
  }

  get copiedCount(): number {
    return this.#copier.count;
  }

  async switchOver(): Promise<void> {
    await this.#copier.start();
  }

  async forward(): Promise<void> {
    const { from, topic, group, pollMs, onProgress } = this.#parts;
    const { signal } = this.#run;
    const retries = retryTopicOf(topic, group);
    for (;;) {
      const { groups, delayedCount } = await repeating(from.world, () => from.messages.describe(retries), signal);
      const lanes = groups.find((each) => each.group === group)?.lanes ?? [];
      const lag = lanes.reduce((sum, lane) => sum + lane.lag, 0);
      onProgress({ topic: retries, stage: "forwarding", copiedCount: this.#copier.count, lag, delayedCount });
      if (lag + delayedCount === 0) break;
      await from.world.timers.sleep(pollMs, { signal });
    }
    await this.stop();
  }

  async stop(): Promise<void> {
    this.#run[Symbol.dispose]();
    await this.#copier.stop();
  }
}
