import type { Clock } from "../../../world/world.ts";
import type { NodeData } from "../protocol.ts";
import { stateOf } from "./name-record.ts";
import type { Change } from "./steps.ts";

/** A name as it was at some time; a change that rests on it is carried out only if it still is so. */
export interface KnownName extends Change {
  /** Of the node above it, whose version changes when a name is removed. */
  readonly bucketVersion: number;
  /** `undefined`: there is no node. */
  readonly version: number | undefined;
  /** Who holds it and who waits, as `LeaseState` writes it. */
  readonly state: Buffer;
}

interface Kept {
  readonly known: KnownName;
  /** By the monotonic clock. */
  readonly until: number;
}

/** Longer, and somebody else has likely changed it: then remembering it costs a change that is refused. */
const keptMs = 1_000;
const namesMax = 1_000;
const bytesMax = 8 * 1024 * 1024;

/** Names as this process has left them a moment ago, so that the next change need not read them. */
export class KnownNames {
  readonly #clock: Clock;
  /** The one that was kept last is the last one. */
  readonly #kept = new Map<string, Kept>();
  #bytes = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get(name: string): KnownName | undefined {
    const kept = this.#kept.get(name);
    if (kept === undefined || kept.until >= this.#clock.monotonic()) return kept?.known;
    this.forget(name);
    return undefined;
  }

  keep(name: string, known: KnownName): void {
    this.forget(name);
    this.#kept.set(name, { known, until: this.#clock.monotonic() + keptMs });
    this.#bytes += known.state.length;
    while (this.#kept.size > namesMax || this.#bytes > bytesMax) this.forget(this.#kept.keys().next().value!);
  }

  /** The node was read again. */
  met(name: string, node: NodeData | undefined): void {
    const known = this.get(name);
    if (known === undefined || node === undefined || node.stat.change <= known.change) return;
    const { bucketVersion } = known;
    this.keep(name, { bucketVersion, ...node.stat, state: stateOf(node).encode() });
  }

  forget(name: string): void {
    const kept = this.#kept.get(name);
    if (kept === undefined) return;
    this.#bytes -= kept.known.state.length;
    this.#kept.delete(name);
  }

  forgetAll(): void {
    this.#kept.clear();
    this.#bytes = 0;
  }
}
