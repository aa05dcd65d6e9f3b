import type { MessagingRule } from "./messaging-checker.ts";
import type { DeliveryRecord, Moment, PublishRecord } from "./messaging-records.ts";
import {
  describe,
  type GroupView,
  grantOf,
  isBefore,
  maySkip,
  ms,
  placeOf,
  push,
  type StoredCopy,
  type TopicView,
  wasGivenUp,
} from "./messaging-view.ts";

/**
 * A message is handled only when every earlier one of its key is settled: handled, a dead letter, or expired. Within one grant a key never goes back, except to what failed in a
 * batch together with later ones.
 */
export const keysKeepOrder: MessagingRule = function* (view) {
  for (const group of view.groups) {
    for (const deliveries of byKey(group.deliveries).values()) {
      const { partition, key } = deliveries[0]!;
      const copies = view.copiesByKey.get(`${partition}/${key}`) ?? [];
      for (const delivery of deliveries) yield* unsettledBefore(view, group, copies, delivery);
      yield* backWithinGrants(group, deliveries);
    }
  }
};

function* unsettledBefore(
  view: TopicView,
  group: GroupView,
  copies: readonly StoredCopy[],
  delivery: DeliveryRecord,
): Iterable<string> {
  for (const copy of copies) {
    if (copy.position >= delivery.position) return;
    if (isOver(view, group, copy, delivery)) continue;
    yield `group "${group.name}" was given ${describe(delivery)} at ${ms(delivery.begun)}, before ${describe(copy)} was settled`;
    return;
  }
}

/** Whether the message was done with, as far as its group's members can tell, when a later one of its key was given to one of them. */
function isOver(view: TopicView, group: GroupView, copy: StoredCopy, later: DeliveryRecord): boolean {
  const own = group.byPlace.get(placeOf(copy)) ?? [];
  for (const delivery of own) {
    if (delivery.ending === "resolved" && isBefore(delivery.ended, later.begun)) return true;
    if (later.batch !== undefined && delivery.batch === later.batch && isBefore(delivery.begun, later.begun))
      return true;
  }
  if (group.seeks.some((seek) => isBefore(seek.called, later.begun) && maySkip(seek, copy))) return true;
  if (view.mayHaveExpired(copy.number)) return true;
  // A lane's former owner that does not know it yet may still call handlers, and a seek brings dead ones back to life.
  const isAlive = (delivery: DeliveryRecord): boolean =>
    delivery.begun.order > later.begun.order &&
    grantOf(delivery) >= grantOf(later) &&
    !isSoughtBetween(group, later, delivery);
  if (own.some(isAlive)) return false;
  if (group.rest?.deadLetters !== undefined) return group.deadByPlace.has(placeOf(copy));
  return mayHaveDied(view, own);
}

/** Whether a message may be a dead letter after these deliveries, where the dead letters were not looked at. */
function mayHaveDied(view: TopicView, deliveries: readonly DeliveryRecord[]): boolean {
  const { attemptsMax = 16 } = view.expected;
  // One that dies with its process again and again is given up, too.
  if (deliveries.filter(({ ending }) => ending === undefined).length > 1) return true;
  return deliveries.some(
    ({ ending, attempt }) => ending === "dead letter" || (ending !== "resolved" && attempt > attemptsMax),
  );
}

function* backWithinGrants(group: GroupView, deliveries: readonly DeliveryRecord[]): Iterable<string> {
  for (const [, ofGrant] of byGrant(deliveries)) {
    const furthest: DeliveryRecord[] = [];
    for (const delivery of ofGrant) {
      const ahead = furthest.find(
        ({ position, begun }) => position > delivery.position && !wereInOneBatch(ofGrant, delivery, position, begun),
      );
      if (ahead !== undefined) {
        yield `group "${group.name}" was given ${describe(delivery)} at ${ms(delivery.begun)} under the same grant as the later ${describe(ahead)} at ${ms(ahead.begun)}`;
        return;
      }
      furthest.push(delivery);
    }
  }
}

