import assert from "node:assert/strict";
import { isPoison } from "./failing.ts";
import type { Numbered, Report } from "./reports.ts";

interface Waiter {
  readonly holds: () => boolean;
  readonly resolve: () => void;
}

/** What all processes of a move have told, in the order in which it was written down. */
export class Ledger {
  readonly #published = new Map<string, number>();
  readonly #handled = new Map<string, Numbered[]>();
  readonly #givenUp = new Map<string, Numbered[]>();
  readonly #waiters = new Set<Waiter>();
  publishedCount = 0;

  write(report: Report): void {
    if (report.did === "publish") {
      assert.equal(report.value, this.#published.get(report.key) ?? 0, `publishes of ${report.key} are told in order`);
      this.#published.set(report.key, report.value + 1);
      this.publishedCount += 1;
    } else if (report.did !== "ready") {
      const { group, key, value } = report;
      // What a group gives up takes its place in the order of its key, too.
      listOf(this.#handled, group).push({ key, value });
      if (report.did === "give up") listOf(this.#givenUp, group).push({ key, value });
    }
    for (const waiter of [...this.#waiters]) {
      if (!waiter.holds()) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  /** Resolves when it holds; looked at whenever something is written down. */
  until(holds: () => boolean): Promise<void> {
    if (holds()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiters.add({ holds, resolve });
    return promise;
  }

  untilPublished(count: number): Promise<void> {
    const goal = this.publishedCount + count;
    return this.until(() => this.publishedCount >= goal);
  }

  handledCount(group: string): number {
    return this.#handled.get(group)?.length ?? 0;
  }

  /** The group's messages that went to the dead letters. */
  givenUp(group: string): readonly Numbered[] {
    return this.#givenUp.get(group) ?? [];
  }

  /**
   * Everything that is wrong: messages that are missing, invented, doubled, or first handled behind a later one of their key. Those in `mayRepeat` may be
   * doubled.
   */
  faults(group: string, mayRepeat: (message: Numbered) => boolean = () => false): string[] {
    const faults: string[] = [];
    const seen = new Map<string, Set<number>>();
    const greatest = new Map<string, number>();
    for (const message of this.#handled.get(group) ?? []) {
      const { key, value } = message;
      const what = `${group}: ${key}/${value}`;
      const values = seen.get(key) ?? new Set();
      seen.set(key, values);
      if (value >= (this.#published.get(key) ?? 0)) faults.push(`${what} was never published`);
      if (values.has(value)) {
        if (!mayRepeat(message)) faults.push(`${what} was handled twice`);
        continue;
      }
      values.add(value);
      const former = greatest.get(key) ?? -1;
      if (value > former) greatest.set(key, value);
      else if (isOrdered(key)) faults.push(`${what} was handled behind ${former}`);
    }
    for (const [key, count] of this.#published) {
      for (let value = 0; value < count; value++) {
        if (!seen.get(key)?.has(value)) faults.push(`${group}: ${key}/${value} is missing`);
      }
    }
    for (const [key, values] of seen) {
      const poisoned = [...values].filter((value) => isPoison(group, { key, value })).length;
      const givenUp = this.givenUp(group).filter((each) => each.key === key).length;
      if (givenUp < poisoned) faults.push(`${group}: ${poisoned - givenUp} of ${key} were not given up`);
    }
    return faults;
  }
}

/** Messages without a key run side by side, and those that are delayed come when they are due. */
function isOrdered(key: string): boolean {
  return !key.startsWith("none") && !key.startsWith("later");
}

function listOf(map: Map<string, Numbered[]>, group: string): Numbered[] {
  const list = map.get(group) ?? [];
  map.set(group, list);
  return list;
}
