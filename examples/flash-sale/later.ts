import type { MessageContext } from "tenon/messaging";
import type { SaleEngine } from "./engine-store.ts";

const dueAtHeader = "due-at";

/**
 * For messages that are due later. Where the engine delays none they are published at once, and whoever handles one waits until it is due; a process that dies meanwhile leaves it to the next one. Keys are
 * orders, so nothing else waits behind it.
 */
export class Later {
  readonly #engine: Pick<SaleEngine, "messages" | "world">;

  constructor(engine: Pick<SaleEngine, "messages" | "world">) {
    this.#engine = engine;
  }

  /** Options of `publish`. `dueAt`: ms since the epoch. */
  at(dueAt: number): { readonly dueAt: number } | { readonly headers: Readonly<Record<string, string>> } {
    const { capabilities } = this.#engine.messages;
    return capabilities.delay ? { dueAt } : { headers: { [dueAtHeader]: String(dueAt) } };
  }

  after(delayMs: number): ReturnType<Later["at"]> {
    return this.at(Math.ceil(this.#engine.world.clock.now() + delayMs));
  }

  /** For the handler, before anything else. */
  async wait({ headers, signal }: Pick<MessageContext, "headers" | "signal">): Promise<void> {
    const { clock, timers } = this.#engine.world;
    const leftMs = Number(headers[dueAtHeader] ?? 0) - clock.now();
    if (leftMs > 0) await timers.sleep(leftMs, { signal });
  }
}