/** Whether the two had been in one call of a batch handler before. */
function wereInOneBatch(
  deliveries: readonly DeliveryRecord[],
  one: DeliveryRecord,
  position: bigint,
  begun: Moment,
): boolean {
  const batches = new Set<number>();
  for (const each of deliveries) {
    if (each.batch !== undefined && each.position === position && each.begun.order <= begun.order)
      batches.add(each.batch);
  }
  return deliveries.some(
    (each) => each.position === one.position && each.batch !== undefined && batches.has(each.batch),
  );
}

/** Two handlers of one key run at a time only under different grants, or when the former was given up. */
export const handlersTakeTurns: MessagingRule = function* (view) {
  for (const group of view.groups) {
    for (const ofKey of byKey(group.deliveries).values()) {
      for (const [, deliveries] of byGrant(ofKey)) yield* overlaps(view, group, deliveries);
    }
  }
};

function* overlaps(view: TopicView, group: GroupView, deliveries: readonly DeliveryRecord[]): Iterable<string> {
  let running: DeliveryRecord[] = [];
  for (const delivery of deliveries) {
    running = running.filter(({ ended }) => !isBefore(ended, delivery.begun));
    for (const other of running) {
      if (other.batch !== undefined && other.batch === delivery.batch) continue;
      if (wasGivenUp(view, other, delivery.begun)) continue;
      yield `group "${group.name}" was given ${describe(delivery)} at ${ms(delivery.begun)} under the same grant while the handler of ${describe(other)} ran since ${ms(other.begun)}`;
    }
    running.push(delivery);
  }
}

/** In a lane every delivery has a fence of its own; a grant belongs to one member, and its fences grow. */
export const fencesGrow: MessagingRule = function* (view) {
  for (const { name, deliveries } of view.groups) {
    for (const lane of byLane(deliveries)) {
      const fences = new Map<bigint, DeliveryRecord>();
      const latest = new Map<bigint, DeliveryRecord>();
      for (const delivery of lane) {
        const grant = grantOf(delivery);
        const same = fences.get(delivery.fence);
        const before = latest.get(grant);
        const here = `group "${name}" was given ${describe(delivery)} at ${ms(delivery.begun)} under the fence ${delivery.fence}`;
        if (same !== undefined) yield `${here}, which ${describe(same)} had at ${ms(same.begun)}`;
        else if (before !== undefined && before.fence > delivery.fence)
          yield `${here}, after ${before.fence} at ${ms(before.begun)}`;
        if (before !== undefined && before.member !== delivery.member) {
          yield `${here} in ${delivery.member}, though the grant ${grant} was that of ${before.member} at ${ms(before.begun)}`;
        }
        fences.set(delivery.fence, delivery);
        latest.set(grant, delivery);
      }
    }
  }
};

/** `attempt` is 1 and the recorded failures: never more than were seen, and never forgotten except by a seek. */
export const attemptsCountFailures: MessagingRule = function* (view) {
  for (const group of view.groups) {
    for (const deliveries of group.byPlace.values()) {
      for (const [index, delivery] of deliveries.entries()) {
        const before = deliveries.slice(0, index);
        const failures = before.filter((each) => mayHaveFailed(view, each, delivery.begun)).length;
        const here = `group "${group.name}" was given ${describe(delivery)} at ${ms(delivery.begun)} as attempt ${delivery.attempt}`;
        if (delivery.attempt > failures + 1) yield `${here}, after ${failures} failures`;
        const more = before.find((each) => each.attempt > delivery.attempt && isSucceededBy(group, each, delivery));
        if (more !== undefined) yield `${here}, though at ${ms(more.begun)} it was attempt ${more.attempt} already`;
      }
    }
  }
};

function mayHaveFailed(view: TopicView, delivery: DeliveryRecord, at: Moment): boolean {
  if (wasGivenUp(view, delivery, at)) return true;
  return delivery.ending !== "resolved" && isBefore(delivery.ended, at);
}

/** Whether what was recorded for the one must be known to the other. Fences of retries elsewhere, which only keyless messages make, cannot be compared. */
function isSucceededBy(group: GroupView, one: DeliveryRecord, other: DeliveryRecord): boolean {
  return one.key !== undefined && grantOf(one) <= grantOf(other) && !isSoughtBetween(group, one, other);
}

