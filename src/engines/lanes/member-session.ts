import type { Cancel, World } from "../../world/world.ts";

/**
 * How long this process may believe that its session goes on, by its own clocks: from the moment at which a renewal that was answered was sent.
 * Monotonic time stands still while a machine sleeps, and the wall clock may be set, so the one that went further counts.
 */
export class MemberSession {
  readonly #world: World;
  readonly #sessionMs: number;
  readonly #over: () => void;
  #monotonic: number;
  #wall: number;
  #cancel: Cancel | undefined;

  /** `over` is called when the session has surely ended, unless it is renewed or stopped. */
  constructor(world: World, sessionMs: number, over: () => void) {
    this.#world = world;
    this.#sessionMs = sessionMs;
    this.#over = over;
    this.#monotonic = world.clock.monotonic();
    this.#wall = world.clock.now();
  }

  /** Answers a function that renews the session as of now, to be called when the server has answered. */
  renewal(): () => void {
    const monotonic = this.#world.clock.monotonic();
    const wall = this.#world.clock.now();
    return () => this.renewAsOf(monotonic, wall);
  }

  /** The server has answered what was sent at this moment. */
  renewAsOf(monotonic: number, wall: number): void {
    this.#monotonic = monotonic;
    this.#wall = wall;
    this.#watch();
  }

  get leftMs(): number {
    const { clock } = this.#world;
    return this.#sessionMs - Math.max(clock.monotonic() - this.#monotonic, clock.now() - this.#wall);
  }

  stop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #watch(): void {
    this.#cancel?.();
    this.#cancel = this.#world.timers.schedule(Math.max(0, this.leftMs), () => {
      if (this.leftMs > 0) this.#watch();
      else this.#over();
    });
  }
}
