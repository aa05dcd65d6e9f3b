import type { World } from "../../world/world.ts";
import type { CheckedBatch } from "../lanes/batches.ts";
import type { JetStream } from "./jet-stream.ts";
import type { Streams } from "./streams.ts";

interface Known {
  readonly epoch: number;
  readonly readAt: number;
}

/** What another process raised is noticed so soon in partitions that it has not written to yet. */
const freshMs = 1_000;
const knownMax = 10_000;

/**
 * The highest epoch of each producer in a topic or log, whatever partition it was seen in. Epoch 0 is not written down: a producer that has only that has fenced nobody. The server forgets an epoch a week after it
 * was written.
 */
export class ProducerEpochs {
  readonly #jetStream: JetStream;
  readonly #streams: Streams;
  readonly #world: World;
  readonly #known = new Map<string, Known>();

  constructor(jetStream: JetStream, streams: Streams, world: World) {
    this.#jetStream = jetStream;
    this.#streams = streams;
    this.#world = world;
  }

  /** Of each producer of the batches the highest that is known; negative when there is none. */
  async of(topic: number, batches: readonly CheckedBatch[]): Promise<ReadonlyMap<string, number>> {
    const ids = new Set(batches.flatMap(({ batch }) => batch.producer?.id ?? []));
    const epochs = await Promise.all([...ids].map(async (id) => [id, await this.#highest(topic, id)] as const));
    return new Map(epochs);
  }

  async #highest(topic: number, producer: string): Promise<number> {
    const subject = this.#subject(topic, producer);
    const known = this.#known.get(subject);
    const now = this.#world.clock.monotonic();
    if (known !== undefined && now - known.readAt < freshMs) return known.epoch;
    const stored = await this.#read(subject);
    const epoch = Math.max(stored?.epoch ?? -1, known?.epoch ?? -1);
    this.#note(subject, epoch, now);
    return epoch;
  }

  /** From now on older ones are fenced. */
  async raise(topic: number, raised: ReadonlyMap<string, number>): Promise<void> {
    await Promise.all([...raised].map(([id, epoch]) => this.#raise(topic, id, epoch)));
  }

  async #raise(topic: number, producer: string, epoch: number): Promise<void> {
    const subject = this.#subject(topic, producer);
    const now = this.#world.clock.monotonic();
    if (epoch > 0) {
      for (;;) {
        const stored = await this.#read(subject);
        if (stored !== undefined && stored.epoch >= epoch) break;
        const value = Buffer.from(String(epoch));
        const put = this.#jetStream.put("fencing a producer", subject, value, stored?.sequence ?? 0);
        if ((await put) !== undefined) break;
      }
    }
    this.#note(subject, Math.max(epoch, this.#known.get(subject)?.epoch ?? -1), now);
  }

  async #read(subject: string): Promise<{ readonly epoch: number; readonly sequence: number } | undefined> {
    const stored = await this.#jetStream.last("reading a producer's epoch", this.#streams.producers, subject);
    return stored && { epoch: Number(stored.data.toString()), sequence: stored.sequence };
  }

  #note(subject: string, epoch: number, readAt: number): void {
    this.#known.delete(subject);
    this.#known.set(subject, { epoch, readAt });
    if (this.#known.size <= knownMax) return;
    const [oldest] = this.#known.keys();
    this.#known.delete(oldest!);
  }

  #subject(topic: number, producer: string): string {
    return `${this.#streams.prefix}.e.${topic}.${Buffer.from(producer).toString("base64url")}`;
  }
}
