import { AsyncResource } from "node:async_hooks";
import nodeTimers from "node:timers";
import type * as nodePromises from "node:timers/promises";
import { ambientWorld } from "../../world/ambient.ts";
import type { Cancel, World } from "../../world/world.ts";
import type { Builtin, BuiltinPatches } from "./builtin-patches.ts";

type Callback = (...parameters: unknown[]) => unknown;
type Starter = (callback: Callback, delayMs?: number, ...parameters: unknown[]) => unknown;
type Stopper = (handle: unknown) => void;

interface WaitOptions {
  readonly signal?: AbortSignal;
}

/** Beyond it, and below 1, Node waits for 1 ms. */
const DELAY_MS_MAX = 2 ** 31 - 1;
/** Above every number that Node gives to a real timer. */
const FIRST_NUMBER = 2 ** 40;

/**
 * The World calls back in a context of its own; users' code expects that in which it asked. `AsyncLocalStorage.bind` would do the same: it
 * was measured at 20 µs a call, because it decorates the function, and this at 0.5 µs.
 */
export function keepContext<Result>(fn: () => Result): () => Result {
  const context = new AsyncResource("SimulatedTimer", { requireManualDestroy: true });
  return () => context.runInAsyncScope(fn);
}

/** A timer of a World, in the shape of Node's `Timeout`. */
export class SimulatedTimeout {
  readonly #world: World;
  readonly #callback: () => unknown;
  readonly #delayMs: number;
  readonly #repeats: boolean;
  #cancel: Cancel | undefined;
  #closed = false;
  #keepsAlive = true;
  #number: number | undefined;

  constructor(world: World, callback: (this: SimulatedTimeout) => unknown, delayMs: unknown, repeats: boolean) {
    this.#world = world;
    this.#callback = keepContext(() => Reflect.apply(callback, this, []));
    const ms = Number(delayMs);
    this.#delayMs = ms >= 1 && ms <= DELAY_MS_MAX ? Math.trunc(ms) : 1;
    this.#repeats = repeats;
    this.#start();
  }

  ref(): this {
    this.#keepsAlive = true;
    return this;
  }

  /** Virtual time ends with the run, not when nothing is left to wait for. So it is only remembered. */
  unref(): this {
    this.#keepsAlive = false;
    return this;
  }

  hasRef(): boolean {
    return this.#keepsAlive;
  }

