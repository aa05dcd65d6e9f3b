import type { LeaseDescription } from "../../contracts/leases.ts";
import { Violation } from "../system.ts";
import { type ClockReadings, rightClock } from "./clock-record.ts";
import { ms } from "./instants.ts";
import { type Confirmation, type Grant, grantsOf, sinceOf, tellGrant } from "./lease-grants.ts";
import type { EffectResult, GuardedEffect, Hold, LeaseHistory, LeaseInput, LeaseOperation } from "./lease-history.ts";
import type { Operation } from "./operation-history.ts";

export interface LeaseRules {
  /** What the engine's clock showed; the virtual time itself when left out. */
  readonly clock?: ClockReadings | undefined;
  /** What a client's clock showed, and whether it ran at all; a right one when left out. */
  readonly clientClock?: ((client: string) => ClockReadings) | undefined;
  /** By what share clocks may gain or lose; 0.01 when left out. Where one does more, or steps, or stands still, only fencing is judged. */
  readonly driftMax?: number | undefined;
  /** The engine's `capabilities.expiryLatenessMs`. */
  readonly expiryLatenessMs: number;
  /** The present virtual instant. */
  readonly nowMs: number;
}

/** Wall clocks show whole milliseconds, and timers go by them. */
const slackMs = 5;

/**
 * Holds what clients asked of leases, and what they did under them, against the contract, and throws a `Violation` for what does not fit.
 *
 * Always: no token is given twice, tokens of a name grow, nothing revives a lease that has ended, and guarded effects come in the order of their tokens.
 *
 * Where the engine's clock ran without steps within the declared drift: a lease that its holder was told of does not end before its time to live has passed since the call that last
 * prolonged it, so that never more is held than there is. Where the holder's clock did, and the process ran: its signal aborts before that time is over.
 * Elsewhere two may take themselves for holders, and only fencing protects.
 */
export function checkLeases(history: LeaseHistory, rules: LeaseRules): void {
  checkEffects(history.effects.operations);
  const names = grantsOf(history.requests.operations);
  for (const grants of names.values()) {
    checkTokens(grants);
    for (const grant of grants) {
      checkNotRevived(grant, grants, rules);
      checkNotEndedEarly(grant, rules);
      checkFits(grant, grants, rules);
    }
  }
  for (const hold of history.holds) {
    const grant = names.get(hold.name)?.find(({ token }) => token === hold.token);
    if (grant === undefined) {
      throw new Violation(
        `${hold.client} took itself to hold ${hold.name} under token ${hold.token}, which nobody was granted`,
      );
    }
    checkSignal(hold, grant, rules);
  }
}

/** An effect guarded by a token is refused after one with a greater token. */
export function checkEffects(effects: readonly Operation<GuardedEffect, EffectResult>[]): void {
  const applied = effects.filter(({ output }) => output?.applied);
  for (const late of applied) {
    const first = applied.find(
      (other) =>
        other.input.resource === late.input.resource && other.input.token > late.input.token && precedes(other, late),
    );
    if (first === undefined) continue;
    throw new Violation(
      `the effect on ${late.input.resource} under token ${late.input.token} by ${late.client}, called at ${ms(late.calledAt)}, was applied after the one under token ${first.input.token} by ${first.client}, which had returned at ${ms(first.returnedAt!)}`,
    );
  }
}

function precedes(one: Operation<GuardedEffect, EffectResult>, other: Operation<GuardedEffect, EffectResult>): boolean {
  const order = one.output!.order;
  const otherOrder = other.output!.order;
  if (order !== undefined && otherOrder !== undefined) return order < otherOrder;
  return one.returned! < other.called;
}

/** What is asked for after a grant was answered has a greater token. */
function checkTokens(grants: readonly Grant[]): void {
  for (const [index, grant] of grants.entries()) {
    for (const greater of grants.slice(index + 1)) {
      if (greater.firstAnswer.returned! >= grant.firstCall.called) continue;
      throw new Violation(
        `${tellGrant(grant)} asked for ${grant.name} at ${ms(grant.firstCall.calledAt)}, after ${tellGrant(greater)} had been granted it by ${ms(greater.firstAnswer.returnedAt!)}, and got a smaller token`,
      );
    }
  }
}

