import type { Cancel, World } from "../../world/world.ts";
import type { Parameter, Row, Sql, Statement } from "./sql.ts";
import type { Wire } from "./wire.ts";

/** How long taking leave may take. */
const leaveMs = 200;

/** When this process itself was late, the answer may be there and only has to be read: timers come before what came in. */
const graceMs = 20;

/** What was asked and is not answered yet. */
interface Missing {
  readonly reject: (error: unknown) => void;
  readonly askedAt: number;
}

/**
 * One client of the user's for as long as its connection holds. Statements are carried out one after the other. One whose answer takes too long ends the
 * session, and with it the transaction it was in.
 */
export class Session implements Sql {
  readonly wire: Wire;
  readonly #world: World;
  readonly #timeoutMs: number;
  /** In the order in which they were asked. */
  readonly #missing = new Set<Missing>();
  /** One timer for all answers, which looks at the oldest: one for each would cost more than the rest of what is done here. */
  #cancelLook: Cancel | undefined;
  #ending: { readonly reason: unknown } | undefined;
  readonly #broken = Promise.withResolvers<never>();
  #destroyed = false;
  #usedAt: number;

  constructor(wire: Wire, world: World, timeoutMs: number) {
    this.wire = wire;
    this.#world = world;
    this.#timeoutMs = timeoutMs;
    this.#usedAt = world.clock.monotonic();
    this.#broken.promise.catch(() => undefined);
    wire.onBreak((error) => this.#break(error));
  }

  /** The session is over. */
  get ended(): boolean {
    return this.#ending !== undefined;
  }

  /** Whether it can be asked while answers are missing; see `Wire`. */
  get pipelines(): boolean {
    return this.wire.pipelines === true;
  }

  /** When the session has ended by itself. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** How long nobody has asked anything. */
  get idleMs(): number {
    return this.#world.clock.monotonic() - this.#usedAt;
  }

  async open(): Promise<void> {
    await this.#within(this.wire.open());
  }

  run(statement: Statement, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    return this.ended ? lost() : this.#within(this.wire.run(statement, values));
  }

  /** Without values. */
  async simple(text: string): Promise<void> {
    await (this.ended ? lost() : this.#within(this.wire.simple(text)));
  }

  async commit(): Promise<void> {
    await (this.ended ? lost() : this.#within(this.wire.commit()));
  }

  /** Rejects when the session breaks, or when nothing comes for too long; then the session has ended. */
  #within<T>(answer: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (this.#ending !== undefined) reject(this.#ending.reason);
      const missing = { reject, askedAt: this.#world.clock.monotonic() };
      this.#missing.add(missing);
      this.#cancelLook ??= this.#world.timers.schedule(this.#timeoutMs, this.#look);
      answer.then(
        (value) => {
          this.#answered(missing);
          resolve(value);
        },
        (error: unknown) => {
          this.#answered(missing);
          reject(error);
        },
      );
    });
  }

  #answered(missing: Missing): void {
    this.#missing.delete(missing);
    this.#usedAt = this.#world.clock.monotonic();
  }

  readonly #look = (): void => {
    this.#cancelLook = undefined;
    const { timers, clock } = this.#world;
    const [oldest] = this.#missing;
    if (this.ended || oldest === undefined) return;
    const leftMs = oldest.askedAt + this.#timeoutMs - clock.monotonic();
    if (leftMs > 0) this.#cancelLook = timers.schedule(leftMs, this.#look);
    else this.#cancelLook = timers.schedule(graceMs, () => this.#giveUp(oldest));
  };

  #giveUp(overdue: Missing): void {
    if (!this.#missing.has(overdue)) {
      this.#look();
      return;
    }
    this.#break(new Overdue(this.#timeoutMs));
    this.destroy();
  }

  #break(error: Error): void {
    if (this.#ending !== undefined) return;
    this.#ending = { reason: error };
    this.#cancelLook?.();
    for (const { reject } of this.#missing) reject(error);
    this.#missing.clear();
    this.#broken.reject(error);
  }

  /** Ends the connection without waiting for anything. One that is idle takes its leave, and is cut when that has no answer. */
  destroy(): void {
    this.#break(new Error("the connection was closed"));
    if (this.#destroyed) return;
    this.#destroyed = true;
    const cancel: Cancel = this.#world.timers.schedule(leaveMs, () => this.wire.cut());
    this.wire.leave().then(cancel, () => undefined);
  }
}

function lost(): Promise<never> {
  return Promise.reject(new Error("the connection was lost"));
}

/** The server did not answer in time. */
export class Overdue extends Error {
  readonly timeoutMs: number;
  constructor(timeoutMs: number) {
    super(`the server did not answer within ${timeoutMs} ms`);
    this.timeoutMs = timeoutMs;
  }
}
