import { isCode } from "../contracts/errors.ts";
import type { Lane, NewMessage, ProducerMark, Stored } from "../contracts/messages.ts";
import { batchesOf } from "./copies.ts";
import type { MessagingEngine } from "./engines.ts";
import { joinedSignal } from "./joined-signal.ts";
import { repeating } from "./repeating.ts";

export interface LaneCopierParts {
  readonly lane: Lane;
  readonly to: MessagingEngine;
  /** The topic that the copies go to. */
  readonly target: string;
  readonly copyOf: (stored: Stored) => NewMessage;
  /** Called in the order of the positions. */
  readonly stored: (position: bigint, copy: bigint | undefined) => void;
  readonly signal: AbortSignal;
  readonly copied: (count: number) => void;
  /** Whether nobody will recognise a second copy any more: progress is being carried over, or was. */
  readonly isForwarding: () => boolean;
}

const fetchCountMax = 500;

/** Copies one partition, in order: each batch is stored on the other engine before it is settled here. */
export class LaneCopier {
  readonly #parts: LaneCopierParts;
  #sequence = 0;

  constructor(parts: LaneCopierParts) {
    this.#parts = parts;
  }

  /** Ends when the lane is asked back or passes on, or the signal aborts. */
  async run(): Promise<void> {
    const { lane, signal } = this.#parts;
    using ends = joinedSignal(lane.lost, lane.revoked, signal);
    try {
      await this.#copyUntil(ends.signal);
    } catch (error) {
      if (!ends.signal.aborted && !isCode(error, "lost")) throw error;
    } finally {
      if (!lane.lost.aborted) await lane.release().catch(() => undefined);
    }
  }

  async #copyUntil(signal: AbortSignal): Promise<void> {
    const { lane, to, copied } = this.#parts;
    while (!signal.aborted) {
      const fetched = await repeating(to.world, () => lane.fetch(fetchCountMax, { signal }), signal);
      if (this.#parts.isForwarding()) for (const message of fetched) await this.#storeOnce(message, signal);
      else for (const batch of batchesOf(fetched, to.messages.capabilities)) await this.#store(batch, signal);
      const settled = fetched.map(({ position }) => position);
      await repeating(to.world, () => lane.commit({ settled }), signal);
      copied(fetched.length);
    }
  }

  /** As the producer of this grant: one that the lane was taken from stores nothing any more once this one has. */
  async #store(messages: readonly Stored[], signal: AbortSignal): Promise<void> {
    const { lane, stored } = this.#parts;
    const { topic, partition, fence } = lane;
    const producer = { id: `tenon-move ${topic}/${partition}`, epoch: Number(fence), sequence: this.#sequence };
    const positions = await this.#append(messages, producer, signal);
    this.#sequence += messages.length;
    for (const [at, { position }] of messages.entries()) stored(position, positions[at]);
  }

  /** As a producer of this message alone, which whoever copies it again is, too. */
  async #storeOnce(message: Stored, signal: AbortSignal): Promise<void> {
    const { topic, partition } = this.#parts.lane;
    const id = `tenon-move ${topic}/${partition}/${message.position}`;
    await this.#append([message], { id, epoch: 0, sequence: 0 }, signal);
  }

  async #append(
    messages: readonly Stored[],
    producer: ProducerMark,
    signal: AbortSignal,
  ): Promise<readonly (bigint | undefined)[]> {
    const { lane, to, target, copyOf } = this.#parts;
    const marks = to.messages.capabilities.deduplicate === "none" ? {} : { producer };
    const batch = { topic: target, partition: lane.partition, messages: messages.map(copyOf), ...marks };
    return await repeating(to.world, () => to.messages.append(batch), signal);
  }
}
