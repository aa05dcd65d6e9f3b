import type { Cancel, World } from "../../world/world.ts";
import { Lifetime } from "../shared/lifetime.ts";
import type { Parameter, Row, Sql, Statement } from "./sql.ts";
import type { Wire } from "./wire.ts";

/** How long taking leave may take. */
const leaveMs = 200;

/** When this process itself was late, the answer may be there and only has to be read: timers come before what came in. */
const graceMs = 20;

/**
 * One client of the user's for as long as its connection holds. Statements are carried out one after the other. One whose answer takes too long ends the
 * session, and with it the transaction it was in.
 */
export class Session implements Sql {
  readonly wire: Wire;
  readonly #world: World;
  readonly #timeoutMs: number;
  readonly #life = new Lifetime();
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
    return this.#life.isOver;
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

  async run(statement: Statement, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    this.#throwIfEnded();
    return this.#within(this.wire.run(statement, values));
  }

  /** Without values. */
  async simple(text: string): Promise<void> {
    this.#throwIfEnded();
    await this.#within(this.wire.simple(text));
  }

  async commit(): Promise<void> {
    this.#throwIfEnded();
    await this.#within(this.wire.commit());
  }

  #throwIfEnded(): void {
    if (this.ended) throw new Error("the connection was lost");
  }

  /** Rejects when the session breaks, or when nothing comes for too long; then the session has ended. */
  async #within<T>(answer: Promise<T>): Promise<T> {
    const { timers } = this.#world;
    const giveUp = () => {
      this.#break(new Overdue(this.#timeoutMs));
      this.destroy();
    };
    let cancel = timers.schedule(this.#timeoutMs, () => {
      cancel = timers.schedule(graceMs, giveUp);
    });
    try {
      return await this.#life.during(answer);
    } finally {
      cancel();
      this.#usedAt = this.#world.clock.monotonic();
    }
  }

  #break(error: Error): void {
    this.#life.end(error);
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

/** The server did not answer in time. */
export class Overdue extends Error {
  readonly timeoutMs: number;
  constructor(timeoutMs: number) {
    super(`the server did not answer within ${timeoutMs} ms`);
    this.timeoutMs = timeoutMs;
  }
}
