import { checkEngine } from "../contracts/engine-arguments.ts";
import type { AcquireOptions, LeasingEngine, LockOptions, NamedLockable } from "./api.ts";
import { LeaseLocks } from "./lease-locks.ts";

/** One holder at a time, in this process or any other on the same engine. Holds no state and needs no closing. */
export type Mutex = NamedLockable;

const whole = { weight: 1, capacity: 1 };

export function mutex(engine: LeasingEngine, name: string, options: LockOptions = {}): Mutex {
  checkEngine("mutex()", engine, "leases");
  return new LeaseLocks<AcquireOptions>(engine, "mutex", name, options, () => whole);
}
