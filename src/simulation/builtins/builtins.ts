import { ambientWorld } from "../../world/ambient.ts";
import type { World } from "../../world/world.ts";
import { adoptTimer } from "./adopted-timers.ts";
import { patchClocks } from "./builtin-clocks.ts";
import { BuiltinPatches } from "./builtin-patches.ts";
import { patchRandom } from "./builtin-random.ts";
import { patchTimers } from "./builtin-timers.ts";
import { type Escape, EscapeWatch } from "./escapes.ts";
import { patchEscapingCalls } from "./escaping-calls.ts";
import { patchUnhandledErrors } from "./unhandled-errors.ts";

/** `fetch`, as some code sees it. */
export type Fetch = (input: string | URL | Request, init?: RequestInit) => Promise<Response>;

export interface SimulatedBuiltinParts {
  /** Told of everything that leaves the simulation, when it happens. The call goes on as it would. Must not throw. */
  readonly escaped: (what: Escape, world: World) => void;
  /** Told of what a promise rejected with or a callback threw inside of a World, and nobody handles; as outside when left out. */
  readonly unhandled?: ((reason: unknown, world: World) => void) | undefined;
  /** What `fetch` does in a World; an escape when left out. */
  readonly fetchOver?: ((world: World) => Fetch) | undefined;
  /** Which Worlds these parts are for, where several simulations run at the same time; all when left out. */
  readonly owns?: ((world: World) => boolean) | undefined;
}

/** The builtins are one for the whole process, and so is the fact that they are patched, and for whom. */
const everyParts = new Set<SimulatedBuiltinParts>();
let unpatch: (() => void) | undefined;

/**
 * Lets the builtins follow the World in which the calling code lives, and tells of escapes from it. Outside of Worlds they do what they always did. May be
 * called again before it is disposed; with the last one every original is back.
 */
export function simulateBuiltins(parts: SimulatedBuiltinParts): Disposable {
  everyParts.add(parts);
  unpatch ??= patch();
  let disposed = false;
  return {
    [Symbol.dispose]() {
      if (disposed) return;
      disposed = true;
      everyParts.delete(parts);
      if (everyParts.size > 0) return;
      unpatch?.();
      unpatch = undefined;
    },
  };
}

function patch(): () => void {
  const patches = new BuiltinPatches();
  patchClocks(patches);
  patchTimers(patches);
  patchRandom(patches);
  const watch = new EscapeWatch((what, world) => partsOf(world)?.escaped(what, world), adoptTimer);
  patchFetch(patches, watch);
  patchEscapingCalls(patches, watch);
  patchUnhandledErrors(patches, (reason, world) => {
    const unhandled = partsOf(world)?.unhandled;
    unhandled?.(reason, world);
    return unhandled !== undefined;
  });
  watch.start();
  patches.publish();
  return () => {
    watch.stop();
    patches.restore();
  };
}

function patchFetch(patches: BuiltinPatches, watch: EscapeWatch): void {
  patches.replace<Fetch>(globalThis, "fetch", (real) => {
    const escaping = watch.naming("fetch", real);
    return (...parameters: Parameters<Fetch>) => {
      const world = ambientWorld();
      const fetchOver = world && partsOf(world)?.fetchOver;
      return fetchOver === undefined ? escaping(...parameters) : fetchOver(world!)(...parameters);
    };
  });
}

/** The latest that are for this World. */
function partsOf(world: World): SimulatedBuiltinParts | undefined {
  return [...everyParts].findLast((parts) => parts.owns?.(world) ?? true);
}
