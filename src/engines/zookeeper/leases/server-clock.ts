import type { World } from "../../../world/world.ts";

/**
 * The clock of ZooKeeper's leader, which stamps every change. Between two changes it is reckoned from the last one, and never too far: the stamp is older than the
 * answer that brought it.
 */
export class ServerClock {
  readonly #world: World;
  #stamp: number | undefined;
  #at = 0;

  constructor(world: World) {
    this.#world = world;
  }

  met(stamp: number): void {
    this.#stamp = stamp;
    this.#at = this.#world.clock.monotonic();
  }

  /** No later than it is there; long ago before the first change. */
  get notLaterThan(): number {
    return this.#stamp === undefined ? 0 : this.#stamp + (this.#world.clock.monotonic() - this.#at);
  }
}
