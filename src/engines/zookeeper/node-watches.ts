import type { Cancel, World } from "../../world/world.ts";
import type { ZookeeperConnection } from "./connection.ts";
import { nothing } from "./nodes.ts";

/** Hears what the node holds now; nothing when it is not there. */
type Hear = (data: Buffer) => void;

const retryMs = 500;

/** Nodes that are watched: ZooKeeper says once that one has changed, then it is read and watched anew. A change may be missed in between, never the last one. */
export class NodeWatches {
  readonly #connection: ZookeeperConnection;
  readonly #world: World;
  readonly #listeners = new Map<string, Set<Hear>>();
  readonly #timers = new Set<Cancel>();
  #closed = false;

  constructor(connection: ZookeeperConnection, world: World) {
    this.#connection = connection;
    this.#world = world;
    connection.onTold((path) => void this.#look(path));
    // A session's watches end with it.
    connection.onConnected(() => {
      for (const path of this.#listeners.keys()) void this.#look(path);
    });
  }

  /** Soon hears what there is, and from then on what comes. */
  listen(path: string, hear: Hear): () => void {
    const own: Hear = (data) => hear(data);
    const listeners = this.#listeners.get(path) ?? new Set();
    this.#listeners.set(path, listeners);
    listeners.add(own);
    void this.#look(path);
    return () => {
      listeners.delete(own);
      if (listeners.size === 0 && this.#listeners.get(path) === listeners) this.#listeners.delete(path);
    };
  }

  async #look(path: string): Promise<void> {
    if (this.#closed || !this.#listeners.has(path)) return;
    try {
      const node = await this.#connection.run("watching", "not-applied", async (session) => {
        const found = await session.getData(path, true);
        // A watch is left only where something is, so its coming is waited for otherwise.
        if (found !== undefined || !(await session.watchExistence(path))) return found;
        return session.getData(path, true);
      });
      for (const hear of [...(this.#listeners.get(path) ?? [])]) hear(node?.data ?? nothing);
    } catch {
      if (this.#closed) return;
      const cancel = this.#world.timers.schedule(retryMs, () => {
        this.#timers.delete(cancel);
        void this.#look(path);
      });
      this.#timers.add(cancel);
    }
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#timers) cancel();
    this.#listeners.clear();
  }
}
