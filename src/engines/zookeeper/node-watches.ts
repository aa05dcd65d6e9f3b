import type { Cancel, World } from "../../world/world.ts";
import type { ZookeeperConnection } from "./connection.ts";
import { nothing, readNode } from "./nodes.ts";

/** Hears what the node holds now; nothing when it is not there. */
type Hear = (data: Buffer) => void;

interface Watched {
  readonly listeners: Set<Hear>;
  readonly watcher: () => void;
}

const retryMs = 500;

/** Nodes that are watched: ZooKeeper says once that one has changed, then it is read and watched anew. A change may be missed in between, never the last one. */
export class NodeWatches {
  readonly #connection: ZookeeperConnection;
  readonly #world: World;
  readonly #watched = new Map<string, Watched>();
  readonly #timers = new Set<Cancel>();
  #closed = false;

  constructor(connection: ZookeeperConnection, world: World) {
    this.#connection = connection;
    this.#world = world;
    connection.onConnected(() => {
      for (const [path, watched] of this.#watched) void this.#arm(path, watched);
    });
  }

  /** Soon hears what there is, and from then on what comes. */
  listen(path: string, hear: Hear): () => void {
    let watched = this.#watched.get(path);
    if (watched === undefined) {
      const made: Watched = { listeners: new Set(), watcher: () => this.#told(path, made) };
      watched = made;
      this.#watched.set(path, made);
    }
    const { listeners } = watched;
    listeners.add(hear);
    void this.#arm(path, watched);
    return () => listeners.delete(hear);
  }

  /** The client keeps a watcher until it is told, so a node that nobody listens to any more is forgotten only then. */
  #told(path: string, watched: Watched): void {
    if (watched.listeners.size > 0) void this.#arm(path, watched);
    else if (this.#watched.get(path) === watched) this.#watched.delete(path);
  }

  async #arm(path: string, watched: Watched): Promise<void> {
    if (this.#closed || watched.listeners.size === 0) return;
    try {
      const node = await this.#connection.run("watching", "not-applied", async (client) => {
        const found = await readNode(client, path, watched.watcher);
        if (found !== undefined) return found;
        // Watches are left only where something is, so its coming is waited for otherwise.
        const isThere = await new Promise<boolean>((resolve) => {
          client.exists(path, watched.watcher, (error, stat) => resolve(!error && stat !== null));
        });
        return isThere ? readNode(client, path, watched.watcher) : undefined;
      });
      for (const hear of [...watched.listeners]) hear(node?.data ?? nothing);
    } catch {
      if (this.#closed) return;
      const cancel = this.#world.timers.schedule(retryMs, () => {
        this.#timers.delete(cancel);
        void this.#arm(path, watched);
      });
      this.#timers.add(cancel);
    }
  }

  close(): void {
    this.#closed = true;
    for (const cancel of this.#timers) cancel();
    this.#watched.clear();
  }
}
