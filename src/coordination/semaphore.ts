import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import { sharedCapacity } from "../contracts/leases.ts";
import type { AcquireOptions, LeasingEngine, LockOptions, NamedLockable } from "./api.ts";
import { LeaseLocks, type Share } from "./lease-locks.ts";
import { invalid } from "./settings.ts";

export interface SemaphoreOptions extends LockOptions {
  /** How many permits there are together, 1 to 2^31 - 1. Everybody must say the same: each acquisition is judged by its own. */
  readonly permits: number;
}

export interface PermitOptions extends AcquireOptions {
  /** How many permits to take together; 1 when left out. */
  readonly permits?: number | undefined;
}

/** So many permits, held one by one or several at once. A permit comes back when it is released, or when its holder is not heard of any more. */
export interface Semaphore extends NamedLockable<PermitOptions> {
  readonly permits: number;
}

/** `unsupported` for more than one permit where the engine's `capabilities.counted` is false. */
export function semaphore(engine: LeasingEngine, name: string, options: SemaphoreOptions): Semaphore {
  checkEngine("semaphore()", engine, "leases");
  const { permits } = options;
  const what = `the semaphore "${name}"`;
  if (!(Number.isSafeInteger(permits) && permits >= 1 && permits <= sharedCapacity)) {
    throw invalid(what, "permits", permits, `a whole number from 1 to ${sharedCapacity}`);
  }
  if (permits > 1 && !engine.leases.capabilities.counted) {
    throw new TenonError(
      "unsupported",
      `This engine cannot count what is held, so that ${what} cannot have ${permits} permits. Use an engine whose capabilities.counted is true, or as many mutexes.`,
      { fields: { permits } },
    );
  }
  return new LeaseSemaphore(engine, name, options);
}

class LeaseSemaphore extends LeaseLocks<PermitOptions> implements Semaphore {
  readonly permits: number;

  constructor(engine: LeasingEngine, name: string, options: SemaphoreOptions) {
    super(engine, "semaphore", name, options, (given) => shareOf(name, options.permits, given?.permits ?? 1));
    this.permits = options.permits;
  }
}

function shareOf(name: string, capacity: number, weight: number): Share {
  if (Number.isSafeInteger(weight) && weight >= 1 && weight <= capacity) return { weight, capacity };
  throw invalid(`an acquisition of the semaphore "${name}"`, "permits", weight, `a whole number from 1 to ${capacity}`);
}