/** Whether a seek may lie between the grants of two deliveries. The earlier one's owner may not know of it for long, so its instant proves nothing. */
function isSoughtBetween(group: GroupView, one: DeliveryRecord, other: DeliveryRecord): boolean {
  return grantOf(one) !== grantOf(other) && group.seeks.some((seek) => isBefore(seek.called, other.begun));
}

/** Nothing comes before it is due, after it expired, or, while all is well, much later than it is due. */
export const deliveriesAreInTime: MessagingRule = function* (view) {
  for (const group of view.groups) {
    for (const delivery of group.deliveries) {
      const calls = view.publishesOf(delivery.number).filter(({ outcome }) => outcome !== "not-applied");
      const here = `group "${group.name}" was given ${describe(delivery)} at ${ms(delivery.begun)}`;
      const due = Math.min(...calls.map(({ dueAt }) => dueAt ?? Number.NEGATIVE_INFINITY));
      if (Number.isFinite(due)) yield* whetherDue(view, delivery, calls, due, here);
      if (calls.length === 0) continue;
      const end = Math.max(...calls.map(({ expiresAt }) => expiresAt ?? Number.POSITIVE_INFINITY));
      if (delivery.memberMs !== undefined && delivery.memberMs >= end) {
        yield `${here}, when its member's clock said ${delivery.memberMs}, though it expired at ${end}`;
      }
    }
  }
};

/**
 * Judged by the engine's clock, which may jump: it must have said the instant at some time between the call of publish and the delivery, and
 * `publishedAt`, which says when a delayed message was stored in its partition, must not lie before it.
 */
function* whetherDue(
  view: TopicView,
  delivery: DeliveryRecord,
  calls: readonly PublishRecord[],
  due: number,
  here: string,
): Iterable<string> {
  const { begun, publishedAt } = delivery;
  const called = calls[0]!.called;
  const highest = view.history.engineClock.highest(called.atMs, begun.atMs, Math.max(called.engineMs, begun.engineMs));
  if (publishedAt < due) yield `${here}, stored at ${publishedAt}, though it is due at ${due}`;
  else if (highest < due)
    yield `${here}, when the engine's clock had not been beyond ${highest}, though it is due at ${due}`;
  const [only] = calls;
  if (calls.length > 1 || only?.outcome !== "acknowledged") return;
  const late = latestWhileHealthy(view, only, delivery, due);
  if (publishedAt > late) yield `${here}, stored at ${publishedAt}, though it was due at ${due} and all was well`;
}

/** By when it must be stored: late is what the engine was in trouble for, whatever its clock said then. */
function latestWhileHealthy(view: TopicView, call: PublishRecord, { begun }: DeliveryRecord, due: number): number {
  const { delayLatenessMs = 1_000 } = view.expected;
  for (const { from, to } of view.history.healthyTimes) {
    if (begun.order < from.order || (to !== undefined && begun.order > to.order)) continue;
    const before = view.history.engineClock.highest(0, from.atMs, from.engineMs);
    return Math.max(due, before, call.ended!.engineMs) + delayLatenessMs;
  }
  return Number.POSITIVE_INFINITY;
}

function byKey(deliveries: readonly DeliveryRecord[]): Map<string, DeliveryRecord[]> {
  const keys = new Map<string, DeliveryRecord[]>();
  for (const delivery of deliveries) {
    if (delivery.key !== undefined) push(keys, `${delivery.partition}/${delivery.key}`, delivery);
  }
  return keys;
}

function byGrant(deliveries: readonly DeliveryRecord[]): Map<bigint, DeliveryRecord[]> {
  const grants = new Map<bigint, DeliveryRecord[]>();
  for (const delivery of deliveries) push(grants, grantOf(delivery), delivery);
  return grants;
}

/** Without those that may have waited for their retry in a lane of its own, which has fences of its own. */
function byLane(deliveries: readonly DeliveryRecord[]): Iterable<readonly DeliveryRecord[]> {
  const lanes = new Map<number, DeliveryRecord[]>();
  for (const delivery of deliveries) {
    if (delivery.key !== undefined || delivery.attempt === 1) push(lanes, delivery.partition, delivery);
  }
  return lanes.values();
}
