import type { Cancel, World } from "../../world/world.ts";
import type { ZookeeperConnection } from "./connection.ts";
import type { NodeData } from "./protocol.ts";

/** Hears what the node is now; `undefined` when it is not there. */
type Hear = (node: NodeData | undefined) => void;

interface Listener {
  readonly hear: Hear;
  /** What happens now is of no use to it in a hurry. */
  readonly mayWait: () => boolean;
}

const retryMs = 500;
/** Who may wait hears after so long what it was then. */
const laterMs = 20;

/** Nodes that are watched: ZooKeeper says once that one has changed, then it is read and watched anew. A change may be missed in between, never the last one. */
export class NodeWatches {
  readonly #connection: ZookeeperConnection;
  readonly #world: World;
  readonly #listeners = new Map<string, Set<Listener>>();
  /** When they are looked at next. */
  readonly #later = new Map<string, Cancel>();
  #closed = false;

  constructor(connection: ZookeeperConnection, world: World) {
    this.#connection = connection;
    this.#world = world;
    connection.onTold((path) => this.#told(path));
    // A session's watches end with it.
    connection.onConnected(() => {
      for (const path of this.#listeners.keys()) this.look(path);
    });
  }

  /** Soon hears what there is, and from then on what comes. */
  listen(path: string, hear: Hear, mayWait: () => boolean = () => false): () => void {
    const own: Listener = { hear, mayWait };
    const listeners = this.#listeners.get(path) ?? new Set();
    this.#listeners.set(path, listeners);
    listeners.add(own);
    this.look(path);
    return () => {
      listeners.delete(own);
      if (listeners.size === 0 && this.#listeners.get(path) === listeners) this.#listeners.delete(path);
    };
  }

  /** Lets those who listen hear what there is now. */
  look(path: string): void {
    this.#later.get(path)?.();
    this.#later.delete(path);
    if (!this.#closed && this.#listeners.has(path)) void this.#read(path);
  }

  #told(path: string): void {
    const listeners = this.#listeners.get(path);
    if (listeners === undefined) return;
    if ([...listeners].every(({ mayWait }) => mayWait())) this.#lookAfter(laterMs, path);
    else this.look(path);
  }

  #lookAfter(ms: number, path: string): void {
    if (this.#closed || this.#later.has(path)) return;
    this.#later.set(
      path,
      this.#world.timers.schedule(ms, () => this.look(path)),
    );
  }

  async #read(path: string): Promise<void> {
    try {
      const node = await this.#connection.run("watching", "not-applied", async (session) => {
        const found = await session.getData(path, true);
        // A watch is left only where something is, so its coming is waited for otherwise.
        if (found !== undefined || !(await session.watchExistence(path))) return found;
        return session.getData(path, true);
      });
      for (const { hear } of [...(this.#listeners.get(path) ?? [])]) hear(node);
    } catch {
      this.#lookAfter(retryMs, path);
    }
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#later.values()) cancel();
    this.#listeners.clear();
  }
}
