import type { TopicDescription } from "../../contracts/messages.ts";
import type { MessagingRule } from "./messaging-checker.ts";
import type { DeadLetterRecord, DeliveryRecord, DescriptionRecord, Moment, SeekRecord } from "./messaging-records.ts";
import {
  describe,
  doneBy,
  type GroupView,
  grantOf,
  isBefore,
  mayGoBack,
  maySkip,
  messageOf,
  ms,
  placeOf,
  type StoredCopy,
  type TopicView,
  targetOf,
  wasGivenUp,
} from "./messaging-view.ts";

/** What a lane has settled for good is not given to a later owner of the lane, and to the same one only if it was on its way already. */
export const settledIsSettled: MessagingRule = function* (view) {
  for (const group of view.groups) {
    for (const [place, settles] of group.settles) {
      for (const delivery of group.byPlace.get(place) ?? []) {
        const settle = settles.find(({ grant, resolved }) =>
          grant === grantOf(delivery) ? isBefore(resolved, delivery.begun) : grant < grantOf(delivery),
        );
        if (settle === undefined || mayBeRepeatedRetry(view, delivery)) continue;
        const wentBack = group.seeks.some(
          (seek) =>
            mayGoBack(seek, delivery) &&
            isBefore(seek.called, delivery.begun) &&
            !isBefore(doneBy(seek), settle.called),
        );
        if (wentBack) continue;
        yield `group "${group.name}" was given ${describe(delivery)} at ${ms(delivery.begun)} under the grant ${grantOf(delivery)}, though its settlement under the grant ${settle.grant} was confirmed at ${ms(settle.resolved)}`;
      }
    }
  }
};

/** Whether its retry may have been stored elsewhere without its being settled here: then it goes on in both places. */
function mayBeRepeatedRetry({ expected }: TopicView, { key, attempt }: DeliveryRecord): boolean {
  return expected.atomic === false && key === undefined && attempt > 1;
}

/** What `describe` says of ends and groups' positions never moves back, but for groups by a seek. */
export const positionsNeverMoveBack: MessagingRule = function* (view) {
  const all = view.history.descriptions.filter(({ description }) => description.topic === view.expected.topic);
  const byCall = all.toSorted((a, b) => a.called.order - b.called.order);
  const byEnd = all.toSorted((a, b) => a.ended.order - b.ended.order);
  const known = new Map<string, Known>();
  let next = 0;
  for (const record of byCall) {
    for (; next < byEnd.length && isBefore(byEnd[next]!.ended, record.called); next += 1) remember(known, byEnd[next]!);
    for (const { name, position, seeks } of positionsOf(view, record.description)) {
      const before = known.get(name);
      if (before === undefined || before.position <= position) continue;
      if (seeks.some((seek) => isBetween(seek, before.record, record))) continue;
      yield `${name} was ${before.position} at ${ms(before.record.ended)} and is back at ${position} at ${ms(record.ended)}`;
    }
  }
  function remember(into: Map<string, Known>, record: DescriptionRecord): void {
    for (const { name, position, seeks } of positionsOf(view, record.description)) {
      const before = into.get(name);
      const sought = before !== undefined && seeks.some((seek) => isBetween(seek, before.record, record));
      if (before === undefined || sought || position >= before.position) into.set(name, { position, record });
    }
  }
};

interface Known {
  readonly position: bigint;
  readonly record: DescriptionRecord;
}

/** Whether a seek may have taken effect after the one was true and before the other was. */
function isBetween(seek: SeekRecord, one: DescriptionRecord, other: DescriptionRecord): boolean {
  return seek.outcome !== "not-applied" && isBefore(seek.called, other.ended) && !isBefore(doneBy(seek), one.called);
}

function* positionsOf(
  view: TopicView,
  { topic, partitions, groups }: TopicDescription,
): Iterable<{ readonly name: string; readonly position: bigint; readonly seeks: readonly SeekRecord[] }> {
  for (const [partition, { next }] of partitions.entries()) {
    yield { name: `the end of topic "${topic}", partition ${partition},`, position: next, seeks: [] };
  }
  for (const { group, lanes } of groups) {
    const seeks = view.groups.find(({ name }) => name === group)?.seeks ?? [];
    for (const [partition, { low }] of lanes.entries()) {
      yield { name: `the position of group "${group}" in partition ${partition}`, position: low, seeks };
    }
  }
}

