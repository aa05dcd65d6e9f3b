import type { Cancel } from "../../world/world.ts";
import type { Channel } from "./channel.ts";
import type { RabbitmqQueueOptions } from "./clients.ts";
import type { RabbitmqConnection } from "./connection.ts";
import { Keeping } from "./keeping.ts";
import { encode, queuesOf, TakenValue } from "./taken-value.ts";

/** A lock is kept for so long at most from when nobody waited for it: about so long does anybody else wait for one that is kept. */
const keptMs = 100;
/** When so little of that is left, whoever uses it asks whether somebody waits. */
const askingMs = keptMs / 2;
/** So many are kept at most: each has a channel of its own. */
const keptMax = 128;

/** A value under its lock. */
export interface HeldValue {
  readonly bytes: Buffer;
  /** What is sent through it is over before anybody else gets the lock, also when this process dies. */
  readonly channel: Channel;
  /** Resolves when the new value is durable. */
  write(bytes: Buffer): Promise<void>;
  /** The same after another `write`, without waiting for it, and when the lock is given back: until this value is there, that one holds. */
  writeQuietly(bytes: Buffer): void;
  /** The value is gone; nothing can be done with it any more. */
  remove(): Promise<void>;
}

/** How the two queues of a value are declared. */
export interface ValueQueues {
  readonly lock: RabbitmqQueueOptions;
  readonly state: RabbitmqQueueOptions;
}

interface Taken {
  readonly value: TakenValue;
  /** Until when it may be kept. */
  readonly until: number;
  /** Whether it was kept before. */
  readonly wasKept: boolean;
}

interface Kept extends Taken {
  readonly cancel: Cancel;
}

/**
 * Values that one process at a time changes, each kept in two queues:
 *
 *     NAME.lock    one message, for ever the same. Whoever has taken it and not given it back holds the lock. A classic queue where one node is all
 *                  that there is, and syncs those: taking from it was measured at 0.1 ms, from a quorum queue at 3 ms.
 *     NAME.state   the value, as one message with a version. Only the lock's holder touches it. A quorum queue.
 *
 * The server gives both back when the holder's channel ends, so no holder can leave a lock behind; and what that channel sent is over by then, so no
 * holder can write after another one got the lock. A new value is published before the former is acknowledged: after a crash in between there are
 * two, and the one of the higher version counts. *Why two queues*: with the value as its own lock, a holder that died between these two steps would leave both
 * behind, and two others could each take one of them.
 *
 * A process that seems to be alone in changing a value keeps its lock for a moment, and the value in memory: then a change is one round trip, where taking the lock and reading the value were
 * 1.3 of 2.9 ms of an append. Nobody else can have changed it, for nobody else had the lock.
 */
export class LockedValues {
  readonly #connection: RabbitmqConnection;
  readonly #queues: ValueQueues;
  readonly #isQuorum: boolean;
  /** Within this process one at a time asks for a value. */
  readonly #turns = new Map<string, Promise<void>>();
  readonly #keeping = new Keeping();
  readonly #kept = new Map<string, Kept>();

  constructor(connection: RabbitmqConnection, queues: ValueQueues) {
    this.#connection = connection;
    this.#queues = queues;
    this.#isQuorum = queues.lock.arguments?.["x-queue-type"] === "quorum";
  }

  /** Makes a value that is not there. Nobody else may know of it yet. */
  async make(channel: Channel, name: string, bytes: Buffer): Promise<void> {
    const { lock, state } = this.#queues;
    await channel.declareQueue(`${name}.lock`, lock);
    // A former value that is left goes by itself when a new one is there.
    await channel.declareQueue(`${name}.state`, { ...state, arguments: { ...state.arguments, "x-max-length": 1 } });
    await Promise.all([
      channel.publish("", `${name}.state`, encode(1, bytes), true),
      channel.publish("", `${name}.lock`, Buffer.alloc(0), true),
    ]);
  }

