import type { World } from "../world/world.ts";
import { mayPass } from "./failures.ts";

const pauseMsMin = 50;
const pauseMsMax = 2_000;

/** Does the work, again and again while it fails for a reason that may pass; what it does must do no harm when it is done twice. */
export async function repeating<T>(
  world: World,
  work: () => Promise<T>,
  signal: AbortSignal,
  passes: (error: unknown) => boolean = mayPass,
): Promise<T> {
  for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
    try {
      signal.throwIfAborted();
      return await work();
    } catch (error) {
      if (signal.aborted || !passes(error)) throw error;
      await world.timers.sleep(pauseMs * (0.5 + world.random.float() / 2), { signal });
    }
  }
}