/** At rest every stored message was handled by every group, or is one of its dead letters, or expired where expired ones are dropped; again after a seek that went back before it. */
export const nothingIsLost: MessagingRule = function* (view) {
  for (const group of view.groups) {
    if (group.rest === undefined) continue;
    if (group.rest.lag !== 0)
      yield `group "${group.name}" has not settled ${group.rest.lag} messages, and nothing happens any more`;
    for (const copy of view.copies.values()) {
      if (!isDone(view, group, copy))
        yield `${describe(copy)} is lost to group "${group.name}": ${whatIsKnown(view, group, copy)}`;
    }
    for (const [number, calls] of view.byNumber) {
      const told = calls.find(({ outcome }) => outcome === "acknowledged");
      if (told === undefined || view.copiesByNumber.has(number)) continue;
      if (mayBeDropped(view, number) || group.seeks.some((seek) => maySkipUnknown(seek))) continue;
      yield `${messageOf(number, told.key)} is lost to group "${group.name}": it was acknowledged at ${ms(told.ended!)}, and nobody has seen it`;
    }
  }
};

/** Of a message whose place nobody knows. */
function maySkipUnknown(seek: SeekRecord): boolean {
  return seek.outcome !== "not-applied" && seek.to !== "earliest";
}

function mayBeDropped(view: TopicView, number: number): boolean {
  return view.expected.whenExpired === "drop" && view.mayHaveExpired(number);
}

function isDone(view: TopicView, group: GroupView, copy: StoredCopy): boolean {
  const place = placeOf(copy);
  if (group.deadByPlace.has(place) || mayBeDropped(view, copy.number)) return true;
  // The last seek that certainly went back to it: what was handled earlier does not count any more.
  const back = group.seeks.findLast(
    (seek) => seek.outcome === "acknowledged" && certainlyGoesBack(seek, copy) && !mayHaveGone(view, seek, copy),
  );
  const skipped = group.seeks.some(
    (seek) =>
      maySkip(seek, copy) &&
      (back === undefined || !isBefore(doneBy(seek), back.called)) &&
      mayHaveBeenThere(view, seek, copy),
  );
  if (skipped) return true;
  const deliveries = group.byPlace.get(place) ?? [];
  if (deliveries.some(({ ending, begun }) => ending === "resolved" && !isBefore(begun, back?.called ?? begun)))
    return true;
  return group.rest?.deadLetters === undefined && deliveries.some(({ ending }) => ending !== "resolved");
}

function certainlyGoesBack(seek: SeekRecord, copy: StoredCopy): boolean {
  const target = targetOf(seek, copy.partition);
  return typeof target === "bigint" && target <= copy.position;
}

/**
 * Whether the message may have been removed before the seek: every group may have settled it, and something was removed already. A partition's `first` does not say what, for what is
 * settled goes from between what is not, too.
 */
function mayHaveGone(view: TopicView, seek: SeekRecord, copy: StoredCopy): boolean {
  return (
    view.groups.every((group) => mayHaveBeenSettled(view, group, copy, seek.ended!)) && isSomethingGone(view, seek)
  );
}

function mayHaveBeenSettled(view: TopicView, group: GroupView, copy: StoredCopy, at: Moment): boolean {
  if (group.byPlace.get(placeOf(copy))?.some(({ begun }) => isBefore(begun, at))) return true;
  return (
    view.mayHaveExpired(copy.number) || group.seeks.some((seek) => isBefore(seek.called, at) && maySkip(seek, copy))
  );
}

/** By what was seen last before the seek's end and first after it. */
function isSomethingGone({ history, expected }: TopicView, seek: SeekRecord): boolean {
  const ofTopic = history.descriptions.filter(({ description }) => description.topic === expected.topic);
  const after = ofTopic.find(({ called }) => isBefore(seek.ended, called));
  return ofTopic.some(
    ({ called, description }) =>
      (after === undefined || called.order <= after.called.order) &&
      description.partitions.some(({ first }) => first > 0n),
  );
}

/** Whether the message may have been stored before the seek was over; a place that is named leaves out what is below it whenever it comes. */
function mayHaveBeenThere(view: TopicView, seek: SeekRecord, copy: StoredCopy): boolean {
  if (targetOf(seek, copy.partition) !== undefined) return true;
  return view.publishesOf(copy.number).some(({ called }) => seek.ended === undefined || isBefore(called, seek.ended));
}

function whatIsKnown(view: TopicView, { byPlace }: GroupView, copy: StoredCopy): string {
  const told = view.publishesOf(copy.number).find(({ outcome }) => outcome === "acknowledged");
  const stored = told === undefined ? "it is stored" : `it was acknowledged at ${ms(told.ended!)}`;
  const last = byPlace.get(placeOf(copy))?.at(-1);
  if (last === undefined) return `${stored}, and was never delivered there`;
  const ending = last.ending === undefined ? "never ended" : `ended as "${last.ending}"`;
  return `${stored}, and its last delivery there, at ${ms(last.begun)}, ${ending}`;
}

