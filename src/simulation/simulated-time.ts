import type { Cancel, Clock, Random, Timers } from "../world/world.ts";
import type { SeededGenerator } from "./seeded-generator.ts";
import type { SimulatedProcess } from "./simulated-process.ts";
import type { TimeLine } from "./time-line.ts";

/**
 * No timer is finer. Sums of fractions are not exact, above all at another rate: who waits for what is left until a deadline, and is
 * woken a trillionth before it, must not wait for that trillionth again and again while no time passes.
 */
const TIMER_MS_MIN = 0.001;

/**
 * A machine's clocks. The monotonic one goes with virtual time at the machine's own rate, and stands still while the machine is asleep; the wall clock is
 * that, set to what the machine believes. Timers go by the monotonic one.
 */
export class MachineClock implements Clock {
  readonly #timeLine: TimeLine;
  #wallOffsetMs: number;
  /** Milliseconds of this machine per millisecond of virtual time. */
  #rate = 1;
  #reckonedAt = 0;
  #monotonicMs = 0;
  #asleepSince: number | undefined;

  constructor(timeLine: TimeLine, startsAt: number) {
    this.#timeLine = timeLine;
    this.#wallOffsetMs = startsAt;
  }

  now(): number {
    return Math.floor(this.#elapsedMs() + this.#wallOffsetMs);
  }

  monotonic(): number {
    return this.#elapsedMs();
  }

  /** How much virtual time passes while this machine counts so many milliseconds. */
  virtualMs(ms: number): number {
    return (ms > 0 ? Math.max(ms, TIMER_MS_MIN) : 0) / this.#rate;
  }

  step(ms: number): void {
    this.#wallOffsetMs += ms;
  }

  set(epochMs: number): void {
    this.#wallOffsetMs = epochMs - this.#elapsedMs();
  }

  /** From now on its clocks gain (above 1) or lose (below 1) against virtual time. */
  drift(rate: number): void {
    if (!(rate > 0 && rate < 2)) throw new RangeError(`a clock's rate lies between 0 and 2, not at ${rate}`);
    this.#reckon();
    this.#rate = rate;
  }

  /** The machine sleeps: monotonic time stands still, and the wall clock is right again when it wakes up. */
  sleep(): void {
    if (this.#asleepSince !== undefined) return;
    this.#reckon();
    this.#asleepSince = this.#timeLine.nowMs;
  }

  wake(): void {
    if (this.#asleepSince === undefined) return;
    this.#wallOffsetMs += this.#timeLine.nowMs - this.#asleepSince;
    this.#asleepSince = undefined;
    this.#reckonedAt = this.#timeLine.nowMs;
  }

  #reckon(): void {
    this.#monotonicMs = this.#elapsedMs();
    this.#reckonedAt = this.#timeLine.nowMs;
  }

  #elapsedMs(): number {
    if (this.#asleepSince !== undefined) return this.#monotonicMs;
    return this.#monotonicMs + (this.#timeLine.nowMs - this.#reckonedAt) * this.#rate;
  }
}

export class SimulatedTimers implements Timers {
  readonly #incarnation: SimulatedProcess;
  readonly #clock: MachineClock;

  constructor(incarnation: SimulatedProcess, clock: MachineClock) {
    this.#incarnation = incarnation;
    this.#clock = clock;
  }

  sleep(ms: number, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<void> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (!this.#incarnation.alive) return;
      if (signal?.aborted) return reject(signal.reason);
      const cancel = this.#at(ms, `sleep ${ms}`, () => {
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
    return this.#at(ms, `timer ${ms}`, fn);
  }

  /** Never early by the machine's own monotonic clock: what it slept, or lost, is waited for once more. */
  #at(ms: number, label: string, fn: () => void): Cancel {
    const deadline = this.#clock.monotonic() + ms;
    const fire = (): void => {
      const leftMs = deadline - this.#clock.monotonic();
      if (leftMs >= TIMER_MS_MIN) cancel = this.#incarnation.after(this.#clock.virtualMs(leftMs), label, fire);
      else fn();
    };
    let cancel = this.#incarnation.after(this.#clock.virtualMs(ms), label, fire);
    return () => cancel();
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
