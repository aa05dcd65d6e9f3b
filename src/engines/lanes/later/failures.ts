import type { World } from "../../../world/world.ts";

/** How soon what failed is tried again, at first and at most. */
const retryMs = { first: 50, most: 2_000 };

/** Waits before the next try. Rejects with the signal's reason. */
export async function pauseBeforeTry(world: World, failures: number, signal?: AbortSignal): Promise<void> {
  await world.timers.sleep(Math.min(retryMs.most, retryMs.first * 2 ** Math.min(failures, 10)), { signal });
}
