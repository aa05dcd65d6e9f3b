import type { World } from "tenon/world";

/**
 * Remembers for an instant which items were sold out, so that the crowd that comes after the last unit does not ask the
 * counter one by one. Stock that comes back is seen at the latest when the memory fades.
 */
export class SoldOutItems {
  readonly #world: World;
  readonly #until = new Map<string, number>();

  constructor(world: World) {
    this.#world = world;
  }

  add(item: string): void {
    this.#until.set(item, this.#world.clock.monotonic() + memoryMs);
  }

  delete(item: string): void {
    this.#until.delete(item);
  }

  has(item: string): boolean {
    const until = this.#until.get(item);
    return until !== undefined && this.#world.clock.monotonic() < until;
  }
}

const memoryMs = 50;
