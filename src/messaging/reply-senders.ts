import { isCode } from "../contracts/errors.ts";
import type { MessageEngine, NewMessage } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { Producer } from "./producer.ts";
import { messageBytes } from "./publication.ts";

/** Requesters that are remembered at a time. */
const sendersMax = 1_000;
const megabyte = 1024 * 1024;

/** Sends replies, gathered per requester. */
export class ReplySenders {
  readonly #engine: MessageEngine;
  readonly #world: World;
  /** By topic; who was used last stands last. */
  readonly #producers = new Map<string, Producer>();
  readonly #closing = new Set<Promise<void>>();

  constructor(engine: MessageEngine, world: World) {
    this.#engine = engine;
    this.#world = world;
  }

  /** `false` when the requester is gone, or no longer waits for a reply that could not be sent. */
  async send(replyTopic: string, reply: NewMessage, deadline: number): Promise<boolean> {
    const leftMs = Math.min(timeoutMsMax, deadline - this.#world.clock.now());
    try {
      await this.#producer(replyTopic).send(0, reply, messageBytes(reply), { timeoutMs: Math.max(1, leftMs) });
      return true;
    } catch (error) {
      if (isCode(error, "not-found")) this.#forget(replyTopic);
      // Handling the request again would not help either: it has expired.
      else if (this.#world.clock.now() < deadline) throw error;
      return false;
    }
  }

  async close(): Promise<void> {
    for (const replyTopic of [...this.#producers.keys()]) this.#forget(replyTopic);
    await Promise.all(this.#closing);
  }

  #producer(replyTopic: string): Producer {
    const producer = this.#producers.get(replyTopic) ?? this.#made(replyTopic);
    this.#producers.delete(replyTopic);
    this.#producers.set(replyTopic, producer);
    if (this.#producers.size > sendersMax) this.#forget(this.#producers.keys().next().value!);
    return producer;
  }

  #made(replyTopic: string): Producer {
    return new Producer({
      engine: this.#engine,
      world: this.#world,
      topic: replyTopic,
      partitions: 1,
      // Whoever asked has declared it. If it is gone, nobody waits.
      declare: async () => {},
      identity: undefined,
      publishTimeoutMs: timeoutMsMax,
      bufferBytesMax: 32 * megabyte,
      batchBytesMax: Math.min(megabyte, this.#engine.capabilities.batchBytesMax),
      batchCountMax: 4_096,
      numbered: false,
    });
  }

  /** What it has accepted is still sent. */
  #forget(replyTopic: string): void {
    const closing = this.#producers.get(replyTopic)?.close();
    this.#producers.delete(replyTopic);
    if (closing === undefined) return;
    this.#closing.add(closing);
    void closing.then(() => this.#closing.delete(closing));
  }
}

const timeoutMsMax = 10_000;
