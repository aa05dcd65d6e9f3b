import type { World } from "../../../world/world.ts";
import type { EtcdConnection } from "../connection.ts";
import { EventStream } from "../event-stream.ts";
import { type RangeReply, revisionOf, type WatchReply } from "../wire.ts";
import type { LeasedName } from "./lease-names.ts";
import { fits, type LeaseStore } from "./lease-store.ts";

export interface TurnsParts {
  readonly world: World;
  readonly connection: EtcdConnection;
  readonly store: LeaseStore;
  readonly wake: (name: string, holder: string) => void;
}

interface Queue {
  readonly name: LeasedName;
  readonly holders: Set<string>;
  stream: EventStream | undefined;
  /** All up to this revision was heard of. */
  heard: number;
  looking: boolean;
  again: boolean;
}

/** Where this engine's requests wait, and whose turn it is there: one watch of etcd for each name, which looks at the queue when somebody has left. */
export class Turns {
  readonly #parts: TurnsParts;
  readonly #queues = new Map<string, Queue>();
  #closed = false;

  constructor(parts: TurnsParts) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.#queues.size === 0;
  }

  waits(name: string, holder: string): boolean {
    return this.#queues.get(name)?.holders.has(holder) === true;
  }

  /** The holder waits; it knows the queue as of this revision. */
  follow(name: LeasedName, holder: string, revision: number): void {
    if (this.#closed) return;
    let queue = this.#queues.get(name.name);
    if (queue === undefined) {
      queue = { name, holders: new Set(), stream: undefined, heard: revision, looking: false, again: false };
      this.#queues.set(name.name, queue);
      this.#listen(queue);
    }
    queue.holders.add(holder);
  }

  leave(name: string, holder: string): void {
    const queue = this.#queues.get(name);
    if (queue?.holders.delete(holder) !== true || queue.holders.size > 0) return;
    queue.stream?.end();
    this.#queues.delete(name);
  }

  #listen(queue: Queue): void {
    const { world, connection } = this.#parts;
    const { key } = queue.name.holders;
    queue.stream = new EventStream({
      world,
      connection,
      range: { key, range_end: queue.name.waiters.range_end! },
      from: () => queue.heard + 1,
      heard: (reply) => this.#heard(queue, reply),
      missed: () => void this.#anew(queue),
      // Who waits asks again by itself, and is told what is wrong.
      failed: () => undefined,
    });
    void queue.stream.run();
  }

  #heard(queue: Queue, { created, events = [], header, fragment }: WatchReply): void {
    if (created === true) return;
    const last = events.at(-1);
    if (fragment !== true) queue.heard = last === undefined ? revisionOf(header) : Number(last.kv.mod_revision);
    if (events.some(({ type }) => type === "DELETE")) void this.#look(queue);
  }

  async #anew(queue: Queue): Promise<void> {
    const { key } = queue.name.holders;
    try {
      const asked = { key, count_only: true };
      const now = await this.#parts.connection.read<RangeReply>("looking for the revision", "kv/range", asked);
      queue.heard = revisionOf(now.header);
    } catch {
      // It begins where it was, and hears again that it missed something.
    }
    if (this.#queues.get(queue.name.name) !== queue) return;
    this.#listen(queue);
    void this.#look(queue);
  }

  async #look(queue: Queue): Promise<void> {
    if (queue.looking) {
      queue.again = true;
      return;
    }
    queue.looking = true;
    const { store, wake } = this.#parts;
    do {
      queue.again = false;
      try {
        const { holders, first } = await store.look(queue.name);
        if (first !== undefined && fits(holders, first)) wake(queue.name.name, first.holder);
      } catch {
        // Who waits asks again by itself.
      }
    } while (queue.again);
    queue.looking = false;
  }

  close(): void {
    this.#closed = true;
    for (const { stream } of this.#queues.values()) stream?.end();
    this.#queues.clear();
  }
}
