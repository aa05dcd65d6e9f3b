import assert from "node:assert/strict";
import { json, type Topic, topic } from "../messaging/index.ts";
import type { MessagingEngine } from "./engines.ts";

/** The `value`-th message of its key. */
export interface Numbered {
  readonly key: string;
  readonly value: number;
}

/** What was published and what each group handled, to be compared in the end. */
export class Audit {
  readonly #published = new Map<string, number>();
  readonly #handled = new Map<string, Numbered[]>();

  /** Publishes the next message of the key; it counts when it is acknowledged. */
  async publish(target: Topic<Numbered>, key: string, more: { delayMs?: number } = {}): Promise<void> {
    const value = this.#published.get(key) ?? 0;
    this.#published.set(key, value + 1);
    await target.publish({ key, value }, { key, ...more });
  }

  handled(group: string, message: Numbered): void {
    const messages = this.#handled.get(group) ?? [];
    messages.push(message);
    this.#handled.set(group, messages);
  }

  get publishedCount(): number {
    return [...this.#published.values()].reduce((sum, count) => sum + count, 0);
  }

  /** How many different ones. */
  handledCount(group: string): number {
    return new Set((this.#handled.get(group) ?? []).map(({ key, value }) => `${key}/${value}`)).size;
  }

  /** Nothing is missing, nothing invented, nothing out of order within its key; nothing twice unless that is allowed. */
  verify(group: string, { repeats = false } = {}): void {
    const byKey = Map.groupBy(this.#handled.get(group) ?? [], ({ key }) => key);
    for (const [key, count] of this.#published) {
      const values = (byKey.get(key) ?? []).map(({ value }) => value);
      // A message may come again, but never an older one after a newer one was new.
      const firsts = repeats ? values.filter((value, at) => values.indexOf(value) === at) : values;
      assert.deepEqual(
        firsts,
        Array.from({ length: count }, (_, value) => value),
        `key ${key} in group ${group}`,
      );
    }
    for (const key of byKey.keys()) assert.ok(this.#published.has(key), `key ${key} was never published`);
  }
}

export function orders(engine: MessagingEngine, groups: readonly string[] = ["billing"]): Topic<Numbered> {
  return topic(engine, "orders", { codec: json<Numbered>(), partitions: 4, groups });
}

/** Lets timers run until it holds; the test's own limit of time ends it otherwise. */
export async function until(engine: MessagingEngine, holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await engine.world.timers.sleep(5);
}
