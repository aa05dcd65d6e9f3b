import type { MessagingRule } from "./messaging-checker.ts";
import type { Moment, PublishRecord } from "./messaging-records.ts";
import { describe, isBefore, messageOf, ms, type TopicView } from "./messaging-view.ts";

/** Only what was published comes, as it was published; what was refused does not come. */
export const nothingIsInvented: MessagingRule = function* (view) {
  for (const [one, other] of view.conflicts) {
    yield `partition ${one.partition}, position ${one.position} holds two messages: ${one.number} and ${other.number}`;
  }
  for (const { name, deliveries, rest } of view.groups) {
    for (const { number, key, partition, begun } of deliveries) {
      const wrong = whyInvented(view, { number, key, partition, at: begun });
      if (wrong !== undefined) yield `group "${name}" was given ${messageOf(number, key)} at ${ms(begun)}, ${wrong}`;
    }
    for (const { number, key, origin } of rest?.deadLetters ?? []) {
      const wrong = whyInvented(view, { number, key, partition: origin.partition, at: undefined });
      if (wrong !== undefined) yield `group "${name}" has ${messageOf(number, key)} among its dead letters, ${wrong}`;
    }
  }
};

interface Seen {
  readonly number: number;
  readonly key: string | undefined;
  readonly partition: number;
  /** `undefined`: at the end. */
  readonly at: Moment | undefined;
}

function whyInvented(view: TopicView, { number, key, partition, at }: Seen): string | undefined {
  const all = view.publishesOf(number);
  const before = at === undefined ? all : all.filter(({ called }) => called.order < at.order);
  if (before.length === 0) return "which nobody had published";
  const possible = before.filter(({ outcome }) => outcome !== "not-applied");
  if (possible.length === 0) {
    const { ended, publisher } = before.at(-1)!;
    return `of which ${publisher} was told at ${ms(ended!)} that it was not applied`;
  }
  if (!possible.some((record) => record.key === key)) {
    return `which was published with ${keyText(possible[0]!.key)}`;
  }
  if (possible.every((record) => record.partition !== undefined && record.partition !== partition)) {
    return `in partition ${partition}, which was published to partition ${possible[0]!.partition}`;
  }
  return undefined;
}

function keyText(key: string | undefined): string {
  return key === undefined ? "no key" : `the key "${key}"`;
}

/**
 * Automatic retries carry producer marks, so an acknowledged call is one stored message. A second one needs a second call whose forerunner may have
 * been applied; and with a message id, only once the engine has forgotten it.
 */
export const storedOnce: MessagingRule = function* (view) {
  for (const [number, copies] of view.copiesByNumber) {
    if (copies.length < 2) continue;
    const calls = view.publishesOf(number).filter(({ outcome }) => outcome !== "not-applied");
    const places = copies.map(({ partition, position }) => `${partition}/${position}`).join(", ");
    const what = `${messageOf(number, copies[0]!.key)} is stored ${copies.length} times, at ${places}`;
    const receipts = new Set(calls.filter((call) => call.position !== undefined).map(placeTold));
    const untold = calls.filter(({ position }) => position === undefined).length;
    if (copies.length > receipts.size + untold) {
      yield `${what}, though ${calls.length} calls of publish may have been applied (${receipts.size} were told a position)`;
    } else if (calls.every(({ id }) => id !== undefined) && staysKnown(view, calls)) {
      yield `${what}, though all calls had the id "${calls[0]!.id}" and came within the time in which the engine knows it`;
    }
  }
};

function placeTold({ partition, position }: PublishRecord): string {
  return `${partition}/${position}`;
}

/** Whether the engine's clock cannot have gone far enough, from the first call to the end of the last, to forget an id. */
function staysKnown({ history, expected }: TopicView, calls: readonly PublishRecord[]): boolean {
  if (calls.some(({ ended }) => ended === undefined)) return false;
  const from = Math.min(...calls.map(({ called }) => called.atMs));
  const to = Math.max(...calls.map(({ ended }) => ended!.atMs));
  const readings = calls.flatMap(({ called, ended }) => [called.engineMs, ended!.engineMs]);
  const highest = history.engineClock.highest(from, to, Math.max(...readings));
  return highest - Math.min(...readings) < (expected.deduplicationMs ?? 120_000);
}

/**
 * In a partition messages stand in the order in which they were published: those of one publisher in the order of its calls, others when one call had ended
 * before the other began. Delayed messages join when they are due, and an id may stand for an older message.
 */
export const publishingKeepsOrder: MessagingRule = function* (view) {
  const byPartition = new Map<number, Placed[]>();
  for (const placed of placedCalls(view)) {
    const list = byPartition.get(placed.partition) ?? [];
    byPartition.set(placed.partition, list);
    list.push(placed);
  }
  for (const list of byPartition.values()) {
    yield* breachesWithinPublishers(list);
    yield* breachesBetweenPublishers(list);
  }
};

interface Placed {
  readonly call: PublishRecord;
  readonly partition: number;
  readonly position: bigint;
}

/** The calls of which it is known what they stored, in the order in which they were made. */
function* placedCalls(view: TopicView): Iterable<Placed> {
  for (const [number, calls] of view.byNumber) {
    for (const call of calls) {
      if (call.dueAt !== undefined || (call.id !== undefined && calls.length > 1)) continue;
      const copies = view.copiesByNumber.get(number) ?? [];
      if (call.position !== undefined && call.partition !== undefined) {
        yield { call, partition: call.partition, position: call.position };
      } else if (calls.length === 1 && copies.length === 1) {
        yield { call, partition: copies[0]!.partition, position: copies[0]!.position };
      }
    }
  }
}

function* breachesWithinPublishers(list: readonly Placed[]): Iterable<string> {
  const latest = new Map<string, Placed>();
  for (const placed of list.toSorted((a, b) => a.call.called.order - b.call.called.order)) {
    const before = latest.get(placed.call.publisher);
    if (before !== undefined && before.position >= placed.position) yield reordered(before, placed);
    if (before === undefined || before.position < placed.position) latest.set(placed.call.publisher, placed);
  }
}

function* breachesBetweenPublishers(list: readonly Placed[]): Iterable<string> {
  const ended = list.filter(({ call }) => call.outcome === "acknowledged");
  const byEnd = ended.toSorted((a, b) => a.call.ended!.order - b.call.ended!.order);
  let next = 0;
  let furthest: Placed | undefined;
  for (const placed of list.toSorted((a, b) => a.call.called.order - b.call.called.order)) {
    while (next < byEnd.length && isBefore(byEnd[next]!.call.ended, placed.call.called)) {
      const before = byEnd[next]!;
      if (furthest === undefined || before.position > furthest.position) furthest = before;
      next += 1;
    }
    if (
      furthest !== undefined &&
      furthest.call.publisher !== placed.call.publisher &&
      furthest.position >= placed.position
    ) {
      yield reordered(furthest, placed);
    }
  }
}

function reordered(before: Placed, after: Placed): string {
  const one = describe({ ...before, number: before.call.number, key: before.call.key });
  const other = describe({ ...after, number: after.call.number, key: after.call.key });
  return `${one} stands behind ${other}, though it was published before it (at ${ms(before.call.called)} and ${ms(after.call.called)})`;
}
