import { assert, TenonError } from "../../contracts/errors.ts";
import { ByteReader, ByteWriter } from "../shared/binary.ts";
import type { Channel } from "./channel.ts";
import type { RabbitmqMessage, RabbitmqQueueOptions } from "./clients.ts";
import type { RabbitmqConnection } from "./connection.ts";
import { lockedTooLong } from "./failures.ts";

/** How long a value that its former holder took with it may be on its way back. */
const comingBackMs = 5_000;
const lookAgainMs = 2;

/** A value under its lock. */
export interface HeldValue {
  readonly bytes: Buffer;
  /** What is sent through it is over before anybody else gets the lock, also when this process dies. */
  readonly channel: Channel;
  /** Resolves when the new value is durable. */
  write(bytes: Buffer): Promise<void>;
  /** The same after another `write`, without waiting for it: until this value is there, that one holds. */
  writeQuietly(bytes: Buffer): void;
  /** The value is gone; nothing can be done with it any more. */
  remove(): Promise<void>;
}

/** How the two queues of a value are declared. */
export interface ValueQueues {
  readonly lock: RabbitmqQueueOptions;
  readonly state: RabbitmqQueueOptions;
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
 */
export class LockedValues {
  readonly #connection: RabbitmqConnection;
  readonly #queues: ValueQueues;
  /** Within this process one at a time asks for a value. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(connection: RabbitmqConnection, queues: ValueQueues) {
    this.#connection = connection;
    this.#queues = queues;
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
    for (const queue of queuesOf(name)) await channel.deleteQueue(queue);
  }

  /** Works on the value while nobody else does. Rejects with `Gone` when it was removed, `unavailable` when the lock was not to be had in time. */
  async hold<T>(name: string, what: string, work: (value: HeldValue) => Promise<T>): Promise<T> {
    const before = this.#turns.get(name);
    const done = Promise.withResolvers<void>();
    this.#turns.set(name, done.promise);
    try {
      await before;
      return await this.#connection.with(what, (channel) => this.#holdOn(channel, name, what, work));
    } finally {
      if (this.#turns.get(name) === done.promise) this.#turns.delete(name);
      done.resolve();
    }
  }

  async #holdOn<T>(channel: Channel, name: string, what: string, work: (value: HeldValue) => Promise<T>): Promise<T> {
    const lock = (await channel.get(`${name}.lock`)) ?? (await this.#waitFor(channel, `${name}.lock`, what));
    const { state, version, bytes } = await this.#read(channel, name);
    let written = version;
    let isConfirmed = false;
    let isRemoved = false;
    const value: HeldValue = {
      bytes,
      channel,
      async write(next) {
        written += 1;
        await channel.publish("", `${name}.state`, encode(written, next), true);
        isConfirmed = true;
      },
      writeQuietly(next) {
        assert(isConfirmed, "a value is written quietly after another write only");
        written += 1;
        channel.publishQuietly("", `${name}.state`, encode(written, next));
      },
      async remove() {
        isRemoved = true;
        for (const queue of queuesOf(name)) await channel.deleteQueue(queue);
      },
    };
    try {
      return await work(value);
    } finally {
      // The former value goes when another one is there for certain. A write of which nobody knows, and its channel, are given up: then the server keeps the later of the two.
      if (isRemoved || (written > version && !isConfirmed)) void channel.close();
      else {
        if (isConfirmed) channel.ack(state);
        else channel.giveBack(state);
        channel.giveBack(lock);
      }
    }
  }

  /** Whoever asks while the lock is held waits in the server's line. */
  async #waitFor(channel: Channel, queue: string, what: string): Promise<RabbitmqMessage> {
    const { world, commandTimeoutMs } = this.#connection;
    const arrived = Promise.withResolvers<RabbitmqMessage | null>();
    const { consumerTag } = await channel.consume(queue, (message) => arrived.resolve(message));
    const waited = Promise.withResolvers<undefined>();
    const cancel = world.timers.schedule(commandTimeoutMs, () => waited.resolve(undefined));
    const former = channel.onEnd;
    channel.onEnd = () => {
      former?.();
      waited.resolve(undefined);
    };
    const lock = await Promise.race([arrived.promise, waited.promise]);
    cancel();
    channel.onEnd = former;
    // A failure closes the channel, and with it goes back what may arrive still.
    if (lock === undefined && !channel.isEnded) throw lockedTooLong(what, commandTimeoutMs);
    await channel.cancel(consumerTag);
    // The queue was deleted; asking again says so.
    return lock ?? (await channel.get(queue)) ?? this.#waitFor(channel, queue, what);
  }

  async #read(channel: Channel, name: string): Promise<{ state: RabbitmqMessage; version: number; bytes: Buffer }> {
    const { world } = this.#connection;
    const deadline = world.clock.monotonic() + comingBackMs;
    let state = await channel.get(`${name}.state`);
    while (state === undefined) {
      if (world.clock.monotonic() >= deadline) {
        const text = `The record ${name} is not there although its lock is: something else took it out of its queue. Stop that, and make the topic anew.`;
        throw new TenonError("corrupt", text, { fields: { record: name } });
      }
      await world.timers.sleep(lookAgainMs);
      state = await channel.get(`${name}.state`);
    }
    let best = { state, ...decode(state.content) };
    while ((state.fields.messageCount ?? 0) > 0) {
      const other = await channel.get(`${name}.state`);
      if (other === undefined) break;
      state = other;
      const read = { state, ...decode(state.content) };
      channel.ack(read.version > best.version ? best.state : state);
      if (read.version > best.version) best = read;
    }
    return best;
  }
}

function queuesOf(name: string): readonly string[] {
  return [`${name}.lock`, `${name}.state`];
}

function encode(version: number, bytes: Buffer): Buffer {
  return new ByteWriter().whole(version).bytes(bytes).done();
}

function decode(content: Buffer): { version: number; bytes: Buffer } {
  const reader = new ByteReader(content, "a record");
  const value = { version: reader.whole(), bytes: reader.bytes() };
  reader.end();
  return value;
}
