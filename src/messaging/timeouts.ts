import type { Cancel, World } from "../world/world.ts";
import type { Delivery } from "./delivery.ts";

/**
 * Deliveries in the order in which they expire, all after the same time: so new ones go to the end, and one timer serves all
 * of them. Adding and removing touch nothing but the links.
 */
export class Timeouts {
  readonly #world: World;
  readonly #afterMs: number;
  readonly #expire: (delivery: Delivery) => void;
  #first: Delivery | undefined;
  #last: Delivery | undefined;
  #timer: Cancel | undefined;

  constructor(world: World, afterMs: number, expire: (delivery: Delivery) => void) {
    this.#world = world;
    this.#afterMs = afterMs;
    this.#expire = expire;
  }

  add(delivery: Delivery): void {
    delivery.deadline = this.#world.clock.monotonic() + this.#afterMs;
    delivery.timeouts = this;
    delivery.earlier = this.#last;
    if (this.#last === undefined) this.#first = delivery;
    else this.#last.later = delivery;
    this.#last = delivery;
    if (this.#timer === undefined) this.#arm(this.#afterMs);
  }

  remove(delivery: Delivery): void {
    const { earlier, later } = delivery;
    if (earlier === undefined) this.#first = later;
    else earlier.later = later;
    if (later === undefined) this.#last = earlier;
    else later.earlier = earlier;
    delivery.timeouts = undefined;
    delivery.earlier = undefined;
    delivery.later = undefined;
  }

  each(visit: (delivery: Delivery) => void): void {
    for (let delivery = this.#first; delivery !== undefined; ) {
      const next: Delivery | undefined = delivery.later;
      visit(delivery);
      delivery = next;
    }
  }

  stop(): void {
    this.#timer?.();
    this.#timer = undefined;
  }

  #arm(ms: number): void {
    this.#timer = this.#world.timers.schedule(ms, this.#fire);
  }

  readonly #fire = (): void => {
    this.#timer = undefined;
    const now = this.#world.clock.monotonic();
    for (let first = this.#first; first !== undefined && first.deadline <= now; first = this.#first) {
      this.remove(first);
      this.#expire(first);
    }
    // Expiring may have armed it already, through a delivery that was added.
    if (this.#first !== undefined && this.#timer === undefined) this.#arm(Math.max(0, this.#first.deadline - now));
  };
}
