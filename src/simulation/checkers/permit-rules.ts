import type { ConcurrencyRule } from "../../contracts/rates.ts";
import { Violation } from "../system.ts";
import type { ClockReadings } from "./clock-record.ts";
import { ms } from "./instants.ts";
import type { RateInput, RateOperation } from "./rate-history.ts";

/** Everything that was asked about one permit. */
interface Permit {
  readonly name: string;
  readonly enters: readonly RateOperation[];
  readonly leaves: readonly RateOperation[];
}

/** At most `limit` permits at a time, by the engine's clock; and none is refused while there is room for sure. */
export function checkPermits(operations: readonly RateOperation[], rule: ConcurrencyRule, clock: ClockReadings): void {
  const permits = permitsOf(operations);
  for (const permit of permits.values()) {
    for (const enter of permit.enters) {
      const others = [...permits.values()].filter((other) => other !== permit);
      if (enter.output?.decision?.allowed) checkRoom(enter, permit, others, rule, clock);
      else if (enter.output !== undefined) {
        checkNoRoom(enter, permit, others, rule, { clock, noticed: noticedBefore(enter, operations, clock) });
      }
    }
  }
}

function checkRoom(
  enter: RateOperation,
  permit: Permit,
  others: readonly Permit[],
  { limit, holdMs }: ConcurrencyRule,
  clock: ClockReadings,
): void {
  // Whoever was inside may stay, whoever else is.
  if (permit.enters.some((each) => each.called < enter.called)) return;
  const inside = others.filter((other) => isInside(other, enter, holdMs, clock));
  if (inside.length < limit) return;
  const told = inside.map(({ name, enters }) => `${name} (of ${enters[0]!.client})`).join(", ");
  throw new Violation(
    `${permit.name} (of ${enter.client}) was let into ${JSON.stringify(enter.input.key)} between ${ms(enter.calledAt)} and ${ms(enter.returnedAt!)}, while as many as ${limit} were inside: ${told}`,
  );
}

/** Whether it was inside for sure all the while. */
function isInside({ enters, leaves }: Permit, during: RateOperation, holdMs: number, clock: ClockReadings): boolean {
  if (leaves.some(({ called }) => called < during.returned!)) return false;
  return enters.some(
    ({ output, calledAt, returned }) =>
      output?.decision?.allowed &&
      returned! < during.called &&
      clock.advanced(calledAt, during.returnedAt!).max < holdMs,
  );
}

function checkNoRoom(
  enter: RateOperation,
  permit: Permit,
  others: readonly Permit[],
  { limit, holdMs }: ConcurrencyRule,
  time: EngineTime,
): void {
  const possible = others.filter((other) => mayBeInside(other, enter, holdMs, time)).length;
  if (possible >= limit) return;
  throw new Violation(
    `${permit.name} (of ${enter.client}) was kept out of ${JSON.stringify(enter.input.key)} between ${ms(enter.calledAt)} and ${ms(enter.returnedAt!)}, although at most ${possible} of ${limit} were inside`,
  );
}

interface EngineTime {
  readonly clock: ClockReadings;
  /** The first refusal since the clock was set back last: then at the latest the engine noticed. */
  readonly noticed: RateOperation | undefined;
}

function noticedBefore(
  refused: RateOperation,
  operations: readonly RateOperation[],
  clock: ClockReadings,
): RateOperation | undefined {
  return operations.find(
    ({ output, calledAt }) =>
      output?.decision?.allowed === false && clock.setBacks(calledAt, Math.max(calledAt, refused.returnedAt!)) === 0,
  );
}

function mayBeInside(
  { enters, leaves }: Permit,
  during: RateOperation,
  holdMs: number,
  { clock, noticed }: EngineTime,
): boolean {
  return enters.some((each) => {
    const { output, called, returned, returnedAt } = each;
    if (called > during.returned! || output?.decision?.allowed === false) return false;
    if (returned === undefined) return true;
    if (
      leaves.some((leave) => leave.called > returned && leave.returned !== undefined && leave.returned < during.called)
    ) {
      return false;
    }
    const wasSetBack = clock.setBacks(each.calledAt, during.returnedAt!) > 0;
    const sinceMs = wasSetBack ? Math.max(returnedAt!, noticed?.returnedAt ?? during.calledAt) : returnedAt!;
    return sinceMs >= during.calledAt || clock.advanced(sinceMs, during.calledAt).min < holdMs;
  });
}

function permitsOf(operations: readonly RateOperation[]): ReadonlyMap<string, Permit> {
  const permits = new Map<
    string,
    { readonly name: string; readonly enters: RateOperation[]; readonly leaves: RateOperation[] }
  >();
  for (const operation of operations) {
    const { type, permit: name } = operation.input as Extract<RateInput, { readonly type: "enter" | "leave" }>;
    const permit = permits.get(name) ?? { name, enters: [], leaves: [] };
    permits.set(name, permit);
    (type === "enter" ? permit.enters : permit.leaves).push(operation);
  }
  return permits;
}
