export type {
  AcquireOptions,
  CountingEngine,
  Hold,
  LeasingEngine,
  Lock,
  Lockable,
  LockOptions,
  NamedLockable,
} from "./api.ts";
export { type Barrier, type BarrierOptions, barrier, type Passed } from "./barrier.ts";
export { type CountdownLatch, type CountdownLatchOptions, countdownLatch } from "./countdown-latch.ts";
export { type Election, type ElectionOptions, election, type Leader, type Leadership } from "./election.ts";
export { fenced } from "./fenced.ts";
export { type HeldLocks, type MultiLock, multiLock } from "./multi-lock.ts";
export { type Mutex, mutex } from "./mutex.ts";
export { type ReadWriteLock, readWriteLock } from "./read-write-lock.ts";
export { type PermitOptions, type Semaphore, type SemaphoreOptions, semaphore } from "./semaphore.ts";
export { fenceTable, type SqlFence, type SqlFenceOptions, sqlFence } from "./sql-fence.ts";
