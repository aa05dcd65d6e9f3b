import type { Cancel, World } from "../../../world/world.ts";
import type { ServerLease, ServerLeases } from "./server-leases.ts";
import type { Turns } from "./turns.ts";

/** Places in queues vanish so soon after the process that waits. */
const presenceSeconds = 4;
const renewEveryMs = 1_000;
/** Who has asked for it may just be taking its place. */
const keptMs = 30_000;

/** One lease of etcd for all places that an engine has in queues, alive for as long as the engine is and has any. */
export class Presence {
  readonly #world: World;
  readonly #leases: ServerLeases;
  readonly #turns: Turns;
  #lease: Promise<ServerLease> | undefined;
  #id: string | undefined;
  #askedAt = 0;
  #timer: Cancel | undefined;
  #closed = false;

  constructor(world: World, leases: ServerLeases, turns: Turns) {
    this.#world = world;
    this.#leases = leases;
    this.#turns = turns;
  }

  async lease(): Promise<string> {
    this.#askedAt = this.#world.clock.monotonic();
    const lease = this.#lease ?? this.#take();
    this.#lease = lease;
    try {
      return (await lease).id;
    } catch (error) {
      this.lost(lease);
      throw error;
    }
  }

  /** etcd says that this one has ended; so the next call takes another one, if it is still the present one. */
  ended(id: string): void {
    if (this.#id === id) this.lost();
  }

  /** The next call takes another one. */
  lost(lease = this.#lease): void {
    if (this.#lease !== lease) return;
    this.#lease = undefined;
    this.#id = undefined;
    this.#timer?.();
    this.#turns.callAll();
  }

  async #take(): Promise<ServerLease> {
    const made = await this.#leases.make(presenceSeconds);
    this.#id = made.id;
    this.#schedule(made);
    return made;
  }

  #schedule(made: ServerLease): void {
    if (this.#closed) {
      void this.#leases.revoke(made);
      return;
    }
    const lease = this.#lease;
    this.#timer = this.#world.timers.schedule(renewEveryMs, () => {
      if (this.#turns.isEmpty && this.#world.clock.monotonic() - this.#askedAt > keptMs) {
        this.lost(lease);
        void this.#leases.revoke(made);
        return;
      }
      this.#leases.keepAlive(made).then(
        (alive) => (alive ? this.#schedule(made) : this.lost(lease)),
        () => this.#schedule(made),
      );
    });
  }

  /** Gives up all places. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.();
    const made = await this.#lease?.catch(() => undefined);
    if (made !== undefined) await this.#leases.revoke(made);
  }
}
