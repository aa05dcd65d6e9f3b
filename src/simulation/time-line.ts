import { crc32 } from "node:zlib";
import { EventQueue, type SimulatedEvent } from "./event-queue.ts";

/** The one virtual time of a simulation, with everything that is going to happen on it. */
export class TimeLine {
  readonly #queue = new EventQueue();
  #nowMs = 0;
  #sequence = 0;
  #firedCount = 0;
  #hash = 0;
  #last = "none";
  readonly #noted: ((atMs: number, label: string) => void) | undefined;

  /** `noted` hears of everything that becomes part of the history. */
  constructor(noted?: (atMs: number, label: string) => void) {
    this.#noted = noted;
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  get firedCount(): number {
    return this.#firedCount;
  }

  get pendingCount(): number {
    return this.#queue.size;
  }

  /** The label of the event that fired last. */
  get last(): string {
    return this.#last;
  }

  /** What happened so far and when, as a number: equal histories have equal ones. */
  get hash(): number {
    return this.#hash;
  }

  schedule(delayMs: number, label: string, fire: () => void): SimulatedEvent {
    const atMs = this.#nowMs + (delayMs > 0 ? delayMs : 0);
    const event = { atMs, sequence: this.#sequence++, label, fire, cancelled: false };
    // What is never due must not keep a run alive: nothing else left is a deadlock.
    if (atMs < Number.POSITIVE_INFINITY) this.#queue.push(event);
    return event;
  }

  cancel(event: SimulatedEvent): void {
    if (event.atMs < Number.POSITIVE_INFINITY) this.#queue.cancel(event);
  }

  /** Moves to the earliest event and fires it; `false` when there is none. */
  step(): boolean {
    const event = this.#queue.pop();
    if (event === undefined) return false;
    this.#nowMs = event.atMs;
    this.#firedCount += 1;
    this.note(event.label);
    event.fire();
    return true;
  }

  /** Makes a decision part of the history. */
  note(label: string): void {
    this.#last = label;
    this.#hash = crc32(`${this.#nowMs} ${label}\n`, this.#hash);
    this.#noted?.(this.#nowMs, label);
  }
}
