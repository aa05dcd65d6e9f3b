import { assert } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";

/** How long a reading is gone by; clocks of machines differ by less than a millisecond in that time. */
const readingMs = 10_000;
/** The machine slept, or its clock was set, when its two clocks differ by more than this since the reading. */
const differenceMsMax = 20;

interface Reading {
  /** The server's clock, rounded down, at some moment between the other two. */
  readonly server: number;
  readonly before: number;
  readonly after: number;
  /** The wall clock beside `after`. */
  readonly wall: number;
}

/**
 * The server's clock as seen from here. JetStream tells its time only with the messages that it stores: one is stored and read back, and this machine's monotonic clock goes on from
 * there. So the server's time is known up to the round trip: `earliest` is certainly not later than it, `latest` not earlier.
 *
 * It is assumed that the servers of a cluster keep their clocks together, as whoever leads a stream stamps it.
 */
export class ServerClock {
  readonly #world: World;
  /** Stores a message and answers its stamp. */
  readonly #stamp: () => Promise<number>;
  #reading: Reading | undefined;
  #asking: Promise<void> | undefined;

  constructor(world: World, stamp: () => Promise<number>) {
    this.#world = world;
    this.#stamp = stamp;
  }

  /** Another server may answer now. */
  forget(): void {
    this.#reading = undefined;
  }

  /** Reads the server's clock, unless it was read lately. Before `earliest` and `latest` are asked. */
  async ready(): Promise<void> {
    while (!this.#isFresh()) {
      this.#asking ??= this.#read().finally(() => {
        this.#asking = undefined;
      });
      await this.#asking;
    }
  }

  async #read(): Promise<void> {
    const { clock } = this.#world;
    const before = clock.monotonic();
    const server = await this.#stamp();
    this.#reading = { server, before, after: clock.monotonic(), wall: clock.now() };
  }

  #isFresh(): boolean {
    if (this.#reading === undefined) return false;
    const { clock } = this.#world;
    const passedMs = clock.monotonic() - this.#reading.after;
    return passedMs < readingMs && Math.abs(clock.now() - this.#reading.wall - passedMs) <= differenceMsMax;
  }

  /** The server's time is not earlier than this. What ends, or becomes due, does so by this. */
  get earliest(): number {
    const { server, after } = this.#known;
    return server + this.#world.clock.monotonic() - after;
  }

  /** The server's time is not later than this. What is given a time to live, gets it from here. */
  get latest(): number {
    const { server, before } = this.#known;
    return server + 1 + this.#world.clock.monotonic() - before;
  }

  get #known(): Reading {
    assert(this.#reading !== undefined, "the server's clock was read");
    return this.#reading;
  }
}
