import type { LeaseDescription } from "../../../contracts/leases.ts";
import type { World } from "../../../world/world.ts";
import { isPassing } from "../passing.ts";
import { Alarm } from "./alarm.ts";

export interface LeaseWatchParts {
  readonly world: World;
  readonly describe: () => Promise<{ readonly description: LeaseDescription; readonly nextEndMs: number }>;
  /** Calls back when the holders may have changed; answers how to stop listening. */
  readonly listen: (changed: () => void) => Promise<() => Promise<void>>;
  /** Aborts when the engine has closed. */
  readonly ended: AbortSignal;
}

/** However quiet it is, it looks so often: wake-ups can get lost. */
const idleMs = 1_000;
const retryMs = 250;

/** The states of a name: read anew after each notice, so that a notice that is lost delays a state and never loses it. */
export async function* watchLease(
  parts: LeaseWatchParts,
  signal: AbortSignal | undefined,
): AsyncGenerator<LeaseDescription> {
  const { world, ended } = parts;
  const alarm = new Alarm(world);
  const ring = (): void => alarm.ring();
  signal?.addEventListener("abort", ring);
  ended.addEventListener("abort", ring);
  const stop = await parts.listen(ring);
  try {
    let shown: string | undefined;
    while (!signal?.aborted) {
      ended.throwIfAborted();
      let waitMs = retryMs;
      try {
        const { description, nextEndMs } = await parts.describe();
        if (signal?.aborted) return;
        const state = description.holders.map(({ holder, token }) => `${token} ${holder}`).join("\n");
        if (state !== shown) {
          shown = state;
          yield description;
          continue;
        }
        waitMs = Math.min(idleMs, nextEndMs);
      } catch (error) {
        if (!isPassing(error)) throw error;
      }
      await alarm.sleep(waitMs);
    }
  } finally {
    signal?.removeEventListener("abort", ring);
    ended.removeEventListener("abort", ring);
    await stop();
  }
}
