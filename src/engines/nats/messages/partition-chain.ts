import type { World } from "../../../world/world.ts";
import type { Appended } from "../../lanes/append-queues.ts";
import type { BatchRefusal, CheckedBatch } from "../../lanes/batches.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import type { ProducerEpochs } from "../producer-epochs.ts";
import { type Extension, type LastRun, RunChain } from "../run-chain.ts";
import type { ServerClock } from "../server-clock.ts";
import type { Streams } from "../streams.ts";
import type { DelayStore } from "./delay-store.ts";
import { writeBatches } from "./partition-batches.ts";
import {
  compareKeys,
  type DelayKey,
  decodeRun,
  emptyAfter,
  encodeRun,
  newPartition,
  type PartitionHead,
  type Seal,
} from "./partition-head.ts";
import type { Room } from "./room.ts";
import type { Topic } from "./topics.ts";

export interface ChainParts {
  readonly world: World;
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly epochs: ProducerEpochs;
  readonly delays: DelayStore;
  readonly room: Room;
  /** What one message of the server may take. */
  readonly payloadBytesMax: number;
}

/** The topic turned out to have a limit. */
const limitMet: readonly Appended[] = [];
/** How many delayed messages are appended at once, and about how many bytes. */
const dueCountMax = 500;

/**
 * A partition: the messages of one subject, each a run that is stored only if the run is still the last one that its publisher built upon. Nobody owns the partition. One append at a time goes out from here, and
 * takes what gathered meanwhile; publishers in other processes make it try again.
 */
export class PartitionChain {
  readonly #parts: ChainParts;
  readonly #place: Topic;
  readonly #topic: number;
  readonly #partition: number;
  readonly #chain: RunChain<PartitionHead>;

