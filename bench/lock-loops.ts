import { closedLoop, type Paced, Times } from "./load.ts";
import type { Contention } from "./peer.ts";

/** Acquires and releases a lock once. */
export type UseLock = () => Promise<void>;

/** Locks acquired and released per second. `open` answers a caller's way to use the lock of that name. */
export async function lockLoop(
  { callers, locks }: Contention,
  durationMs: number,
  open: (name: string) => UseLock,
): Promise<number> {
  const uses = Array.from({ length: callers }, (_, index) => open(locks === "own" ? `own-${index}` : "shared"));
  if (locks !== "shared, in turns") {
    const idle = [...uses];
    return closedLoop(callers, durationMs, async () => {
      const use = idle.pop()!;
      await use();
      idle.push(use);
    });
  }
  const turns = async (forMs: number): Promise<number> => {
    const from = performance.now();
    let count = 0;
    do {
      await Promise.all(uses.map((use) => use()));
      count += callers;
    } while (performance.now() - from < forMs);
    return (count / (performance.now() - from)) * 1_000;
  };
  await turns(0);
  return turns(durationMs);
}

/** As `lockLoop`; beside it, how long it took to acquire a lock and to release it. */
export async function timedLockLoop(
  contention: Contention,
  durationMs: number,
  open: (name: string) => UseLock,
): Promise<Paced> {
  const times = new Times();
  const perSecond = await lockLoop(contention, durationMs, (name) => times.taken(open(name)));
  return { perSecond, p99Ms: times.p99Ms };
}
