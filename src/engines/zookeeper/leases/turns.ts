import type { NodeWatches } from "../node-watches.ts";
import type { Nodes } from "../nodes.ts";
import type { NodeData } from "../protocol.ts";
import type { KnownNames } from "./known-names.ts";
import { stateOf } from "./name-record.ts";
import type { ServerClock } from "./server-clock.ts";

export interface TurnsParts {
  readonly nodes: Nodes;
  readonly watches: NodeWatches;
  readonly known: KnownNames;
  readonly clock: ServerClock;
  readonly wake: (name: string, holder: string) => void;
}

interface Queue {
  readonly holders: Set<string>;
  readonly end: () => void;
  /** Nobody's turn comes before this process has changed the name again, but when somebody else gives up what is held here. */
  isHeldHere: boolean;
}

/** Where this engine's requests wait: the nodes of their names are watched, and whoever's turn has come is woken. */
export class Turns {
  readonly #nodes: Nodes;
  readonly #watches: NodeWatches;
  readonly #known: KnownNames;
  readonly #clock: ServerClock;
  readonly #wake: (name: string, holder: string) => void;
  readonly #queues = new Map<string, Queue>();

  constructor({ nodes, watches, known, clock, wake }: TurnsParts) {
    this.#nodes = nodes;
    this.#watches = watches;
    this.#known = known;
    this.#clock = clock;
    this.#wake = wake;
  }

  follow(name: string, holder: string): void {
    const queue = this.#queues.get(name);
    if (queue !== undefined) {
      queue.holders.add(holder);
      return;
    }
    const hear = (node: NodeData | undefined) => {
      this.#known.met(name, node);
      const next = stateOf(node).nextTurn(this.#clock.notLaterThan);
      if (next !== undefined) this.call(name, next);
    };
    // Where this process hands a name on to itself, hearing of each time would cost a third of the speed.
    const mayWait = () => this.#queues.get(name)?.isHeldHere === true;
    const end = this.#watches.listen(this.#nodes.pathOf(name), hear, mayWait);
    this.#queues.set(name, { holders: new Set([holder]), end, isHeldHere: false });
  }

  /** This process has changed the name; `isHeldHere`: and granted all of it that is held. */
  changed(name: string, isHeldHere: boolean): void {
    const queue = this.#queues.get(name);
    if (queue === undefined || queue.isHeldHere === isHeldHere) return;
    queue.isHeldHere = isHeldHere;
    if (!isHeldHere) this.#watches.look(this.#nodes.pathOf(name));
  }

  /** The holder's turn has come; `false` when it does not wait here. */
  call(name: string, holder: string): boolean {
    if (this.#queues.get(name)?.holders.has(holder) !== true) return false;
    this.#wake(name, holder);
    return true;
  }

  leave(name: string, holder: string): void {
    const queue = this.#queues.get(name);
    if (queue?.holders.delete(holder) !== true || queue.holders.size > 0) return;
    queue.end();
    this.#queues.delete(name);
  }
}
