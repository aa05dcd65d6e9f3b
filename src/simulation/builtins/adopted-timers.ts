import type { World } from "../../world/world.ts";
import { SimulatedImmediate, SimulatedTimeout } from "./builtin-timers.ts";

/** Node's `Timeout` as it is inside. Nothing of it is documented, so what is not found so is not touched. */
interface RealTimeout {
  _idleTimeout: number;
  _destroyed: boolean;
  readonly _onTimeout: (...parameters: unknown[]) => unknown;
  readonly _timerArgs: readonly unknown[] | undefined;
  readonly _repeat: number | null;
  refresh(): unknown;
  unref(): unknown;
  close(): unknown;
}

/** Node's `Immediate` as it is inside. */
interface RealImmediate {
  _onImmediate: (...parameters: unknown[]) => unknown;
  readonly _destroyed: boolean;
  readonly _argv: readonly unknown[] | undefined;
}

/** The longest that Node waits: 24 days of real time, in which no simulation is still at work. */
const NEVER_MS = 2 ** 31 - 1;

/**
 * Puts a real timer on virtual time while it is made, between its own making and its place in Node's lists; `false` when it cannot be. Such timers come from
 * functions that were saved before the builtins were replaced. `const sleep = promisify(setTimeout)` at the head of a module is one, and common.
 */
export function adoptTimer(type: string, resource: object, world: World): boolean {
  if (type === "Timeout" && isRealTimeout(resource)) {
    adoptTimeout(resource, world);
    return true;
  }
  if (type === "Immediate" && isRealImmediate(resource)) {
    adoptImmediate(resource, world);
    return true;
  }
  return false;
}

function adoptTimeout(real: RealTimeout, world: World): void {
  const { _onTimeout: callback, _timerArgs: parameters = [], _idleTimeout: delayMs } = real;
  const repeats = real._repeat !== null;
  const fire = function (this: SimulatedTimeout): void {
    // Whoever cleared it did so by the real functions.
    if (real._destroyed) {
      this.close();
      return;
    }
    try {
      Reflect.apply(callback, real, parameters);
    } finally {
      if (!repeats) real.close();
    }
  };
  const simulated = new SimulatedTimeout(world, fire, delayMs, repeats);
  real._idleTimeout = NEVER_MS;
  real.unref();
  real.refresh = () => {
    if (!real._destroyed) simulated.refresh();
    return real;
  };
}

function adoptImmediate(real: RealImmediate, world: World): void {
  const { _onImmediate: callback, _argv: parameters = [] } = real;
  let passed = false;
  real._onImmediate = () => {
    passed = true;
  };
  new SimulatedImmediate(world, () => {
    // The real one is over after its turn as well as when it was cleared.
    if (passed || !real._destroyed) Reflect.apply(callback, real, parameters);
  });
}

function isRealTimeout(resource: object): resource is RealTimeout {
  const { _onTimeout, _idleTimeout, _timerArgs, _repeat, _destroyed, unref, close } = resource as Partial<RealTimeout>;
  const functions = [_onTimeout, unref, close].every((each) => typeof each === "function");
  const numbers = typeof _idleTimeout === "number" && (_repeat === null || typeof _repeat === "number");
  return functions && numbers && _destroyed === false && (_timerArgs === undefined || Array.isArray(_timerArgs));
}

function isRealImmediate(resource: object): resource is RealImmediate {
  const { _onImmediate, _argv, _destroyed } = resource as Partial<RealImmediate>;
  return typeof _onImmediate === "function" && _destroyed === false && (_argv === undefined || Array.isArray(_argv));
}
