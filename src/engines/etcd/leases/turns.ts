import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { Cancel, World } from "../../../world/world.ts";
import type { EtcdConnection } from "../connection.ts";
import { EventStream } from "../event-stream.ts";
import { type RangeReply, revisionOf, type WatchReply } from "../wire.ts";
import type { LeasedName, WaiterKey } from "./lease-names.ts";
import { fits, type LeaseSnapshot, type LeaseStore, type Seen } from "./lease-store.ts";

export interface TurnsParts {
  readonly world: World;
  readonly connection: EtcdConnection;
  readonly store: LeaseStore;
  readonly wake: (name: string, holder: string) => void;
}

/** One of ours in a queue, or about to take its place there. */
interface Waiter {
  request: ValidRequest;
  /** The revision that created its place. */
  place: number | undefined;
  /** The revision as of which it has looked last, and when, by the monotonic clock. */
  looked: number;
  lookedAt: number;
  /** The revision as of which it was its turn to do something; it is to look when that is behind `looked`. */
  called: number;
  /** What whoever called it saw. */
  shown: LeaseSnapshot | undefined;
}

interface Queue {
  readonly name: LeasedName;
  readonly waiters: Map<string, Waiter>;
  stream: EventStream | undefined;
  /** The stream rests until then, by the monotonic clock. */
  restsUntil: number;
  resting: Cancel | undefined;
  /** All up to this revision was heard of. */
  heard: number;
  /** The last revision that made the queue be looked at. */
  changed: number;
  looking: boolean;
  again: boolean;
}

