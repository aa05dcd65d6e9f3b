import crypto from "node:crypto";
import { types } from "node:util";
import { ambientWorld } from "../../world/ambient.ts";
import type { World } from "../../world/world.ts";
import type { BuiltinPatches } from "./builtin-patches.ts";
import { keepContext } from "./builtin-timers.ts";

/** A function of `node:crypto`, however it is called. */
type Draw = (...parameters: unknown[]) => unknown;

const SIZE_BYTES_MAX = 2 ** 31 - 1;
/** More is refused by `crypto.getRandomValues`. */
const VALUES_BYTES_MAX = 65_536;

/** `Math.random`, and what `crypto` and `node:crypto` draw: from the World's generator. What they do not accept the real functions refuse. */
export function patchRandom(patches: BuiltinPatches): void {
  patches.replace<() => number>(Math, "random", (real) => () => {
    const world = ambientWorld();
    return world === undefined ? real() : world.random.float();
  });
  patchWebCrypto(patches);
  patchNodeCrypto(patches);
}

function patchWebCrypto(patches: BuiltinPatches): void {
  const prototype: object = Object.getPrototypeOf(crypto.webcrypto);
  patches.replace<(values: NodeJS.ArrayBufferView) => unknown>(
    prototype,
    "getRandomValues",
    (real) =>
      function (this: unknown, values: NodeJS.ArrayBufferView) {
        const world = ambientWorld();
        if (world === undefined || !areIntegers(values)) return Reflect.apply(real, this, [values]);
        return fill(world, values, 0, values.byteLength);
      },
  );
  patches.replace<() => string>(
    prototype,
    "randomUUID",
    (real) =>
      function (this: unknown, ...options: []) {
        return ambientWorld()?.random.uuid() ?? Reflect.apply(real, this, options);
      },
  );
}

function areIntegers(values: unknown): boolean {
  if (!types.isTypedArray(values) || values.byteLength > VALUES_BYTES_MAX) return false;
  return !(
    values instanceof Float64Array ||
    values instanceof Float32Array ||
    values.constructor.name === "Float16Array"
  );
}

function patchNodeCrypto(patches: BuiltinPatches): void {
  const follow = (name: string, drawIn: (world: World, real: Draw) => Draw): void => {
    patches.replace<Draw>(crypto, name, (real) => (...parameters: unknown[]) => {
      const world = ambientWorld();
      return world === undefined ? real(...parameters) : drawIn(world, real)(...parameters);
    });
  };
  const fillSync = crypto.randomFillSync as Draw;
  const fillIn = (world: World): Draw => {
    return (values, offset, size) => fillPart(world, fillSync, values, offset, size);
  };
  follow("randomFillSync", fillIn);
  follow("randomFill", (world, real) => (...parameters) => {
    const draw = typeof parameters.at(-1) === "function" ? fillIn(world) : real;
    return callable(world, draw)(...parameters);
  });
  follow("randomBytes", (world, real) => callable(world, (size) => randomBytes(world, real, size)));
  follow("randomInt", (world, real) => callable(world, (...range) => randomInteger(world, real, range)));
  follow("randomUUID", (world) => () => world.random.uuid());
  follow("randomUUIDv7", (world) => () => uuidVersion7(world));
  for (const name of ["prng", "rng", "pseudoRandomBytes"]) {
    patches.define(crypto, name, { value: crypto.randomBytes, writable: true });
  }
}

/** Where the last parameter is a function, that gets what is drawn: as an event of its own, for in real life it comes from a thread. */
function callable(world: World, draw: Draw): Draw {
  return (...parameters) => {
    const callback = parameters.at(-1);
    if (typeof callback !== "function") return draw(...parameters);
    const drawn = draw(...parameters.slice(0, -1));
    world.timers.schedule(
      0,
      keepContext(() => callback(null, drawn)),
    );
    return undefined;
  };
}

function randomBytes(world: World, real: Draw, size: unknown): unknown {
  if (!Number.isInteger(size) || (size as number) < 0 || (size as number) > SIZE_BYTES_MAX) return real(size);
  const { buffer, byteOffset, byteLength } = world.random.bytes(size as number);
  return Buffer.from(buffer, byteOffset, byteLength);
}

function randomInteger(world: World, real: Draw, range: readonly unknown[]): unknown {
  const [min, max] = range.length > 1 ? range : [0, range[0]];
  const accepted = Number.isSafeInteger(min) && Number.isSafeInteger(max) && (min as number) < (max as number);
  const span = Number(max) - Number(min);
  if (!accepted || span >= 2 ** 48) return real(...range);
  return Number(min) + Math.floor(world.random.float() * span);
}

/** `offset` and `size` count elements of a typed array, bytes of anything else. */
function fillPart(world: World, real: Draw, values: unknown, offset: unknown, size: unknown): unknown {
  // It checks what it is given; what it draws is written over.
  real(values, offset, size);
  const view = ArrayBuffer.isView(values) ? values : new Uint8Array(values as ArrayBuffer);
  const elementBytes = Number(Reflect.get(view, "BYTES_PER_ELEMENT") ?? 1);
  const from = Number(offset ?? 0) * elementBytes;
  fill(world, view, from, size === undefined ? view.byteLength - from : Number(size) * elementBytes);
  return values;
}

function fill<Values extends ArrayBufferView>(world: World, values: Values, offset: number, sizeBytes: number): Values {
  const bytes = new Uint8Array(values.buffer, values.byteOffset + offset, sizeBytes);
  bytes.set(world.random.bytes(sizeBytes));
  return values;
}

/** The first 48 bits are the instant in milliseconds. */
function uuidVersion7({ clock, random }: World): string {
  const instant = clock.now().toString(16).padStart(12, "0");
  return `${instant.slice(0, 8)}-${instant.slice(8)}-7${random.uuid().slice(15)}`;
}
