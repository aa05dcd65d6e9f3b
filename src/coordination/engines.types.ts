/** Checked by the compiler alone: a block refuses an engine that lacks what it needs. */
import type { KeyValueEngine } from "../contracts/key-value.ts";
import type { LeaseEngine } from "../contracts/leases.ts";
import type { MessageEngine } from "../contracts/messages.ts";
import type { World } from "../world/index.ts";
import { barrier, countdownLatch, election, fenced, multiLock, mutex, readWriteLock, semaphore } from "./index.ts";

export function accepted(
  leasing: { readonly leases: LeaseEngine; readonly world: World },
  counting: { readonly keyValue: KeyValueEngine; readonly world: World },
): void {
  mutex(leasing, "a");
  readWriteLock(leasing, "a");
  multiLock(leasing, ["a"]);
  semaphore(leasing, "a", { permits: 1 });
  election(leasing, "a", { candidate: "a" });
  countdownLatch(counting, "a", { count: 1 });
  barrier({ ...leasing, ...counting }, "a", { parties: 1 });
  fenced(counting.keyValue, "a", 1n, []);
}

export function refused(
  messaging: { readonly messages: MessageEngine; readonly world: World },
  leasing: { readonly leases: LeaseEngine; readonly world: World },
  counting: { readonly keyValue: KeyValueEngine; readonly world: World },
): void {
  // @ts-expect-error An engine without leases has no locks.
  mutex(messaging, "a");
  // @ts-expect-error An engine without leases has no read-write locks.
  readWriteLock(counting, "a");
  // @ts-expect-error An engine without leases has no locks, and no several either.
  multiLock(counting, ["a"]);
  // @ts-expect-error An engine without leases has no semaphores.
  semaphore(messaging, "a", { permits: 1 });
  // @ts-expect-error A semaphore does not guess how many permits there are.
  semaphore(leasing, "a", {});
  // @ts-expect-error An engine without leases has no elections.
  election(counting, "a", { candidate: "a" });
  // @ts-expect-error A candidate has a name.
  election(leasing, "a", {});
  // @ts-expect-error An engine without key-values has no latches.
  countdownLatch(leasing, "a", { count: 1 });
  // @ts-expect-error A barrier takes leases and key-values: key-values alone do not see a party die.
  barrier(counting, "a", { parties: 1 });
  // @ts-expect-error A barrier takes leases and key-values: leases alone do not remember.
  barrier(leasing, "a", { parties: 1 });
  // @ts-expect-error A token is a bigint: numbers end before tokens do.
  fenced(counting.keyValue, "a", 1, []);
}
