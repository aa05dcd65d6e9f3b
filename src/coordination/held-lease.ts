import { TenonError } from "../contracts/errors.ts";
import type { Lease } from "../contracts/leases.ts";
import type { Cancel } from "../world/index.ts";
import type { LeasingEngine } from "./api.ts";
import { backoffMs } from "./backoff.ts";
import { asTenonError, capital } from "./failures.ts";
import { releaseLease } from "./giving-up.ts";
import { lateTimersOf } from "./late-timers.ts";
import { elapsedMs } from "./validity.ts";

/** Timers stand still while the machine sleeps, so that the clocks are looked at this often. */
const lookMsMax = 1_000;
/** How long `release` asks an engine that fails. */
const releaseMsMax = 5_000;

export interface Watching {
  /** For errors: `the mutex "a"`. */
  readonly what: string;
  readonly renew: boolean;
  readonly marginMs: number;
}

/**
 * A granted lease, watched over until it is released or lost. It is lost when the engine says so, or when less than the margin is left of its
 * time to live by our own clocks; then it stays lost, whatever a late reply says.
 */
export class HeldLease {
  readonly #engine: LeasingEngine;
  readonly #watching: Watching;
  #lease: Lease;
  /** Made when somebody asks for it: most locks are held for a moment, and nobody listens. */
  #controller: AbortController | undefined;
  /** Why it is over, or what says so when it is asked: an error costs more than all else that a release does here. */
  #over: TenonError | (() => TenonError) | undefined;
  #timer: Cancel | undefined;
  #releasing: Promise<void> | undefined;
  /** Renewals that failed one after the other. */
  #failures = 0;
  /** No renewal is asked for before this much of the time to live has passed. */
  #renewAtMs: number;

  constructor(engine: LeasingEngine, lease: Lease, watching: Watching) {
    this.#engine = engine;
    this.#lease = lease;
    this.#watching = watching;
    this.#renewAtMs = lease.ttlMs / 3;
    this.#look();
  }

  get token(): bigint {
    return this.#lease.token;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#over !== undefined && !this.#controller.signal.aborted) this.#controller.abort(this.over);
    return this.#controller.signal;
  }

  get validMs(): number {
    return this.#over === undefined ? Math.max(0, this.#validMsAfter(this.#elapsedMs())) : 0;
  }

  /** As it was when the clocks were last looked at. */
  get isOver(): boolean {
    return this.#over !== undefined;
  }

  /** Why it is not held any more; looks at the clocks. */
  get over(): TenonError | undefined {
    if (this.#over === undefined) this.#endAfter(this.#elapsedMs());
    if (typeof this.#over === "function") this.#over = this.#over();
    return this.#over;
  }

  #elapsedMs(): number {
    return elapsedMs(this.#lease.since, this.#engine.world.clock);
  }

  /** How much is left, or less than nothing. */
  #validMsAfter(elapsed: number): number {
    return this.#lease.ttlMs - this.#watching.marginMs - elapsed;
  }

  /** Ends it when too little is left. */
  #endAfter(elapsed: number): void {
    if (this.#over === undefined && this.#validMsAfter(elapsed) <= 0) this.#expire();
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    const { what } = this.#watching;
    const elapsed = this.#elapsedMs();
    this.#endAfter(elapsed);
    const lostBefore = this.isOver ? this.over : undefined;
    if (lostBefore === undefined) {
      this.#end(() => new TenonError("closed", `${capital(what)} was released. Acquire it again.`));
    } else if (lostBefore.code === "lost" && lostBefore.cause !== undefined) {
      // The engine itself said that it is gone.
      return;
    }
    const { name, holder, ttlMs } = this.#lease;
    const error = await releaseLease(this.#engine, name, holder, Math.min(releaseMsMax, ttlMs - elapsed));
    if (error === undefined || lostBefore !== undefined) return;
    throw new TenonError(
      error.code,
      `${capital(what)} could not be released. It ends by itself within ${ttlMs} ms; look whether the engine is reachable.`,
      { outcome: "unknown", fields: { name, ttlMs }, cause: error },
    );
  }

  /** Ends it, renews it, or looks again later. */
  readonly #look = (): void => {
    this.#timer = undefined;
    const elapsed = this.#elapsedMs();
    this.#endAfter(elapsed);
    if (this.isOver) return;
    let nextMs = Math.min(this.#validMsAfter(elapsed), lookMsMax);
    if (this.#watching.renew) {
      if (this.#renewAtMs <= elapsed) this.#renew(elapsed);
      nextMs = Math.min(nextMs, this.#renewAtMs - elapsed);
    }
    this.#timer = lateTimersOf(this.#engine).schedule(Math.max(1, Math.ceil(nextMs)), this.#look);
  };

  #renew(elapsed: number): void {
    const lease = this.#lease;
    // A renewal that is not answered by then is sent again; renewing twice does no harm.
    this.#renewAtMs = elapsed + Math.max(1, lease.ttlMs / 6);
    this.#ask(lease).then(
      (renewed) => this.#renewed(renewed),
      (error: unknown) => this.#failed(lease, asTenonError(error, `Renewing ${this.#watching.what}`)),
    );
  }

  async #ask(lease: Lease): Promise<Lease> {
    return this.#engine.leases.renew(lease);
  }

  #renewed(lease: Lease): void {
    // Replies may overtake one another; only the latest beginning counts.
    if (this.over !== undefined || lease.since.monotonic <= this.#lease.since.monotonic) return;
    this.#lease = lease;
    this.#failures = 0;
    this.#renewAtMs = lease.ttlMs / 3;
    this.#lookAgain();
  }

  #failed(asked: Lease, error: TenonError): void {
    if (this.over !== undefined) return;
    if (error.code === "lost" || error.code === "closed") {
      const why = error.code === "lost" ? "the engine does not know it any more" : "the engine was closed";
      this.#end(this.#lost(why, error));
      return;
    }
    // What failed before a later one succeeded does not matter.
    if (asked !== this.#lease) return;
    const { world } = this.#engine;
    const delayMs = Math.min(backoffMs(this.#failures++, world.random.float()), asked.ttlMs / 6);
    this.#renewAtMs = elapsedMs(asked.since, world.clock) + delayMs;
    this.#lookAgain();
  }

  #lookAgain(): void {
    this.#timer?.();
    this.#look();
  }

  #expire(): void {
    const { renew } = this.#watching;
    const why = renew ? "it could not be renewed in time" : "its time to live has ended, and it is not renewed";
    this.#end(this.#lost(why, undefined));
  }

  #lost(why: string, cause: TenonError | undefined): TenonError {
    const { token } = this.#lease;
    return new TenonError(
      "lost",
      `${capital(this.#watching.what)} was lost: ${why}. Stop what it protects; somebody else may hold it now.`,
      { fields: { name: this.#lease.name, token }, cause },
    );
  }

  #end(over: TenonError | (() => TenonError)): void {
    this.#over = over;
    this.#timer?.();
    this.#timer = undefined;
    this.#controller?.abort(this.over);
  }
}
