import { assert, TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import { ByteReader, ByteWriter } from "../shared/binary.ts";
import type { Channel } from "./channel.ts";
import type { RabbitmqMessage } from "./clients.ts";
import { lockedTooLong } from "./failures.ts";

/** How long a value that its former holder took with it may be on its way back. */
const comingBackMs = 5_000;
const lookAgainMs = 2;

export interface TakingSettings {
  readonly world: World;
  /** How long the lock is waited for. */
  readonly commandTimeoutMs: number;
}

/** A value whose lock this process holds, on a channel that nothing else uses. */
export class TakenValue {
  /** What is sent through it is over before anybody else gets the lock, also when this process dies. */
  readonly channel: Channel;
  readonly #name: string;
  readonly #lock: RabbitmqMessage;
  /** What the value was read from, until a later one is there for certain. */
  #former: RabbitmqMessage | undefined;
  #version: number;
  #bytes: Buffer;
  #isUnsent = false;
  /** A write of which nobody knows whether it is there. */
  #isInDoubt = false;
  #isRemoved = false;

  /** Rejects with `Gone` when it was removed, `unavailable` when the lock was not to be had in time. */
  static async take(channel: Channel, name: string, what: string, settings: TakingSettings): Promise<TakenValue> {
    const lock = (await channel.get(`${name}.lock`)) ?? (await waitFor(channel, `${name}.lock`, what, settings));
    return new TakenValue(channel, name, lock, await read(channel, name, settings.world));
  }

  private constructor(channel: Channel, name: string, lock: RabbitmqMessage, { state, version, bytes }: ReadState) {
    this.channel = channel;
    this.#name = name;
    this.#lock = lock;
    this.#former = state;
    this.#version = version;
    this.#bytes = bytes;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  get version(): number {
    return this.#version;
  }

  /** Whether it can be given back, or worked on again: its channel is there, and it is known which value holds. */
  get isWell(): boolean {
    return this.channel.isFree && !this.#isInDoubt && !this.#isRemoved;
  }

  async write(bytes: Buffer): Promise<void> {
    this.#version += 1;
    this.#isUnsent = false;
    this.#isInDoubt = true;
    await this.channel.publish("", `${this.#name}.state`, encode(this.#version, bytes), true);
    this.#isInDoubt = false;
    this.#bytes = bytes;
    if (this.#former !== undefined) this.channel.ack(this.#former);
    this.#former = undefined;
  }

  writeQuietly(bytes: Buffer): void {
    assert(this.#former === undefined && !this.#isInDoubt, "a value is written quietly after another write only");
    this.#version += 1;
    this.#bytes = bytes;
    this.#isUnsent = true;
  }

  /** Whether somebody stands in the server's line for the lock. */
  async isWaitedFor(): Promise<boolean> {
    const { consumerCount } = await this.channel.checkQueue(`${this.#name}.lock`);
    return consumerCount > 0;
  }

  async remove(): Promise<void> {
    this.#isRemoved = true;
    for (const queue of queuesOf(this.#name)) await this.channel.deleteQueue(queue);
  }

  /** Others may take it. Only when all is well: otherwise its channel is closed, and the server keeps the later of two values. */
  giveBack(): void {
    if (this.#isUnsent) this.channel.publishQuietly("", `${this.#name}.state`, encode(this.#version, this.#bytes));
    if (this.#former !== undefined) this.channel.giveBack(this.#former);
    this.channel.giveBack(this.#lock);
  }
}

/** Of a value: its lock first. */
export function queuesOf(name: string): readonly string[] {
  return [`${name}.lock`, `${name}.state`];
}

/** A value as it is stored. */
export function encode(version: number, bytes: Buffer): Buffer {
  return new ByteWriter().whole(version).bytes(bytes).done();
}

function decode(content: Buffer): { version: number; bytes: Buffer } {
  const reader = new ByteReader(content, "a record");
  const value = { version: reader.whole(), bytes: reader.bytes() };
  reader.end();
  return value;
}

/** Whoever asks while the lock is held waits in the server's line. */
async function waitFor(
  channel: Channel,
  queue: string,
  what: string,
  settings: TakingSettings,
): Promise<RabbitmqMessage> {
  const { world, commandTimeoutMs } = settings;
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
  return lock ?? (await channel.get(queue)) ?? waitFor(channel, queue, what, settings);
}

interface ReadState {
  readonly state: RabbitmqMessage;
  readonly version: number;
  readonly bytes: Buffer;
}

async function read(channel: Channel, name: string, world: World): Promise<ReadState> {
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
    const found = { state, ...decode(state.content) };
    channel.ack(found.version > best.version ? best.state : state);
    if (found.version > best.version) best = found;
  }
  return best;
}