  /** Starts again, also after it has fired. */
  refresh(): this {
    if (this.#closed) return this;
    this.#cancel?.();
    this.#start();
    return this;
  }

  close(): this {
    this.#closed = true;
    this.#cancel?.();
    this.#cancel = undefined;
    if (this.#number !== undefined) numbersOf(this.#world).byNumber.delete(this.#number);
    return this;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [Symbol.toPrimitive](): number {
    if (this.#number === undefined) {
      const numbers = numbersOf(this.#world);
      this.#number = numbers.next++;
      if (!this.#closed) numbers.byNumber.set(this.#number, this);
    }
    return this.#number;
  }

  #start(): void {
    this.#cancel = this.#world.timers.schedule(this.#delayMs, () => this.#fire(), { keepsAlive: this.#keepsAlive });
  }

  #fire(): void {
    this.#cancel = undefined;
    try {
      this.#callback();
    } finally {
      if (this.#repeats && !this.#closed && this.#cancel === undefined) this.#start();
    }
  }
}

/** Like Node's `Immediate`: an event at the present instant, behind those that are there already. */
export class SimulatedImmediate {
  readonly #cancel: Cancel;
  #keepsAlive = true;

  constructor(world: World, callback: (this: SimulatedImmediate) => unknown) {
    const kept = keepContext(() => Reflect.apply(callback, this, []));
    this.#cancel = world.timers.schedule(0, kept);
  }

  ref(): this {
    this.#keepsAlive = true;
    return this;
  }

  unref(): this {
    this.#keepsAlive = false;
    return this;
  }

  hasRef(): boolean {
    return this.#keepsAlive;
  }

  [Symbol.dispose](): void {
    this.#cancel();
  }
}

interface Numbers {
  next: number;
  readonly byNumber: Map<number, SimulatedTimeout>;
}

/** Numbers of timers count in each World by themselves, so that equal runs print equal ones. */
const numbers = new WeakMap<World, Numbers>();

function numbersOf(world: World): Numbers {
  let found = numbers.get(world);
  if (found === undefined) {
    found = { next: FIRST_NUMBER, byNumber: new Map() };
    numbers.set(world, found);
  }
  return found;
}

/** `setTimeout` and its kin, as globals, in `node:timers` and in `node:timers/promises`, and `AbortSignal.timeout`. */
export function patchTimers(patches: BuiltinPatches): void {
  const start = (name: "setTimeout" | "setInterval"): void =>
    everywhere(patches, name, (real: Starter) => (...parameters: Parameters<Starter>) => {
      const world = ambientWorld();
      const [callback, delayMs, ...rest] = parameters;
      // The real one says what is wrong with it.
      if (world === undefined || typeof callback !== "function") return real(...parameters);
      const called = function (this: SimulatedTimeout) {
        return Reflect.apply(callback, this, rest);
      };
      return new SimulatedTimeout(world, called, delayMs, name === "setInterval");
    });
  const stop = (name: "clearTimeout" | "clearInterval"): void =>
    everywhere(patches, name, (real: Stopper) => (handle: unknown) => {
      const simulated = simulatedTimeout(handle);
      if (simulated === undefined) real(handle);
      else simulated.close();
    });
  start("setTimeout");
  start("setInterval");
  stop("clearTimeout");
  stop("clearInterval");
  everywhere(patches, "setImmediate", (real: Starter) => (callback, ...rest) => {
    const world = ambientWorld();
    if (world === undefined || typeof callback !== "function") return real(callback, ...(rest as []));
    return new SimulatedImmediate(world, function () {
      return Reflect.apply(callback, this, rest);
    });
  });
  everywhere(patches, "clearImmediate", (real: Stopper) => (handle: unknown) => {
    if (handle instanceof SimulatedImmediate) handle[Symbol.dispose]();
    else real(handle);
  });
  patchPromises(patches);
  patches.replace(AbortSignal, "timeout", (real: (ms: number) => AbortSignal) => (ms: number) => {
    const world = ambientWorld();
    if (world === undefined || !Number.isInteger(ms) || ms < 0) return Reflect.apply(real, AbortSignal, [ms]);
    const controller = new AbortController();
    const late = () => controller.abort(new DOMException("The operation was aborted due to timeout", "TimeoutError"));
    world.timers.schedule(ms, late);
    return controller.signal;
  });
}

/** The global and the export of `node:timers` are one function. */
function everywhere<Original extends Builtin>(
  patches: BuiltinPatches,
  name: string,
  make: (original: Original) => Original,
): void {
  patches.replace(nodeTimers, name, make);
  const replacement: unknown = Reflect.get(nodeTimers, name);
  patches.define(globalThis, name, { value: replacement, writable: true });
}

function simulatedTimeout(handle: unknown): SimulatedTimeout | undefined {
  if (handle instanceof SimulatedTimeout) return handle;
  if (typeof handle !== "number" && typeof handle !== "string") return undefined;
  const world = ambientWorld();
  return world === undefined ? undefined : numbersOf(world).byNumber.get(Number(handle));
}

function patchPromises(patches: BuiltinPatches): void {
  type Promises = typeof nodePromises;
  type WaitValue = <Value>(delayMs?: number, value?: Value, options?: WaitOptions) => Promise<Value>;
  const { promises } = nodeTimers;
  patches.replace<Promises["setTimeout"]>(
    promises,
    "setTimeout",
    (real) =>
      ((delayMs, value, options = {}) => {
        const world = ambientWorld();
        if (world === undefined || !isWaitOptions(options)) return real(delayMs, value, options);
        return waiting(options, value, (fire) => {
          const timeout = new SimulatedTimeout(world, fire, delayMs, false);
          return () => timeout.close();
        });
      }) as WaitValue,
  );
  patches.replace<Promises["setImmediate"]>(
    promises,
    "setImmediate",
    (real) =>
      (value?: unknown, options: WaitOptions = {}) => {
        const world = ambientWorld();
        if (world === undefined || !isWaitOptions(options)) return real(value, options);
        return waiting(options, value, (fire) => {
          const immediate = new SimulatedImmediate(world, fire);
          return () => immediate[Symbol.dispose]();
        });
      },
  );
  patches.replace<Promises["setInterval"]>(
    promises,
    "setInterval",
    (real) =>
      (delayMs?: number, value?: unknown, options: WaitOptions = {}) => {
        const world = ambientWorld();
        if (world === undefined || !isWaitOptions(options)) return real(delayMs, value, options);
        return ticks(world, delayMs, value, options);
      },
  );
  const { scheduler } = promises;
  const wait: (typeof scheduler)["wait"] = (delayMs, options) => promises.setTimeout(delayMs, undefined, options);
  patches.replace(scheduler, "wait", () => wait);
  patches.replace(scheduler, "yield", () => () => promises.setImmediate());
}

function isWaitOptions(options: unknown): options is WaitOptions {
  if (typeof options !== "object" || options === null) return false;
  const { signal, ref } = options as { readonly signal?: unknown; readonly ref?: unknown };
  return (signal === undefined || signal instanceof AbortSignal) && (ref === undefined || typeof ref === "boolean");
}

function waiting<Value>({ signal }: WaitOptions, value: Value, start: (fire: () => void) => Cancel): Promise<Value> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(aborted(signal));
    const stop = start(() => {
      signal?.removeEventListener("abort", abort);
      resolve(value);
    });
    const abort = () => {
      stop();
      reject(aborted(signal!));
    };
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** Ticks that passed while nobody asked are made up for. */
async function* ticks<Value>(
  world: World,
  delayMs: number | undefined,
  value: Value,
  { signal }: WaitOptions,
): AsyncGenerator<Value, undefined> {
  let passed = 0;
  let wake: () => void = () => {};
  const interval = new SimulatedTimeout(
    world,
    () => {
      passed += 1;
      wake();
    },
    delayMs,
    true,
  );
  const abort = () => wake();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    while (!signal?.aborted) {
      if (passed === 0) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
      for (; passed > 0; passed--) yield value;
    }
    throw aborted(signal);
  } finally {
    interval.close();
    signal?.removeEventListener("abort", abort);
  }
}

/** What Node's own promises are rejected with. */
function aborted(signal: AbortSignal): Error {
  const error = new Error("The operation was aborted", { cause: signal.reason });
  error.name = "AbortError";
  return Object.assign(error, { code: "ABORT_ERR" });
}
