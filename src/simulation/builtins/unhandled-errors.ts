import { ambientWorld } from "../../world/ambient.ts";
import type { World } from "../../world/world.ts";
import type { Builtin, BuiltinPatches } from "./builtin-patches.ts";

/** Node asks by these whether somebody takes an error that would otherwise end the process: one of a promise, and one of a callback of its own. */
const lastResorts: readonly unknown[] = ["unhandledRejection", "uncaughtException"];

/**
 * A promise that rejects while nobody handles it ends a real process, and so does a throw in a tick, in a microtask or in a listener of an `EventTarget`. They end a simulated
 * process as well, and that one alone: `unhandled` is told of those inside of a World, and answers whether the World is its; all others go their usual way.
 */
export function patchUnhandledErrors(
  patches: BuiltinPatches,
  unhandled: (reason: unknown, world: World) => boolean,
): void {
  patches.replace(process, "emit", (emit: Builtin) => {
    return function (this: unknown, ...parameters: readonly unknown[]): unknown {
      const [event, reason] = parameters;
      const world = lastResorts.includes(event) ? ambientWorld() : undefined;
      if (world !== undefined && unhandled(reason, world)) return true;
      return Reflect.apply(emit, this, parameters as never[]);
    };
  });
}
