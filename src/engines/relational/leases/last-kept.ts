interface Kept<Value> {
  readonly value: Value;
  readonly bytes: number;
}

/** Of a value, beside its name and what it holds itself: its place in the map. */
const entryBytes = 100;

/** Values by name, in so much memory as there is for them: those that were kept last stay. */
export class LastKept<Value> {
  readonly #bytesMax: number;
  readonly #kept = new Map<string, Kept<Value>>();
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** What they take. */
  get bytes(): number {
    return this.#bytes;
  }

  get(name: string): Value | undefined {
    return this.#kept.get(name)?.value;
  }

  /** In the place of what was kept under the name. What takes more than there is drives nothing else out, and is not kept. */
  keep(name: string, value: Value, valueBytes: number): void {
    this.delete(name);
    const bytes = entryBytes + 2 * name.length + valueBytes;
    if (bytes > this.#bytesMax) return;
    this.#kept.set(name, { value, bytes });
    this.#bytes += bytes;
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.#bytesMax) return;
      this.delete(oldest);
    }
  }

  delete(name: string): void {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    this.#kept.delete(name);
    this.#bytes -= kept.bytes;
  }
}
