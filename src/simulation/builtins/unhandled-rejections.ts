import { ambientWorld } from "../../world/ambient.ts";
import type { World } from "../../world/world.ts";
import type { Builtin, BuiltinPatches } from "./builtin-patches.ts";

/**
 * A promise that rejects while nobody handles it ends a real process. It ends a simulated one as well, and that one alone: `unhandled` is told of those that rejected inside
 * of a World, and answers whether the World is its; all others go their usual way.
 */
export function patchUnhandledRejections(
  patches: BuiltinPatches,
  unhandled: (reason: unknown, world: World) => boolean,
): void {
  patches.replace(process, "emit", (emit: Builtin) => {
    return function (this: unknown, ...parameters: readonly unknown[]): unknown {
      const [event, reason] = parameters;
      const world = event === "unhandledRejection" ? ambientWorld() : undefined;
      if (world !== undefined && unhandled(reason, world)) return true;
      return Reflect.apply(emit, this, parameters as never[]);
    };
  });
}
