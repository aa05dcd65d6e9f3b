import type { Acquisition } from "./acquisition.ts";

/** Those for one name: by holder, in the order in which they came; one by itself, as it mostly is, needs no map. */
type OfName = Acquisition | Map<string, Acquisition>;

/** Acquisitions by name and holder. */
export class AcquisitionIndex {
  readonly #names = new Map<string, OfName>();

  get(name: string, holder: string): Acquisition | undefined {
    const found = this.#names.get(name);
    if (found instanceof Map) return found.get(holder);
    return found?.request.holder === holder ? found : undefined;
  }

  /** The name has none of its holder. */
  add(name: string, acquisition: Acquisition): void {
    const found = this.#names.get(name);
    if (found === undefined) this.#names.set(name, acquisition);
    else if (found instanceof Map) found.set(acquisition.request.holder, acquisition);
    else this.#names.set(name, new Map([found, acquisition].map((each) => [each.request.holder, each])));
  }

  /** Whether it was there. */
  delete(name: string, acquisition: Acquisition): boolean {
    const found = this.#names.get(name);
    if (found === acquisition) return this.#names.delete(name);
    const { holder } = acquisition.request;
    if (!(found instanceof Map) || found.get(holder) !== acquisition) return false;
    found.delete(holder);
    if (found.size === 0) this.#names.delete(name);
    return true;
  }

  /** `undefined`: the name has none. */
  of(name: string): Iterable<Acquisition> | undefined {
    const found = this.#names.get(name);
    if (found === undefined) return undefined;
    return found instanceof Map ? found.values() : [found];
  }

  /** As they are now, whatever is added or deleted meanwhile. */
  all(): readonly Acquisition[] {
    return [...this.#names.values()].flatMap((found) => (found instanceof Map ? [...found.values()] : [found]));
  }
}
