import type { World } from "../../world/world.ts";

/** Whoever lost against another change waits up to so long for each time. */
const conflictMs = 4;

/** Waits a moment before a change is tried again that others came before. */
export function afterConflict(world: World, tries: number): Promise<void> {
  return world.timers.sleep(world.random.float() * conflictMs * Math.min(tries + 1, 8));
}
