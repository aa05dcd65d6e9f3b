import type { Cancel, World } from "../../../world/world.ts";
import type { ZookeeperConnection } from "../connection.ts";
import { type Nodes, nothing } from "../nodes.ts";
import { stateOf } from "./name-record.ts";
import type { ServerClock } from "./server-clock.ts";

/** One bucket after the other; a name that nobody has used for so long is removed. */
const everyMs = 10_000;
const unusedMs = 60_000;
const namesMax = 200;

/** Removes the nodes of names that nobody holds or waits for, whoever has left them. */
export class Sweeper {
  readonly #connection: ZookeeperConnection;
  readonly #world: World;
  readonly #nodes: Nodes;
  readonly #clock: ServerClock;
  #next: number;
  #timer: Cancel | undefined;
  #closed = false;

  constructor(connection: ZookeeperConnection, world: World, nodes: Nodes, clock: ServerClock) {
    this.#connection = connection;
    this.#world = world;
    this.#nodes = nodes;
    this.#clock = clock;
    this.#next = Math.floor(world.random.float() * nodes.buckets.length);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#world.timers.schedule(everyMs, () => {
      const bucket = this.#nodes.buckets[this.#next++ % this.#nodes.buckets.length]!;
      this.sweep(bucket)
        .catch(() => undefined)
        .finally(() => this.#schedule());
    });
  }

  async sweep(bucket: string, olderMs = unusedMs): Promise<void> {
    const [stat, children] = await this.#connection.call("sweeping", "not-applied", (session) =>
      Promise.all([session.getData(bucket), session.getChildren(bucket)]),
    );
    let version = stat?.stat.version ?? 0;
    for (const child of children.slice(0, namesMax)) {
      if (this.#closed) return;
      if (await this.#remove(bucket, version, `${bucket}/${child}`, olderMs)) version += 1;
    }
  }

  async #remove(bucket: string, version: number, path: string, olderMs: number): Promise<boolean> {
    const node = await this.#connection.call("sweeping", "not-applied", (session) => session.getData(path));
    const now = this.#clock.notLaterThan;
    if (node === undefined || node.stat.changedAt > now - olderMs) return false;
    const state = stateOf(node);
    if (!state.unused && state.endsAt > now - olderMs) return false;
    await this.#connection.call("removing an unused name", "unknown", (session) =>
      session.transact([
        { type: "setData", path: bucket, data: nothing, version },
        { type: "remove", path, version: node.stat.version },
      ]),
    );
    return true;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.();
  }
}
