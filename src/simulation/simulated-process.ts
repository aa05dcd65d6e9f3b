import { inWorld } from "../world/ambient.ts";
import type { World } from "../world/world.ts";
import type { SimulatedEvent } from "./event-queue.ts";
import type { TimeLine } from "./time-line.ts";

interface PendingCall {
  readonly label: string;
  readonly interrupted: (() => void) | undefined;
  event?: SimulatedEvent | undefined;
}

export interface SimulatedCall<Result> {
  readonly label: string;
  readonly delayMs: number;
  /** Happens when the call's event fires; what it returns or throws settles the call. */
  readonly effect: () => Result;
  /** Called when the process crashes while the call is under way. */
  readonly interrupted?: (() => void) | undefined;
}

/** `"process"`: it alone died. `"machine"`: everything that runs there, its kernel included. */
export type DeathManner = "process" | "machine";

/**
 * One incarnation of a simulated process. Once it has crashed nothing reaches it any more: its calls never settle, its timers
 * never fire, and what it still asks for does not happen. While it is paused, what is due waits for it.
 */
export class SimulatedProcess {
  /** Counts the incarnations of its name, from 1. */
  readonly number: number;
  /** What the trace calls it. */
  readonly label: string;
  readonly #timeLine: TimeLine;
  readonly #calls = new Set<PendingCall>();
  readonly #mourners = new Set<(manner: DeathManner) => void>();
  #world: World | undefined;
  #threw: ((error: unknown) => void) | undefined;
  #alive = true;
  #paused = false;
  #deferred: { readonly pending: PendingCall; readonly fn: () => void }[] = [];
  #abandoned: readonly string[] = [];

  constructor(number: number, timeLine: TimeLine, name?: string) {
    this.number = number;
    this.label = name === undefined ? String(number) : `${name}#${number}`;
    this.#timeLine = timeLine;
  }

  get alive(): boolean {
    return this.#alive;
  }

  get paused(): boolean {
    return this.#paused;
  }

  /** The labels of the calls that were under way when it crashed. */
  get abandoned(): readonly string[] {
    return this.#abandoned;
  }

  /** The labels of the calls that are under way, in the order in which they were made. */
  get waitingFor(): readonly string[] {
    return Array.from(this.#calls, (call) => call.label);
  }

  /** From now on what happens to it happens in this world; `threw` is told of what its callbacks throw, which ends a real process. */
  live(world: World, threw: (error: unknown) => void): void {
    this.#world = world;
    this.#threw = threw;
  }

  /** Calls `fn` as the process' own code. */
  enter<Result>(fn: () => Result): Result {
    return this.#world === undefined ? fn() : inWorld(this.#world, fn);
  }

  call<Result>(call: SimulatedCall<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.after(
        call.delayMs,
        call.label,
        () => {
          try {
            resolve(call.effect());
          } catch (error) {
            reject(error);
          }
        },
        call.interrupted,
      );
    });
  }

  /** Calls `fn` once; the answer withdraws it. */
  after(delayMs: number, label: string, fn: () => void, interrupted?: (() => void) | undefined): () => void {
    if (!this.#alive) return () => {};
    const pending: PendingCall = { label, interrupted };
    pending.event = this.#timeLine.schedule(delayMs, `${this.label} ${label}`, () => {
      if (this.#paused) this.#deferred.push({ pending, fn });
      else this.#happen(pending, fn);
    });
    this.#calls.add(pending);
    return () => {
      if (pending.event !== undefined) this.#timeLine.cancel(pending.event);
      this.#calls.delete(pending);
    };
  }

  /** Calls `fn` when the process ends without having asked for it; the answer withdraws it. */
  whenDead(fn: (manner: DeathManner) => void): () => void {
    this.#mourners.add(fn);
    return () => this.#mourners.delete(fn);
  }

  /** From now on nothing happens to it until `resume`, as when its machine collects garbage or it was stopped by a signal. */
  pause(): void {
    this.#paused = true;
  }

  /** What became due meanwhile happens now, in the order in which it became due. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    const deferred = this.#deferred;
    this.#deferred = [];
    for (const { pending, fn } of deferred) {
      if (!this.#calls.has(pending)) continue;
      pending.event = this.#timeLine.schedule(0, `${this.label} late ${pending.label}`, () => {
        if (this.#paused) this.#deferred.push({ pending, fn });
        else this.#happen(pending, fn);
      });
    }
  }

  /** Ends it. Calls under way are told in the order in which they were made. */
  crash(manner: DeathManner = "machine"): void {
    this.#alive = false;
    const calls = [...this.#calls];
    this.#calls.clear();
    this.#deferred = [];
    this.#abandoned = calls.map((call) => call.label);
    for (const call of calls) {
      if (call.event !== undefined) this.#timeLine.cancel(call.event);
      call.interrupted?.();
    }
    for (const mourner of this.#mourners) mourner(manner);
    this.#mourners.clear();
  }

  #happen(pending: PendingCall, fn: () => void): void {
    // Withdrawn while it was put off.
    if (!this.#calls.delete(pending)) return;
    try {
      this.enter(fn);
    } catch (error) {
      if (this.#threw === undefined) throw error;
      this.#threw(error);
    }
  }
}
