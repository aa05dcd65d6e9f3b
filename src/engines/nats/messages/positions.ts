import type { SeekTarget } from "../../../contracts/messages.ts";
import type { JetStream } from "../jet-stream.ts";
import { searchRuns } from "../run-search.ts";
import type { StateStore } from "../state-store.ts";
import { valueNames } from "../state-store.ts";
import type { Streams } from "../streams.ts";
import { subjectOf } from "./partition-chain.ts";
import { decodePlace } from "./partition-head.ts";
import { PartitionTrim } from "./partition-trim.ts";
import type { Topic } from "./topics.ts";

/** A place in a partition; nothing before the sequence, in the stream of messages, is at the position or beyond. */
export interface Start {
  readonly position: number;
  readonly sequence: number;
}

interface FoundRun {
  readonly sequence: number;
  readonly first: number;
  readonly end: number;
  readonly storedAt: number;
}

/** Finds places in partitions. */
export class Positions {
  readonly #jetStream: JetStream;
  readonly #streams: Streams;
  readonly #state: StateStore;

  constructor(jetStream: JetStream, streams: Streams, state: StateStore) {
    this.#jetStream = jetStream;
    this.#streams = streams;
    this.#state = state;
  }

  /** What was trimmed of a partition, and when the rest of it was settled. */
  async trimOf(topic: Topic, partition: number): Promise<{ readonly trim: PartitionTrim; readonly revision: number }> {
    const name = valueNames.partition(topic.id, partition);
    const value = await this.#state.read("looking at a partition", name);
    return { trim: PartitionTrim.decode(value?.bytes), revision: value?.revision ?? 0 };
  }

  /** Where a target is in a partition; `undefined`: it says nothing of that, or (`"gone"`) the topic is gone. */
  async startOf(topic: Topic, partition: number, target: SeekTarget): Promise<Start | "gone" | undefined> {
    const { trim } = await this.trimOf(topic, partition);
    const last = await topic.chain(partition).look();
    if (last === undefined) return "gone";
    const next = { position: last.head.first + last.head.count, sequence: last.sequence + 1 };
    if (target === "now") return next;
    if (target === "earliest") return { position: Math.min(trim.first, next.position), sequence: 1 };
    let position: number;
    if ("at" in target) {
      const run = await this.#search(topic.id, partition, last.sequence, ({ storedAt }) => storedAt >= target.at);
      position = run?.first ?? next.position;
    } else {
      const asked = target.positions.get(partition);
      if (asked === undefined) return undefined;
      position = Number(asked);
    }
    const within = Math.min(Math.max(position, trim.first), next.position);
    return { position: within, sequence: await this.sequenceOf(topic.id, partition, within, last.sequence) };
  }

  /** Before which sequence there is nothing at the position or beyond. */
  async sequenceOf(topic: number, partition: number, position: number, last: number): Promise<number> {
    const run = await this.#search(topic, partition, last, ({ end }) => end > position);
    return run?.sequence ?? last + 1;
  }

  #search(
    topic: number,
    partition: number,
    last: number,
    isFound: (run: FoundRun) => boolean,
  ): Promise<FoundRun | undefined> {
    return searchRuns(last, (sequence) => this.runFrom(topic, partition, sequence), isFound);
  }

  /** The first run from a sequence on. */
  async runFrom(topic: number, partition: number, sequence: number): Promise<FoundRun | undefined> {
    const subject = subjectOf(this.#streams, topic, partition);
    const stored = await this.#jetStream.next("looking for a message", this.#streams.runs, subject, sequence);
    if (stored === undefined) return undefined;
    const { first, count } = decodePlace(stored.data);
    return { sequence: stored.sequence, first, end: first + count, storedAt: stored.storedAt };
  }
}
