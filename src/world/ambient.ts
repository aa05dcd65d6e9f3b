import { AsyncLocalStorage } from "node:async_hooks";
import type { World } from "./world.ts";

const ambient = new AsyncLocalStorage<World>();

/** The world that the calling code was put into; `undefined` for ordinary code, which lives in the real one. */
export function ambientWorld(): World | undefined {
  return ambient.getStore();
}

/**
 * Calls `fn` inside of a world: it, and whatever it sets off, gets that world wherever none is named. A simulator does so with the
 * processes that it simulates, so that code that was written for the real world needs no change.
 */
export function inWorld<Result>(world: World, fn: () => Result): Result {
  return ambient.run(world, fn);
}

/** Calls `fn` outside of every world. */
export function outsideWorlds<Result>(fn: () => Result): Result {
  return ambient.exit(fn);
}