function checkNotRevived(grant: Grant, grants: readonly Grant[], rules: LeaseRules): void {
  for (const [index, confirmation] of grant.confirmations.entries()) {
    const told = `${tellGrant(grant)} was told at ${ms(confirmation.returnedAt!)} that it holds ${grant.name}, asking at ${ms(confirmation.calledAt)}`;
    const release = grant.releases.find(
      ({ called, returned }) =>
        called > grant.firstAnswer.returned! && returned !== undefined && returned < confirmation.called,
    );
    if (release !== undefined) throw new Violation(`${told}, after it had released it by ${ms(release.returnedAt!)}`);
    const successor = grants.find(
      (other) => excludes(other, grant) && other.firstAnswer.returned! < confirmation.called,
    );
    if (successor !== undefined) {
      throw new Violation(
        `${told}, after ${tellGrant(successor)} had been granted it by ${ms(successor.firstAnswer.returnedAt!)}`,
      );
    }
    const endedAt = latestEnd(grant, grant.confirmations.slice(0, index), confirmation, rules);
    if (endedAt === undefined || endedAt >= confirmation.calledAt) continue;
    throw new Violation(`${told}, after it had ended by ${ms(endedAt)}`);
  }
}

/** A later grant beside which the earlier one cannot have gone on. */
function excludes(later: Grant, earlier: Grant): boolean {
  return later.token > earlier.token && later.weight + earlier.weight > later.capacity;
}

/** When it has ended for sure, if only these confirmations prolonged it; nothing when others may have, or when the clock does not say. */
function latestEnd(
  grant: Grant,
  confirmations: readonly Confirmation[],
  before: Confirmation,
  { clock = rightClock, driftMax = 0.01, expiryLatenessMs }: LeaseRules,
): number | undefined {
  if (confirmations.length === 0 || grant.unknown.some(({ called }) => called < before.called)) return undefined;
  let endedAt = 0;
  for (const { returnedAt, input } of confirmations) {
    endedAt = Math.max(endedAt, returnedAt! + input.ttlMs / (1 - driftMax) + expiryLatenessMs + slackMs);
  }
  return clock.steady(confirmations[0]!.calledAt, before.returnedAt!, driftMax) ? endedAt : undefined;
}

/** Until when it is held at least: nothing when the engine's clock does not say. */
function heldUntil(
  grant: Grant,
  before: number,
  { clock = rightClock, clientClock, driftMax = 0.01 }: LeaseRules,
): number | undefined {
  let untilMs = Number.NEGATIVE_INFINITY;
  for (const confirmation of grant.confirmations) {
    if (confirmation.returned! > before) continue;
    const holderClock = clientClock?.(confirmation.client) ?? rightClock;
    const since = sinceOf(confirmation, holderClock, driftMax).earliest;
    const endsAt = since + confirmation.input.ttlMs / (1 + driftMax) - slackMs;
    if (endsAt > untilMs && clock.steady(since, endsAt, driftMax)) untilMs = endsAt;
  }
  const release = grant.releases.find(({ returned }) => returned === undefined || returned > grant.firstAnswer.called);
  const released = release?.calledAt ?? Number.POSITIVE_INFINITY;
  return untilMs === Number.NEGATIVE_INFINITY ? undefined : Math.min(untilMs, released);
}

function checkNotEndedEarly(grant: Grant, rules: LeaseRules): void {
  for (const lost of grant.lost) {
    const untilMs = heldUntil(grant, lost.called, rules);
    if (untilMs === undefined || lost.returnedAt! >= untilMs) continue;
    throw new Violation(
      `${tellGrant(grant)} was told at ${ms(lost.returnedAt!)} that it had lost ${grant.name}, which was to be its own until ${ms(untilMs)}`,
    );
  }
}

/** Whoever was granted it before, and holds it still when this one is told, leaves room for this one. */
function checkFits(grant: Grant, grants: readonly Grant[], rules: LeaseRules): void {
  const { firstAnswer, name, weight, capacity } = grant;
  const holders = grants.filter(
    (other) =>
      other.token < grant.token && (heldUntil(other, firstAnswer.returned!, rules) ?? 0) > firstAnswer.returnedAt!,
  );
  const held = holders.reduce((sum, other) => sum + other.weight, 0);
  if (held + weight <= capacity) return;
  const told = holders.map(
    (other) => `${tellGrant(other)} until ${ms(heldUntil(other, firstAnswer.returned!, rules)!)}`,
  );
  throw new Violation(
    `${tellGrant(grant)} was granted ${weight} of ${capacity} of ${name} by ${ms(firstAnswer.returnedAt!)}, while ${held} of it were held: by ${told.join(", ")}`,
  );
}

