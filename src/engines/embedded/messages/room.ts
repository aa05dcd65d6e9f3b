import { TenonError } from "../../../contracts/errors.ts";
import type { Topic } from "./catalogue.ts";
import type { MessageStore } from "./message-store.ts";
import { evictionBytes } from "./topic-records.ts";

/**
 * How a topic stays within its `countMax`. What is kept is counted as it changes, so an append costs a comparison; one that evicts looks
 * at each partition of its topic once per partition that it takes from.
 */
export class Room {
  readonly #store: MessageStore;
  /** By topic: how many messages are about to be written. */
  readonly #wanted = new Map<Topic, number>();

  constructor(store: MessageStore) {
    this.#store = store;
  }

  want(topic: Topic, count: number): void {
    this.#wanted.set(topic, (this.#wanted.get(topic) ?? 0) + count);
  }

  /** Throws `overloaded` when a topic has no room and may not, or cannot, make some. */
  check(): void {
    for (const [topic, count] of this.#wanted) {
      const { countMax, whenFull } = topic.settings;
      if (topic.keptCount + count <= countMax) continue;
      const fixed = whenFull === "refuse" ? topic.keptCount : topic.keptCount - evictable(topic);
      if (whenFull === "evict" && fixed + count <= countMax) continue;
      const kept = whenFull === "refuse" ? "not settled" : "delayed";
      const message = `topic ${topic.name} takes no ${count} more: ${fixed} of at most ${countMax} messages are ${kept}; settle some first, or raise countMax`;
      throw new TenonError("overloaded", message, { fields: { topic: topic.name, countMax, count: fixed } });
    }
  }

  /** What `make` writes at most. */
  get evictions(): { readonly payloadBytes: number; readonly records: number } {
    let records = 0;
    for (const topic of this.#wanted.keys()) if (topic.settings.whenFull === "evict") records += topic.queues.length;
    return { payloadBytes: records * evictionBytes, records };
  }

  /** Settles the oldest messages of the fullest partitions until what is wanted fits. */
  make(): void {
    for (const [topic, count] of this.#wanted) {
      const excess = topic.keptCount + count - topic.settings.countMax;
      if (excess > 0) this.#evict(topic, excess);
    }
  }

  /**
   * As if one message after the other were taken from the partition that is the fullest then, the first of equals. The level to which the fullest
   * ones come down is found first, so that each of them is written once.
   */
  #evict(topic: Topic, excess: number): void {
    if (excess === 1) {
      const queue = topic.queues.reduce((fullest, each) => (each.kept > fullest.kept ? each : fullest));
      this.#store.evict(queue, queue.next - queue.kept + 1);
      return;
    }
    const fullest = [...topic.queues].sort((a, b) => b.kept - a.kept);
    let count = 0;
    let sum = 0;
    for (; count < fullest.length; count++) {
      // When these alone come down to the level of the next one, is it enough?
      if (count > 0 && sum - count * fullest[count]!.kept >= excess) break;
      sum += fullest[count]!.kept;
    }
    const level = Math.floor((sum - excess) / count);
    const oneMore = sum - excess - level * count;
    const chosen = fullest.slice(0, count).sort((a, b) => a.partition - b.partition);
    for (const [index, queue] of chosen.entries()) {
      const kept = index < count - oneMore ? level : level + 1;
      if (queue.kept > kept) this.#store.evict(queue, queue.next - kept);
    }
  }
}

/** What is delayed stands in no partition yet, so it cannot be evicted. */
function evictable(topic: Topic): number {
  return topic.queues.reduce((sum, queue) => sum + queue.kept, 0);
}
