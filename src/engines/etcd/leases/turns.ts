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
  /** When each has looked last, by the monotonic clock; -Infinity: it is to look again. */
  readonly holders: Map<string, number>;
  stream: EventStream | undefined;
  /** All up to this revision was heard of. */
  heard: number;
  looking: boolean;
  again: boolean;
}

/** Who was not called looks so often all the same. */
const lookAgainMs = 10_000;

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

  /** Nobody has called the holder since it looked, and it looked not long ago. */
  needsNoLook(name: string, holder: string): boolean {
    const lookedAt = this.#queues.get(name)?.holders.get(holder) ?? Number.NEGATIVE_INFINITY;
    return this.#parts.world.clock.monotonic() - lookedAt < lookAgainMs;
  }

  /** The places of all may be gone. */
  callAll(): void {
    for (const { name, holders } of this.#queues.values()) {
      for (const holder of holders.keys()) this.#call(name.name, holder, holders);
    }
  }

  #call(name: string, holder: string, holders: Map<string, number>): void {
    if (!holders.has(holder)) return;
    holders.set(holder, Number.NEGATIVE_INFINITY);
    this.#parts.wake(name, holder);
  }

  /** The holder waits; it knows the queue as of this revision. */
  follow(name: LeasedName, holder: string, revision: number): void {
    if (this.#closed) return;
    let queue = this.#queues.get(name.name);
    if (queue === undefined) {
      queue = { name, holders: new Map(), stream: undefined, heard: revision, looking: false, again: false };
      this.#queues.set(name.name, queue);
      this.#listen(queue);
    }
    queue.holders.set(holder, this.#parts.world.clock.monotonic());
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
    const deleted = events.filter(({ type }) => type === "DELETE");
    if (deleted.length === 0) return;
    for (const { kv } of deleted) {
      // Its place is gone: it was granted the name, or the engine was taken for dead, and it has to stand in line anew.
      const holder = queue.name.placeOf(kv.key);
      if (holder !== undefined) this.#call(queue.name.name, holder, queue.holders);
    }
    void this.#look(queue);
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
    do {
      queue.again = false;
      try {
        const { holders, first } = await this.#parts.store.look(queue.name);
        if (first !== undefined && fits(holders, first)) this.#call(queue.name.name, first.holder, queue.holders);
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
