import type { World } from "../../../world/world.ts";

/** Resolves after so many milliseconds, or when one of the signals aborts; never rejects. Holds the process: somebody waits. */
export async function pause(
  { timers }: World,
  ms: number,
  ...signals: readonly (AbortSignal | undefined)[]
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = timers.schedule(ms, resolve, { keepsAlive: true });
  const wake = () => resolve();
  for (const signal of signals) {
    signal?.addEventListener("abort", wake);
    if (signal?.aborted) resolve();
  }
  await promise;
  cancel();
  for (const signal of signals) signal?.removeEventListener("abort", wake);
}
