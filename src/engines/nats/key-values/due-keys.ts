/** Keys are due by so much at once. */
const grainMs = 250;

/** Keys for which something is to be done at an instant, or a little later. */
export class DueKeys {
  /** By the end of their grain. */
  readonly #grains = new Map<number, Map<string, number>>();
  readonly #countMax: number;
  #count = 0;

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  /** `sequence`: of the key's message that this is about. What is too much is not remembered. */
  add(subject: string, sequence: number, at: number): void {
    if (this.#count >= this.#countMax || !Number.isFinite(at)) return;
    const grain = (Math.floor(at / grainMs) + 1) * grainMs;
    let keys = this.#grains.get(grain);
    if (keys === undefined) {
      keys = new Map();
      this.#grains.set(grain, keys);
    }
    if (!keys.has(subject)) this.#count += 1;
    keys.set(subject, Math.max(sequence, keys.get(subject) ?? 0));
  }

  /** When the next ones are due; `undefined`: never. */
  get nextAt(): number | undefined {
    let next: number | undefined;
    for (const grain of this.#grains.keys()) next = Math.min(next ?? grain, grain);
    return next;
  }

  /** Takes out what is due. */
  take(now: number): readonly (readonly [subject: string, sequence: number])[] {
    const taken: (readonly [string, number])[] = [];
    for (const [grain, keys] of this.#grains) {
      if (grain > now) continue;
      this.#grains.delete(grain);
      this.#count -= keys.size;
      taken.push(...keys);
    }
    return taken;
  }
}
