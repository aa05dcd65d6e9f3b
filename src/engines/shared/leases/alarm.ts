import type { World } from "../../../world/world.ts";

/** Lets one loop sleep until a time has passed or it is woken; a wake-up before the sleep is not lost. */
export class Alarm {
  readonly #world: World;
  #rung = false;
  #wake: (() => void) | undefined;

  constructor(world: World) {
    this.#world = world;
  }

  ring(): void {
    this.#rung = true;
    this.#wake?.();
  }

  async sleep(ms: number): Promise<void> {
    if (!this.#rung) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const cancel = this.#world.timers.schedule(ms, resolve);
      await promise;
      cancel();
      this.#wake = undefined;
    }
    this.#rung = false;
  }
}