  async remove(channel: Channel, name: string): Promise<void> {
    // What a kept value still has to send must not meet its queue's end: measured, 3.10 closes the whole connection then.
    await this.#takeKept(name)?.value.channel.close();
    for (const queue of queuesOf(name)) await channel.deleteQueue(queue);
  }

  /** Works on the value while nobody else does. Rejects with `Gone` when it was removed, `unavailable` when the lock was not to be had in time. */
  async hold<T>(name: string, what: string, work: (value: HeldValue) => Promise<T>): Promise<T> {
    const before = this.#turns.get(name);
    const done = Promise.withResolvers<void>();
    this.#turns.set(name, done.promise);
    try {
      await before;
      return await this.#holdInTurn(name, what, work);
    } finally {
      if (this.#turns.get(name) === done.promise) this.#turns.delete(name);
      done.resolve();
    }
  }

  /** Somebody else will ask for the value next: its lock is not kept for this process. */
  letGo(name: string): void {
    const kept = this.#takeKept(name);
    if (kept !== undefined) this.#giveBack(kept.value);
  }

  async #holdInTurn<T>(name: string, what: string, work: (value: HeldValue) => Promise<T>): Promise<T> {
    this.#connection.throwIfBlocked(what);
    const taken = this.#takeKept(name) ?? (await this.#take(name, what));
    const { value } = taken;
    const { version } = value;
    try {
      // Asked before the work, it is answered before. When it cannot be, the channel has ended, and the work says itself what that means.
      const asked = this.#untilWhen(taken).catch(() => 0);
      const answer = await work(value);
      this.#release(name, { ...taken, until: await asked }, version);
      return answer;
    } catch (error) {
      this.#keeping.forget(name);
      if (value.isWell) value.giveBack();
      // The work may have left something behind on it.
      void value.channel.close();
      throw error;
    }
  }

  async #take(name: string, what: string): Promise<Taken> {
    const channel = await this.#connection.borrow(what);
    try {
      const value = await TakenValue.take(channel, name, what, this.#connection);
      return { value, until: this.#connection.world.clock.monotonic() + keptMs, wasKept: false };
    } catch (error) {
      void channel.close();
      throw error;
    }
  }

  /** Until when a lock may be kept: longer when nobody waits for it. In quorum queues its holder counts like one who waits, so there it ends. */
  async #untilWhen({ value, until, wasKept }: Taken): Promise<number> {
    const { clock } = this.#connection.world;
    const now = clock.monotonic();
    const isAsking = wasKept && until - now <= askingMs && !this.#isQuorum;
    if (!isAsking) return until;
    return (await value.isWaitedFor()) ? 0 : now + keptMs;
  }

  /** What is kept is nobody's any more, unless its channel has ended. */
  #takeKept(name: string): Taken | undefined {
    const kept = this.#kept.get(name);
    if (kept === undefined) return undefined;
    this.#kept.delete(name);
    kept.cancel();
    return kept.value.isWell ? kept : undefined;
  }

  /** Keeps the value for whoever asks next in this process, or gives it back. `version`: as it was before the work. */
  #release(name: string, { value, until, wasKept }: Taken, version: number): void {
    if (!value.isWell) {
      this.#keeping.forget(name);
      void value.channel.close();
      return;
    }
    const isChanged = value.version !== version;
    const isWorthIt = isChanged ? this.#keeping.changed(name, version, value.version) : wasKept;
    const { clock, timers } = this.#connection.world;
    const leftMs = until - clock.monotonic();
    if (!isWorthIt || leftMs <= 0 || this.#kept.size >= keptMax) {
      this.#giveBack(value);
      return;
    }
    const cancel = timers.schedule(leftMs, () => this.letGo(name));
    this.#kept.set(name, { value, until, wasKept: true, cancel });
  }

  #giveBack(value: TakenValue): void {
    value.giveBack();
    this.#connection.giveBack(value.channel);
  }
}
