import { checkEngine } from "../contracts/engine-arguments.ts";
import { sharedCapacity } from "../contracts/leases.ts";
import type { AcquireOptions, LeasingEngine, LockOptions, NamedLockable } from "./api.ts";
import { LeaseLocks } from "./lease-locks.ts";

/**
 * Many readers or one writer. Where the engine's `capabilities.fifo`, a waiting writer holds back the readers who come after it; else
 * readers may keep it waiting. A held read lock cannot become a write lock: release it first, and read again.
 */
export interface ReadWriteLock {
  readonly name: string;
  readonly read: NamedLockable;
  readonly write: NamedLockable;
}

const reading = { weight: 1, capacity: sharedCapacity };
const writing = { weight: sharedCapacity, capacity: sharedCapacity };

export function readWriteLock(engine: LeasingEngine, name: string, options: LockOptions = {}): ReadWriteLock {
  checkEngine("readWriteLock()", engine, "leases");
  const kind = "read-write-lock";
  return {
    name,
    read: new LeaseLocks<AcquireOptions>(engine, kind, name, options, () => reading),
    write: new LeaseLocks<AcquireOptions>(engine, kind, name, options, () => writing),
  };
}