  constructor(parts: ChainParts, topic: Topic, partition: number) {
    const { link, streams } = parts;
    this.#parts = parts;
    this.#place = topic;
    this.#topic = topic.id;
    this.#partition = partition;
    this.#chain = new RunChain(parts, {
      stream: streams.runs,
      subject: subjectOf(streams, topic.id, partition),
      format: { encode: encodeRun, decode: decodeRun },
      stored: () => link.tell(`${streams.prefix}.n.${topic.id}`, `p${partition}`),
    });
  }

  /** Makes the partition when it is not there. */
  make(as: Pick<PartitionHead, "limited" | "seal">): Promise<void> {
    return this.#chain.make("making a partition", { ...newPartition, ...as });
  }

  /** The last run as it is now; `undefined` when the topic is gone. */
  look(): Promise<LastRun<PartitionHead> | undefined> {
    return this.#chain.look();
  }

  /** Puts an empty run upon the last one, by which the partition becomes what `change` says. `false` when that was not the last one any more. */
  async interpose(
    last: LastRun<PartitionHead>,
    change: Partial<Pick<PartitionHead, "limited" | "seal">> = {},
  ): Promise<boolean> {
    const { head, sequence } = last;
    if (head.later.length > 0) await this.#parts.delays.add(this.#topic, this.#partition, sequence, head.later);
    return this.#chain.interpose("marking a partition", sequence, { ...emptyAfter(head), ...change });
  }

  /** Puts the seal upon the last run, unless it has a later one: a publisher that built upon that run tries again, and meets it. `false` when the topic is gone. */
  async seal(seal: Seal): Promise<boolean> {
    for (;;) {
      const last = await this.look();
      if (last === undefined) return false;
      if (last.head.seal.version >= seal.version || (await this.interpose(last, { seal }))) return true;
    }
  }

  /** Appends batches one after the other, each as a whole or not at all; `undefined` when the topic is gone. */
  append(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    return this.#chain.inTurn(async () => {
      const last = await this.#chain.recall();
      if (last === undefined) return undefined;
      return last.head.limited ? this.#appendEach(batches) : this.#appendAll(batches);
    });
  }

  async #appendAll(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    const { clock, epochs } = this.#parts;
    await clock.ready();
    const known = await epochs.of(this.#topic, batches);
    const written = await this.#extend("an append", async ({ head }) => {
      // The limit was set meanwhile.
      if (head.limited) return { run: undefined, answer: limitMet };
      const writing = writeBatches(head, batches, { epochs: known, now: clock.earliest });
      await epochs.raise(this.#topic, writing.raised);
      return { run: writing.changed ? writing : undefined, answer: writing.answers };
    });
    return written === limitMet ? this.#appendEach(batches) : written;
  }

  /** Each of them needs room of its own. */
  async #appendEach(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    const answers: Appended[] = [];
    for (const batch of batches) {
      const answer = await this.#parts.room.inTurn(this.#topic, () => this.#appendOne(batch));
      if (answer === undefined) return undefined;
      answers.push(answer);
    }
    return answers;
  }

  async #appendOne(batch: CheckedBatch): Promise<Appended | undefined> {
    const { clock, room, epochs } = this.#parts;
    await clock.ready();
    const known = await epochs.of(this.#topic, [batch]);
    this.#chain.forget();
    const appended = await this.#extend<Appended | "gone">("an append", async ({ head, sequence }) => {
      const writing = writeBatches(head, [batch], { epochs: known, now: clock.earliest });
      const answer = writing.answers[0]!;
      if (!writing.changed) return { run: undefined, answer };
      const intent = { partition: this.#partition, sequence, count: writing.fresh };
      const admitted = await room.admit(this.#place, intent);
      if (admitted === undefined) return { run: undefined, answer: "gone" };
      if ("refused" in admitted) return { run: undefined, answer: admitted satisfies BatchRefusal };
      await epochs.raise(this.#topic, writing.raised);
      return { run: { head: { ...writing.head, token: admitted.token }, packed: writing.packed }, answer };
    });
    return appended === "gone" ? undefined : appended;
  }

  /** Appends what is due, in the order of due instants. Bounded; the next call goes on. `false` when the topic is gone. */
  releaseDue(): Promise<boolean> {
    return this.#chain.inTurn(async () => {
      const { clock, delays } = this.#parts;
      await clock.ready();
      const left = await this.#extend("appending what is due", async ({ head }) => {
        const now = clock.earliest;
        if (head.dueAt < 0 || head.dueAt > now) return { run: undefined, answer: [] };
        const keys = await delays.keys(this.#topic, this.#partition);
        const pending = keys.filter((key) => compareKeys(key, head.released) > 0);
        const due = await this.#readDue(pending.filter(({ dueAt }) => dueAt <= now).slice(0, dueCountMax));
        const released = due.at(-1)?.key ?? head.released;
        const next: PartitionHead = {
          ...emptyAfter(head),
          count: due.length,
          released,
          dueAt: pending.find((key) => compareKeys(key, released) > 0)?.dueAt ?? -1,
        };
        const gone = keys.filter((key) => compareKeys(key, released) <= 0);
        return { run: { head: next, packed: due.map(({ packed }) => packed) }, answer: gone };
      });
      if (left === undefined) return false;
      if (left.length > 0) delays.remove(this.#topic, this.#partition, left).catch(() => undefined);
      return true;
    });
  }

  async #readDue(keys: readonly DelayKey[]): Promise<readonly { readonly key: DelayKey; readonly packed: Buffer }[]> {
    const found = await this.#parts.delays.read(this.#topic, this.#partition, keys);
    const due: { key: DelayKey; packed: Buffer }[] = [];
    let bytes = 0;
    for (const [index, key] of keys.entries()) {
      const packed = found[index];
      // Somebody else was faster; the condition on the head will tell.
      if (packed === undefined) break;
      bytes += packed.length;
      if (due.length > 0 && bytes > this.#parts.payloadBytesMax / 2) break;
      due.push({ key, packed });
    }
    return due;
  }

  /** What came delayed with the last run is copied before anything follows. */
  #extend<T>(
    what: string,
    build: (last: LastRun<PartitionHead>) => Promise<Extension<PartitionHead, T>>,
  ): Promise<T | undefined> {
    return this.#chain.extend(what, async (last) => {
      const { head, sequence } = last;
      if (head.later.length > 0) await this.#parts.delays.add(this.#topic, this.#partition, sequence, head.later);
      return build(last);
    });
  }
}

export function subjectOf({ prefix }: Streams, topic: number, partition: number): string {
  return `${prefix}.r.${topic}.${partition}`;
}
