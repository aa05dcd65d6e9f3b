import type { Position } from "../journal/journal.ts";

export interface Delay {
  readonly dueAt: number;
  readonly position: Position;
  readonly queue: number;
  /** What its record takes in the journal. */
  readonly bytes: number;
}

/**
 * Which delayed records wait, by due instant: a binary heap in typed arrays, 24 bytes a message. Equal instants leave in the
 * order of their positions.
 */
export class Delays {
  #dueAt = new Float64Array(64);
  #positions = new Float64Array(64);
  #queues = new Uint32Array(64);
  #bytes = new Uint32Array(64);
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** When the next one is due. */
  get nextDueAt(): number | undefined {
    return this.#size === 0 ? undefined : this.#dueAt[0];
  }

  add(delay: Delay): void {
    if (this.#size === this.#dueAt.length) this.#resize(this.#size * 2);
    let at = this.#size;
    this.#size += 1;
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      if (!this.#before(delay, parent)) break;
      this.#copy(parent, at);
      at = parent;
    }
    this.#set(at, delay);
  }

  /** Takes the next one out when it is due by `now`. */
  take(now: number): Delay | undefined {
    if (this.#size === 0 || this.#dueAt[0]! > now) return undefined;
    const taken = this.#get(0);
    this.#size -= 1;
    if (this.#size > 0) this.#sink(0, this.#get(this.#size));
    return taken;
  }

  /** Every entry, in no order. */
  *entries(): Generator<Delay> {
    for (let at = 0; at < this.#size; at++) yield this.#get(at);
  }

  /** Starts anew with these; linear. */
  replace(entries: readonly Delay[]): void {
    this.#size = entries.length;
    this.#resize(Math.max(64, entries.length));
    for (let at = 0; at < entries.length; at++) this.#set(at, entries[at]!);
    for (let at = (this.#size >>> 1) - 1; at >= 0; at--) this.#sink(at, this.#get(at));
  }

  #sink(start: number, delay: Delay): void {
    let at = start;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#before(this.#get(child + 1), child)) child += 1;
      if (this.#before(delay, child)) break;
      this.#copy(child, at);
      at = child;
    }
    this.#set(at, delay);
  }

  #before(delay: Delay, at: number): boolean {
    const dueAt = this.#dueAt[at]!;
    return delay.dueAt < dueAt || (delay.dueAt === dueAt && delay.position < this.#positions[at]!);
  }

  #get(at: number): Delay {
    return {
      dueAt: this.#dueAt[at]!,
      position: this.#positions[at]!,
      queue: this.#queues[at]!,
      bytes: this.#bytes[at]!,
    };
  }

  #set(at: number, { dueAt, position, queue, bytes }: Delay): void {
    this.#dueAt[at] = dueAt;
    this.#positions[at] = position;
    this.#queues[at] = queue;
    this.#bytes[at] = bytes;
  }

  #copy(from: number, to: number): void {
    this.#dueAt[to] = this.#dueAt[from]!;
    this.#positions[to] = this.#positions[from]!;
    this.#queues[to] = this.#queues[from]!;
    this.#bytes[to] = this.#bytes[from]!;
  }

  #resize(capacity: number): void {
    const [dueAt, positions, queues, bytes] = [this.#dueAt, this.#positions, this.#queues, this.#bytes];
    this.#dueAt = new Float64Array(capacity);
    this.#positions = new Float64Array(capacity);
    this.#queues = new Uint32Array(capacity);
    this.#bytes = new Uint32Array(capacity);
    this.#dueAt.set(dueAt.subarray(0, capacity));
    this.#positions.set(positions.subarray(0, capacity));
    this.#queues.set(queues.subarray(0, capacity));
    this.#bytes.set(bytes.subarray(0, capacity));
  }
}
