import { syncBuiltinESMExports } from "node:module";

/** A function of Node or of the language, of which nothing more is known here. */
export type Builtin = (...parameters: never[]) => unknown;

/**
 * Properties of builtin objects that were replaced, and how they were. Mutation is the one way that reaches code that is already loaded: after
 * `publish` even names that were imported from a `node:` module before mean the replacements.
 */
export class BuiltinPatches {
  readonly #restorers: (() => void)[] = [];

  /** Replaces one function by what `make` makes of it; it keeps its name, its length and everything that hangs on it. Nothing when it is not there. */
  replace<Original extends Builtin>(owner: object, key: PropertyKey, make: (original: Original) => unknown): void {
    const original: unknown = Reflect.get(owner, key);
    if (typeof original !== "function") return;
    const replacement = make(original as unknown as Original);
    if (typeof replacement === "function") dress(replacement, original);
    this.define(owner, key, { value: replacement, writable: true, configurable: true });
  }

  /** Replaces one property, whatever it was. A property that cannot be replaced stays. */
  define(owner: object, key: PropertyKey, property: PropertyDescriptor): void {
    const before = Object.getOwnPropertyDescriptor(owner, key);
    const enumerable = before?.enumerable ?? false;
    if (!Reflect.defineProperty(owner, key, { ...property, enumerable, configurable: true })) return;
    this.#restorers.push(() => {
      if (before === undefined) Reflect.deleteProperty(owner, key);
      else Object.defineProperty(owner, key, before);
    });
  }

  /** Lets named imports of builtin modules see what their objects hold now. */
  publish(): void {
    syncBuiltinESMExports();
  }

  restore(): void {
    for (const restore of this.#restorers.reverse()) restore();
    this.#restorers.length = 0;
    this.publish();
  }
}

/** Among the properties that hang on functions are those by which `util.promisify` knows what to do. */
function dress(replacement: object, original: object): void {
  if (replacement === original) return;
  for (const key of Reflect.ownKeys(original)) {
    Reflect.defineProperty(replacement, key, Object.getOwnPropertyDescriptor(original, key)!);
  }
}
