import type { World } from "../../world/world.ts";

/** Until the work has ended, in whatever way, or so much time has passed. */
export function waitAtMost({ timers }: World, ms: number, work: Promise<unknown>): Promise<void> {
  return new Promise((resolve) => {
    const cancel = timers.schedule(ms, resolve);
    const end = (): void => {
      cancel();
      resolve();
    };
    work.then(end, end);
  });
}
