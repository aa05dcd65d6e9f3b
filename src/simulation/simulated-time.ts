import type { Cancel, Clock, Random, Timers } from "../world/world.ts";
import type { SeededGenerator } from "./seeded-generator.ts";
import type { SimulatedProcess } from "./simulated-process.ts";
import type { TimeLine } from "./time-line.ts";

/** A machine's wall clock: virtual time plus what it was set to. */
export class WallClock {
  readonly #timeLine: TimeLine;
  #offsetMs: number;

  constructor(timeLine: TimeLine, startsAt: number) {
    this.#timeLine = timeLine;
    this.#offsetMs = startsAt;
  }

  now(): number {
    return Math.floor(this.#timeLine.nowMs + this.#offsetMs);
  }

  step(ms: number): void {
    this.#offsetMs += ms;
  }

  set(epochMs: number): void {
    this.#offsetMs = epochMs - this.#timeLine.nowMs;
  }
}

export class SimulatedClock implements Clock {
  readonly #wallClock: WallClock;
  readonly #timeLine: TimeLine;

  constructor(wallClock: WallClock, timeLine: TimeLine) {
    this.#wallClock = wallClock;
    this.#timeLine = timeLine;
  }

  now(): number {
    return this.#wallClock.now();
  }

  monotonic(): number {
    return this.#timeLine.nowMs;
  }
}

export class SimulatedTimers implements Timers {
  readonly #incarnation: SimulatedProcess;

  constructor(incarnation: SimulatedProcess) {
    this.#incarnation = incarnation;
  }

  sleep(ms: number, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (!this.#incarnation.alive) return;
      if (signal?.aborted) return reject(signal.reason);
      const cancel = this.#incarnation.after(ms, `sleep ${ms}`, () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      });
      const abort = () => {
        if (!this.#incarnation.alive) return;
        cancel();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  schedule(ms: number, fn: () => void): Cancel {
    return this.#incarnation.after(ms, `timer ${ms}`, fn);
  }
}

export class SimulatedRandom implements Random {
  readonly #generator: SeededGenerator;

  constructor(generator: SeededGenerator) {
    this.#generator = generator;
  }

  float(): number {
    return this.#generator.float();
  }

  bytes(count: number): Uint8Array {
    return this.#generator.fill(new Uint8Array(count));
  }

  uuid(): string {
    const bytes = this.bytes(16);
    bytes[6] = (bytes[6]! & 0x0f) | 0x40;
    bytes[8] = (bytes[8]! & 0x3f) | 0x80;
    const hex = Buffer.from(bytes).toString("hex");
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }
}
