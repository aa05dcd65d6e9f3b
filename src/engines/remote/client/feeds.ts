import type { World } from "../../../world/world.ts";
import { isPassing } from "../../shared/passing.ts";
import { type Operation, operations, type WatchKey } from "../wire/operations.ts";
import type { Link } from "./link.ts";
import { pause } from "./pause.ts";

const retryMs = { first: 50, longest: 2_000 };

/** What comes of a watch: its next items, or a mark that it begins (anew): the state comes first. */
export type FeedPart<Item> = readonly Item[] | "begins";

/** The watches of one engine, each asked for the next items when the last ones were taken, and begun anew after each outage. */
export class Feeds {
  readonly #link: Link;
  readonly #world: World;
  readonly #ended = new AbortController();
  #lastWatch = 0;

  constructor(link: Link, world: World) {
    this.#link = link;
    this.#world = world;
  }

  /** Ends when the signal aborts; throws `closed` when the engine closes, and what the server refuses. */
  async *open<Request extends object, Item>(
    operation: Operation<Request & WatchKey, readonly Item[]>,
    request: Request,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<FeedPart<Item>> {
    const ended = this.#ended.signal;
    let failures = 0;
    while (!signal?.aborted) {
      ended.throwIfAborted();
      const watch = ++this.#lastWatch;
      const isOver = new AbortController();
      const over = () => isOver.abort();
      for (const each of [signal, ended]) each?.addEventListener("abort", over);
      try {
        yield "begins";
        for (let begins = true; !signal?.aborted && !ended.aborted; begins = false) {
          yield await this.#link.call(operation, { ...request, watch, begins }, { signal: isOver.signal });
          failures = 0;
        }
      } catch (error) {
        if (signal?.aborted || ended.aborted) continue;
        if (!isPassing(error)) throw error;
        await pause(this.#world, Math.min(retryMs.longest, retryMs.first * 2 ** failures++), signal, ended);
      } finally {
        for (const each of [signal, ended]) each?.removeEventListener("abort", over);
        this.#end(watch);
      }
    }
  }

  /** The server may forget the watch; it forgets it with the connection at the latest. */
  #end(watch: number): void {
    this.#link.send(operations.endWatch, watch)?.catch(() => undefined);
  }

  close(reason: unknown): void {
    this.#ended.abort(reason);
  }
}