/** At rest exactly what was given up is among the dead letters: once, from where it was stored, with the failures it had and the reason of the last. */
export const deadLettersAreComplete: MessagingRule = function* (view) {
  for (const group of view.groups) {
    if (group.rest?.deadLetters === undefined) continue;
    for (const dead of group.rest.deadLetters) {
      const wrong = whyNotDead(view, group, dead);
      if (wrong !== undefined)
        yield `group "${group.name}" has ${deadOf(dead)} among its dead letters ("${dead.reason}"), ${wrong}`;
    }
    for (const copy of view.copies.values()) {
      const own = group.deadByPlace.get(placeOf(copy)) ?? [];
      const times = timesGivenUp(view, group, copy) + group.seeks.filter((seek) => mayGoBack(seek, copy)).length;
      if (own.filter((dead) => isSeen(view, dead)).length > times)
        yield `group "${group.name}" has ${describe(copy)} ${own.length} times among its dead letters`;
      const last = own.length === 0 ? lastOf(group.byPlace.get(placeOf(copy)) ?? []) : undefined;
      if (last === undefined || !givesUp(view, last) || mayBeDropped(view, copy.number)) continue;
      if (wasGivenUp(view, last, last.ended!) || group.seeks.some((seek) => maySkip(seek, copy))) continue;
      yield `group "${group.name}" gave up ${describe(copy)} at ${ms(last.ended!)} ("${last.reason}"), and it is not among its dead letters`;
    }
  }
};

/** How often it may have become a dead letter, but for seeks. */
function timesGivenUp(view: TopicView, group: GroupView, copy: StoredCopy): number {
  if (view.expected.atomic !== false) return 1;
  const deliveries = group.byPlace.get(placeOf(copy)) ?? [];
  const last = deliveries.filter((each) => givesUp(view, each) || (each.ended && wasGivenUp(view, each, each.ended)));
  return Math.max(1, new Set(last.map(grantOf)).size);
}

/** What expires or dies with its process becomes a dead letter though no delivery gives it up: how often, nobody has seen. */
function isSeen(view: TopicView, { reason }: DeadLetterRecord): boolean {
  return view.expected.atomic !== false || !(reason === "expired" || reason.startsWith(diedWith));
}

const diedWith = "died with its handler ";

function deadOf({ number, key, origin }: DeadLetterRecord): string {
  return describe({ ...origin, number, key });
}

function givesUp(view: TopicView, { ending, attempt }: DeliveryRecord): boolean {
  return ending === "dead letter" || (ending === "threw" && attempt > (view.expected.attemptsMax ?? 16));
}

/** The delivery that counts last: under the greatest fence, whoever of the lane's former owners still ran. */
function lastOf(deliveries: readonly DeliveryRecord[]): DeliveryRecord | undefined {
  if (deliveries.some(({ key }) => key === undefined)) return deliveries.at(-1);
  return deliveries.reduce<DeliveryRecord | undefined>(
    (last, each) => (last === undefined || each.fence > last.fence ? each : last),
    undefined,
  );
}

function whyNotDead(view: TopicView, group: GroupView, dead: DeadLetterRecord): string | undefined {
  const { origin, failures, reason, number } = dead;
  if (origin.topic !== view.expected.topic) return `from topic "${origin.topic}"`;
  const deliveries = group.byPlace.get(placeOf(origin)) ?? [];
  if (reason === "expired")
    return view.mayHaveExpired(number) ? undefined : "though no member's clock can have said so";
  if (deliveries.length === 0) return "which was never delivered";
  if (reason.startsWith(diedWith)) return undefined;
  const causes = deliveries.filter((each) => each.attempt === failures && isCause(view, each, reason));
  if (causes.length === 0) {
    const seen = deliveries.map((each) => `attempt ${each.attempt} ${each.ending ?? "never ended"}`).join(", ");
    return `with ${failures} failures, which fits none of its deliveries (${seen})`;
  }
  if (!causes.some((cause) => givesUp(view, cause) || cause.attempt > (view.expected.attemptsMax ?? 16))) {
    return `after ${failures} failures, though more attempts were allowed`;
  }
  if (view.expected.atomic === false) return undefined;
  const greatest = lastOf(deliveries);
  if (group.seeks.length > 0 || greatest === undefined || greatest.key === undefined) return undefined;
  if (causes.some((cause) => grantOf(cause) === grantOf(greatest))) return undefined;
  return `though it was delivered again at ${ms(greatest.begun)} under a later grant`;
}

/** A handler that was given up has said nothing, or too late. */
function isCause(view: TopicView, delivery: DeliveryRecord, reason: string): boolean {
  if (delivery.ending !== "resolved" && delivery.reason === reason) return true;
  if (!reason.startsWith("timeout: The handler of ")) return false;
  return delivery.ended === undefined || wasGivenUp(view, delivery, delivery.ended);
}