/** Whoever takes itself for the holder stops before its time to live has passed by its own clocks, if they run. */
function checkSignal(hold: Hold, grant: Grant, { clientClock, driftMax = 0.01, nowMs }: LeaseRules): void {
  const clock = clientClock?.(hold.client) ?? rightClock;
  let latestMs = 0;
  let since = hold.fromMs;
  for (const confirmation of grant.confirmations) {
    const { latest } = sinceOf(confirmation, clock, driftMax);
    const endsAt = latest + confirmation.input.ttlMs / (1 - driftMax) + slackMs;
    if (endsAt <= latestMs) continue;
    latestMs = endsAt;
    since = latest;
  }
  const untilMs = hold.untilMs ?? nowMs;
  if (untilMs <= latestMs || !clock.steady(since, latestMs, driftMax)) return;
  const still = hold.untilMs === undefined ? "still took" : "took";
  throw new Violation(
    `${hold.client} ${still} itself to hold ${hold.name} under token ${hold.token} at ${ms(untilMs)}, although its time to live, counted from ${ms(since)}, had passed by ${ms(latestMs)} by its own clock`,
  );
}

/**
 * Those who wait are granted in the order of their requests, where the engine's `capabilities.fifo` says so. The history must have been recorded beside the engine itself, where calls
 * come in the order of the requests: of two that were both under way on a network nobody knows which came first.
 */
export function checkFairness({ requests }: LeaseHistory): void {
  const { operations } = requests;
  for (const grants of grantsOf(operations).values()) {
    for (const grant of grants) {
      // A request that is repeated while it waits shares its place; the one that it repeats may have been given up meanwhile.
      const place = requests.refused.find(({ input }) => isFor(input, grant)) ?? grant.firstCall;
      checkOvertakesNobody(grant, Math.min(place.called, grant.firstCall.called), operations);
    }
  }
}

function isFor(input: LeaseInput, { name, holder }: Grant): boolean {
  return input.type === "acquire" && input.name === name && input.holder === holder;
}

function checkOvertakesNobody(grant: Grant, asked: number, operations: readonly LeaseOperation[]): void {
  const { name, token, firstCall, firstAnswer } = grant;
  for (const waiting of operations) {
    const { input, output, called } = waiting;
    if (input.type !== "acquire" || input.name !== name || input.waitMs === 0) continue;
    if (called >= asked) continue;
    const overtaken =
      (output?.type === "granted" && output.token > token && waiting.returned! > firstCall.called) ||
      (output?.type === "not granted" && waiting.returned! > firstAnswer.returned!);
    if (!overtaken || input.holder === grant.holder) continue;
    throw new Violation(
      `${tellGrant(grant)}, asking for ${name} at ${ms(firstCall.calledAt)}, was granted it before ${input.holder} (of ${waiting.client}), which had been waiting since ${ms(waiting.calledAt)} and was ${output.type} at ${ms(waiting.returnedAt!)}`,
    );
  }
}

/**
 * When everything is at rest nobody waits for what is free, and what was released is held by nobody. `descriptions`: what the engine says of each name now. `died`: clients of which nobody hears any more.
 */
export function checkLeasesAtRest(
  history: LeaseHistory,
  descriptions: readonly LeaseDescription[],
  options: { readonly died?: ((client: string) => boolean) | undefined } = {},
): void {
  const { operations } = history.requests;
  for (const description of descriptions) {
    const { name, holders } = description;
    const held = holders.reduce((sum, { weight }) => sum + weight, 0);
    const waiting = operations.find(
      (each) => isWaiting(each) && each.input.name === name && !options.died?.(each.client) && fits(each.input, held),
    );
    if (waiting !== undefined) {
      throw new Violation(
        `${waiting.input.holder} (of ${waiting.client}) waits for ${name} since ${ms(waiting.calledAt)}, although only ${held} of it are held and everything is at rest`,
      );
    }
    if (held === 0 && description.waiting > 0) {
      throw new Violation(
        `${description.waiting} wait for ${name}, although nobody holds it and everything is at rest`,
      );
    }
    for (const { holder, token } of holders) {
      const grant = grantsOf(operations)
        .get(name)
        ?.find((each) => each.token === token);
      const release = grant?.releases.find(
        ({ called, returned }) => returned !== undefined && called > grant.firstAnswer.returned!,
      );
      if (release === undefined) continue;
      throw new Violation(
        `${holder} still holds ${name} under token ${token}, although it had released it by ${ms(release.returnedAt!)} and everything is at rest`,
      );
    }
  }
}

function isWaiting({ input, returnedAt, failedAt }: LeaseOperation): boolean {
  return input.type === "acquire" && returnedAt === undefined && failedAt === undefined;
}

function fits(input: LeaseInput, held: number): boolean {
  return input.type === "acquire" && held + input.weight <= input.capacity;
}
