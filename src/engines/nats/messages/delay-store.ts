import { atOnce } from "../at-once.ts";
import type { JetStream } from "../jet-stream.ts";
import type { Streams } from "../streams.ts";
import { compareKeys, type DelayedMessage, type DelayKey } from "./partition-head.ts";

/** Delayed messages of partitions until they are due, each under a subject that says when that is. Which of them count, the partition's head says: what is here may be left over. */
export class DelayStore {
  readonly #jetStream: JetStream;
  readonly #streams: Streams;

  constructor(jetStream: JetStream, streams: Streams) {
    this.#jetStream = jetStream;
    this.#streams = streams;
  }

  /** Copies what came with a run. Again is no harm: each has a subject of its own, which keeps one message. */
  async add(topic: number, partition: number, sequence: number, later: readonly DelayedMessage[]): Promise<void> {
    await atOnce(later, async ({ dueAt, packed }, index) => {
      const subject = this.#subject(topic, partition, { dueAt, sequence, index });
      await this.#jetStream.put("keeping a delayed message", subject, packed);
    });
  }

  /** In the order of due instants. */
  async keys(topic: number, partition: number): Promise<readonly DelayKey[]> {
    const filter = `${this.#streams.prefix}.d.${topic}.${partition}.>`;
    const subjects = await this.#jetStream.subjects("listing delayed messages", this.#streams.delayed, filter);
    const keys = subjects.map((subject) => {
      const [dueAt, sequence, index] = subject.split(".").slice(-3).map(Number) as [number, number, number];
      return { dueAt, sequence, index };
    });
    return keys.sort(compareKeys);
  }

  async read(topic: number, partition: number, keys: readonly DelayKey[]): Promise<readonly (Buffer | undefined)[]> {
    return atOnce(keys, async (key) => {
      const subject = this.#subject(topic, partition, key);
      return (await this.#jetStream.last("reading a delayed message", this.#streams.delayed, subject))?.data;
    });
  }

  /** What stays for want of an answer is left over. */
  async remove(topic: number, partition: number, keys: readonly DelayKey[]): Promise<void> {
    await atOnce(keys, async (key) => {
      await this.#jetStream.purge(
        "removing a delayed message",
        this.#streams.delayed,
        this.#subject(topic, partition, key),
      );
    });
  }

  #subject(topic: number, partition: number, { dueAt, sequence, index }: DelayKey): string {
    return `${this.#streams.prefix}.d.${topic}.${partition}.${dueAt}.${sequence}.${index}`;
  }
}
