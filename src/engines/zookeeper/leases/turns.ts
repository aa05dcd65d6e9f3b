import { LeaseState } from "../../shared/leases/lease-state.ts";
import type { NodeWatches } from "../node-watches.ts";
import type { Nodes } from "../nodes.ts";
import type { ServerClock } from "./server-clock.ts";

/** Where this engine's requests wait: the nodes of their names are watched, and whoever's turn has come is woken. */
export class Turns {
  readonly #nodes: Nodes;
  readonly #watches: NodeWatches;
  readonly #clock: ServerClock;
  readonly #wake: (name: string, holder: string) => void;
  readonly #queues = new Map<string, { readonly holders: Set<string>; readonly end: () => void }>();

  constructor(nodes: Nodes, watches: NodeWatches, clock: ServerClock, wake: (name: string, holder: string) => void) {
    this.#nodes = nodes;
    this.#watches = watches;
    this.#clock = clock;
    this.#wake = wake;
  }

  follow(name: string, holder: string): void {
    const queue = this.#queues.get(name);
    if (queue !== undefined) {
      queue.holders.add(holder);
      return;
    }
    const holders = new Set([holder]);
    const end = this.#watches.listen(this.#nodes.pathOf(name), (data) => {
      const next = LeaseState.decode(data).nextTurn(this.#clock.notLaterThan);
      if (next !== undefined && holders.has(next)) this.#wake(name, next);
    });
    this.#queues.set(name, { holders, end });
  }

  leave(name: string, holder: string): void {
    const queue = this.#queues.get(name);
    if (queue?.holders.delete(holder) !== true || queue.holders.size > 0) return;
    queue.end();
    this.#queues.delete(name);
  }
}
