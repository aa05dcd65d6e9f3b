import type { Cancel, World } from "../../../world/world.ts";
import type { ServerLeases } from "./server-leases.ts";
import type { Turns } from "./turns.ts";

/** Places in queues vanish so soon after the process that waits. */
const presenceMs = 4_000;
const renewEveryMs = 1_000;
/** Who has asked for it may just be taking its place. */
const keptMs = 30_000;

/** One lease of etcd for all places that an engine has in queues, alive for as long as the engine is and has any. */
export class Presence {
  readonly #world: World;
  readonly #leases: ServerLeases;
  readonly #turns: Turns;
  #lease: Promise<string> | undefined;
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
      return await lease;
    } catch (error) {
      this.lost(lease);
      throw error;
    }
  }

  /** It has ended; the next call takes another one. */
  lost(lease = this.#lease): void {
    if (this.#lease !== lease) return;
    this.#lease = undefined;
    this.#timer?.();
    this.#turns.callAll();
  }

  async #take(): Promise<string> {
    const id = await this.#leases.take(presenceMs);
    this.#schedule(id);
    return id;
  }

  #schedule(id: string): void {
    if (this.#closed) {
      this.#leases.revoke(id);
      return;
    }
    const lease = this.#lease;
    this.#timer = this.#world.timers.schedule(renewEveryMs, () => {
      if (this.#turns.isEmpty && this.#world.clock.monotonic() - this.#askedAt > keptMs) {
        this.lost(lease);
        this.#leases.revoke(id);
        return;
      }
      this.#leases.keepAlive(id).then(
        (alive) => (alive ? this.#schedule(id) : this.lost(lease)),
        () => this.#schedule(id),
      );
    });
  }

  /** Gives up all places. */
  close(): void {
    this.#closed = true;
    this.#timer?.();
    this.#lease?.then(
      (id) => this.#leases.revoke(id),
      () => undefined,
    );
  }
}