/** After a hand-over among ours the next one is awaited for so long before the queue is watched again. */
const restMs = 100;
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

  /** Whether any of ours waits for the name. */
  has(name: string): boolean {
    return this.#queues.has(name);
  }

  waits(name: string, holder: string): boolean {
    return this.#queues.get(name)?.waiters.has(holder) === true;
  }

  /** Nobody has called the holder since it looked, and it looked not long ago. What it asks for now counts from now on. */
  needsNoLook(name: string, request: ValidRequest): boolean {
    const waiter = this.#queues.get(name)?.waiters.get(request.holder);
    if (waiter === undefined) return false;
    waiter.request = request;
    return waiter.called <= waiter.looked && this.#parts.world.clock.monotonic() - waiter.lookedAt < lookAgainMs;
  }

  /** What the holder was called for, if that was to take the name; once. */
  shown(name: string, holder: string): Seen | undefined {
    const waiter = this.#queues.get(name)?.waiters.get(holder);
    const snapshot = waiter?.shown;
    if (waiter === undefined || snapshot === undefined) return undefined;
    waiter.shown = undefined;
    if (waiter.place === undefined) return undefined;
    const { weight, capacity } = waiter.request;
    return { snapshot, place: { holder, weight, capacity, revision: String(waiter.place), lease: undefined } };
  }

  /** The one of ours that has waited longest; of those with the same revision the one that came first. */
  first(name: string): { readonly request: ValidRequest; readonly place: number } | undefined {
    let first: { readonly request: ValidRequest; readonly place: number } | undefined;
    for (const { request, place } of this.#queues.get(name)?.waiters.values() ?? []) {
      if (place !== undefined && (first === undefined || place < first.place)) first = { request, place };
    }
    return first;
  }

  /** The places of all may be gone. */
  callAll(): void {
    for (const queue of this.#queues.values()) {
      for (const holder of queue.waiters.keys()) this.call(queue.name.name, holder, Number.POSITIVE_INFINITY);
    }
  }

  /** Unless it has looked at that revision already. */
  call(name: string, holder: string, revision: number, shown?: LeaseSnapshot): void {
    const waiter = this.#queues.get(name)?.waiters.get(holder);
    if (waiter === undefined || revision <= waiter.looked) return;
    waiter.called = Math.max(waiter.called, revision);
    waiter.shown = shown;
    this.#parts.wake(name, holder);
  }

  /** The holder is about to stand in line. */
  enter(name: LeasedName, request: ValidRequest): void {
    if (this.#closed) return;
    let queue = this.#queues.get(name.name);
    if (queue === undefined) {
      const waiters = new Map<string, Waiter>();
      const watch = { stream: undefined, restsUntil: 0, resting: undefined, heard: 0 };
      queue = { name, waiters, ...watch, changed: 0, looking: false, again: false };
      this.#queues.set(name.name, queue);
    }
    const waiter = queue.waiters.get(request.holder);
    if (waiter !== undefined) waiter.place = undefined;
    else {
      const { holder } = request;
      const never = { place: undefined, looked: 0, lookedAt: Number.NEGATIVE_INFINITY, called: 0, shown: undefined };
      queue.waiters.set(holder, { request, ...never });
    }
  }

  /** It stands in that place. */
  placed(name: string, holder: string, place: number): void {
    const waiter = this.#queues.get(name)?.waiters.get(holder);
    if (waiter !== undefined) waiter.place = place;
  }

  /** Whether it is the turn of the holder in that place, and of none of ours that came at the same time. */
  isFirst(name: string, holder: string, place: WaiterKey, first: WaiterKey): boolean {
    if (place.revision !== first.revision) return false;
    const ours = this.first(name);
    return ours === undefined || String(ours.place) !== place.revision || ours.request.holder === holder;
  }

  /** The holder waits in that place; it knows the queue as of this revision. */
  follow(name: LeasedName, request: ValidRequest, place: number, revision: number): void {
    if (this.#closed) return;
    if (!this.waits(name.name, request.holder)) this.enter(name, request);
    const queue = this.#queues.get(name.name)!;
    const waiter = queue.waiters.get(request.holder)!;
    waiter.request = request;
    waiter.place = place;
    waiter.looked = revision;
    waiter.lookedAt = this.#parts.world.clock.monotonic();
    // It stands in line again.
    if (waiter.called === Number.POSITIVE_INFINITY) waiter.called = 0;
    if (queue.heard === 0) {
      queue.heard = revision;
      this.#listen(queue);
    } else if (queue.changed > revision) void this.#look(queue);
  }

  /**
   * One of ours has the name alone since that revision, from another of ours. Where such hand-overs follow one another, nothing else happens that the watch could tell, and it would cost etcd
   * and this process as much as they do; so it rests.
   */
  handedOver(name: string, to: ValidRequest, revision: number): void {
    const queue = this.#queues.get(name);
    if (queue === undefined || queue.heard === 0) return;
    queue.heard = Math.max(queue.heard, revision);
    if (!leavesNoRoom(queue, to)) {
      // Somebody is to be called, besides.
      void this.#look(queue);
      return;
    }
    const { clock } = this.#parts.world;
    queue.restsUntil = clock.monotonic() + restMs;
    if (queue.resting !== undefined) return;
    queue.stream?.end();
    queue.stream = undefined;
    this.#rest(queue, restMs);
  }

  #rest(queue: Queue, forMs: number): void {
    const { clock, timers } = this.#parts.world;
    queue.resting = timers.schedule(forMs, () => {
      const leftMs = queue.restsUntil - clock.monotonic();
      if (leftMs > 0) this.#rest(queue, leftMs);
      else this.#listen(queue);
    });
  }

  /** One of ours has given the name up, or may have; whoever is next hears of it by the watch. */
  freed(name: string): void {
    const queue = this.#queues.get(name);
    if (queue?.resting !== undefined) this.#listen(queue);
  }

  leave(name: string, holder: string): void {
    const queue = this.#queues.get(name);
    if (queue?.waiters.delete(holder) !== true || queue.waiters.size > 0) return;
    queue.stream?.end();
    queue.resting?.();
    this.#queues.delete(name);
  }

  #listen(queue: Queue): void {
    const { world, connection } = this.#parts;
    queue.resting?.();
    queue.resting = undefined;
    queue.stream = new EventStream({
      world,
      connection,
      range: queue.name.all,
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
    const until = last === undefined ? revisionOf(header) : Number(last.kv.mod_revision);
    if (fragment !== true) queue.heard = Math.max(queue.heard, until);
    const deleted = events.filter(({ type }) => type === "DELETE");
    if (deleted.length === 0) return;
    for (const { kv } of deleted) {
      // Its place is gone: it was granted the name, or the engine was taken for dead, and it has to stand in line anew.
      const holder = queue.name.placeOf(kv.key);
      if (holder !== undefined) this.call(queue.name.name, holder, Number(kv.mod_revision));
    }
    const holder = handedTo(queue.name, events);
    if (holder !== undefined && leavesNoRoom(queue, holder)) return;
    queue.changed = Number(deleted.at(-1)!.kv.mod_revision);
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
    if (queue.resting === undefined) this.#listen(queue);
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
        const snapshot = await this.#parts.store.look(queue.name);
        const ours = this.first(queue.name.name);
        if (
          ours !== undefined &&
          Number(snapshot.first?.revision) === ours.place &&
          fits(snapshot.holders, ours.request)
        ) {
          this.call(queue.name.name, ours.request.holder, snapshot.revision, snapshot);
        }
      } catch {
        // Who waits asks again by itself.
      }
    } while (queue.again);
    queue.looking = false;
  }

  close(): void {
    this.#closed = true;
    for (const { stream, resting } of this.#queues.values()) {
      stream?.end();
      resting?.();
    }
    this.#queues.clear();
  }
}

/** Nobody of ours fits in beside whoever holds the name alone; so there is nobody to call. */
function leavesNoRoom(queue: Queue, holder: { readonly weight: number }): boolean {
  for (const { request } of queue.waiters.values()) if (fits([holder], request)) return false;
  return true;
}

/** Who holds the name alone since the last of these deletions, which made room for it in the same transaction. */
function handedTo(
  name: LeasedName,
  events: NonNullable<WatchReply["events"]>,
): { readonly weight: number } | undefined {
  const revision = events.findLast(({ type }) => type === "DELETE")?.kv.mod_revision;
  const together = events.filter(({ kv }) => kv.mod_revision === revision);
  if (!together.some(({ type, kv }) => type === "DELETE" && name.isHolder(kv.key))) return undefined;
  const put = together.find(({ type, kv }) => type !== "DELETE" && name.isHolder(kv.key));
  try {
    return put && name.holderOf(put.kv);
  } catch {
    return undefined;
  }
}
