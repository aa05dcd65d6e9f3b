import type { Performance } from "node:perf_hooks";
import { ambientWorld } from "../../world/ambient.ts";
import type { World } from "../../world/world.ts";
import type { BuiltinPatches } from "./builtin-patches.ts";

/** What says what time it is: `Date`, `Intl.DateTimeFormat`, `performance` and `process` ask the clock of the World that the calling code lives in. */
export function patchClocks(patches: BuiltinPatches): void {
  patchDate(patches);
  patchDateFormat(patches);
  patchPerformance(patches);
  patchProcess(patches);
}

function patchDate(patches: BuiltinPatches): void {
  const RealDate = Date;
  const realNow = RealDate.now;
  // Code that saved the constructor before asks this very object, so it gets the new `now` first, and the replacement takes it over.
  patches.replace(RealDate, "now", () => () => {
    const world = ambientWorld();
    return world === undefined ? realNow() : world.clock.now();
  });
  // A function and not a class: without `new` it answers a text. Real dates come out of it, so that nothing can tell them apart.
  function SimulatedDate(...parameters: []): unknown {
    const world = ambientWorld();
    if (new.target === undefined) return world === undefined ? RealDate() : new RealDate(world.clock.now()).toString();
    const instant = parameters.length === 0 && world !== undefined ? [world.clock.now()] : parameters;
    return Reflect.construct(RealDate, instant, new.target);
  }
  patches.replace(globalThis, "Date", () => SimulatedDate);
  patches.define(RealDate.prototype, "constructor", { value: SimulatedDate, writable: true });
}

/** Without an instant it formats the present one. */
function patchDateFormat(patches: BuiltinPatches): void {
  type Instant = Date | number | undefined;
  const { prototype } = Intl.DateTimeFormat;
  const realFormat = Object.getOwnPropertyDescriptor(prototype, "format")!.get!;
  patches.define(prototype, "format", {
    get(this: Intl.DateTimeFormat) {
      const format: Intl.DateTimeFormat["format"] = Reflect.apply(realFormat, this, []);
      const world = ambientWorld();
      return world === undefined ? format : (instant: Instant) => format(instant ?? world.clock.now());
    },
  });
  patches.replace<Intl.DateTimeFormat["formatToParts"]>(
    prototype,
    "formatToParts",
    (real) =>
      function (this: Intl.DateTimeFormat, instant: Instant) {
        return Reflect.apply(real, this, [instant ?? ambientWorld()?.clock.now()]);
      },
  );
}

function patchPerformance(patches: BuiltinPatches): void {
  const prototype: Performance = Object.getPrototypeOf(performance);
  patches.replace<() => number>(
    prototype,
    "now",
    (real) =>
      function (this: Performance) {
        const world = ambientWorld();
        return world === undefined ? Reflect.apply(real, this, []) : world.clock.monotonic();
      },
  );
  const origins = new WeakMap<World, number>();
  const realOrigin = Object.getOwnPropertyDescriptor(prototype, "timeOrigin")!.get!;
  patches.define(prototype, "timeOrigin", {
    get(this: Performance) {
      const world = ambientWorld();
      if (world === undefined) return Reflect.apply(realOrigin, this, []);
      // As for real processes it does not follow a wall clock that is set later.
      if (!origins.has(world)) origins.set(world, world.clock.now() - world.clock.monotonic());
      return origins.get(world);
    },
  });
  patchMarks(patches, prototype);
}

/** Marks and measures end at the present instant unless they are told another one. */
function patchMarks(patches: BuiltinPatches, prototype: Performance): void {
  patches.replace<Performance["mark"]>(
    prototype,
    "mark",
    (real) =>
      function (this: Performance, name: string, options?: { readonly startTime?: number }) {
        const world = ambientWorld();
        const marked = world === undefined ? options : { startTime: world.clock.monotonic(), ...options };
        return Reflect.apply(real, this, [name, marked]);
      },
  );
  type Span = { readonly start?: unknown; readonly end?: unknown; readonly duration?: unknown };
  type Measure = (name: string, from?: string | Span, end?: string) => unknown;
  patches.replace<Measure>(
    prototype,
    "measure",
    (real) =>
      function (this: Performance, name: string, from?: string | Span, end?: string) {
        const world = ambientWorld();
        if (world === undefined || end !== undefined) return Reflect.apply(real, this, [name, from, end]);
        const span = typeof from === "string" ? { start: from } : (from ?? {});
        const ends = span.end !== undefined || (span.start !== undefined && span.duration !== undefined);
        return Reflect.apply(real, this, [name, ends ? span : { ...span, end: world.clock.monotonic() }]);
      },
  );
}

function patchProcess(patches: BuiltinPatches): void {
  const realBigint = process.hrtime.bigint;
  patches.replace(process.hrtime, "bigint", () => () => {
    const world = ambientWorld();
    return world === undefined ? realBigint() : nanoseconds(world);
  });
  patches.replace<NodeJS.HRTime>(process, "hrtime", (real) => (since?: [number, number]) => {
    const world = ambientWorld();
    if (world === undefined) return real(since);
    const passed =
      nanoseconds(world) - (since === undefined ? 0n : BigInt(since[0]) * 1_000_000_000n + BigInt(since[1]));
    const seconds = passed / 1_000_000_000n;
    return [Number(seconds), Number(passed - seconds * 1_000_000_000n)];
  });
  patches.replace<() => number>(process, "uptime", (real) => () => {
    const world = ambientWorld();
    return world === undefined ? real() : world.clock.monotonic() / 1_000;
  });
}

/** In two parts, for a `number` of nanoseconds is exact for 104 days only. */
function nanoseconds({ clock }: World): bigint {
  const nowMs = clock.monotonic();
  const wholeMs = Math.floor(nowMs);
  return BigInt(wholeMs) * 1_000_000n + BigInt(Math.floor((nowMs - wholeMs) * 1_000_000));
}
