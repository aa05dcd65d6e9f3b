import type { NewMessage, ProducerMark } from "../../../contracts/messages.ts";
import type { Appended } from "../../lanes/append-queues.ts";
import { type CheckedBatch, isDelayed, isMisdirected, packChunks, withoutDelayed } from "../../lanes/batches.ts";
import type { HeldValue, LockedValues } from "../locked-values.ts";
import { encodeRun, PartitionHead } from "./partition-head.ts";
import type { Topic } from "./topics.ts";

/** Partitions: what is appended gets its positions under the lock of the partition's record. */
export class Partitions {
  readonly #values: LockedValues;
  readonly #now: () => number;

  constructor(values: LockedValues, now: () => number) {
    this.#values = values;
    this.#now = now;
  }

  /**
   * Appends batches, each as a whole or not at all. Two steps, each confirmed: the record with the messages in it, which is what decides, and then a copy
   * to the queue of each group.
   */
  async append(topic: Topic, partition: number, batches: readonly CheckedBatch[]): Promise<readonly Appended[]> {
    const raised = new Set<string>();
    for (;;) {
      const answers = await this.hold(topic, partition, "an append", async (head, value) => {
        const unknown = batches.find(({ batch: { producer } }) => raises(head, producer, raised))?.batch.producer;
        return unknown ?? (await this.#append(topic, partition, batches, head, value));
      });
      if (!("epoch" in answers)) return answers;
      await this.#raise(topic, partition, answers);
      raised.add(nameOf(answers));
    }
  }

  async #append(
    topic: Topic,
    partition: number,
    batches: readonly CheckedBatch[],
    head: PartitionHead,
    value: HeldValue,
  ): Promise<readonly Appended[]> {
    const start = head.next;
    let next = start;
    const news: CheckedBatch[] = [];
    const answers = batches.map((checked): Appended => {
      if (isMisdirected(checked, topic.id)) return { refused: "topic" };
      const { producer, messages } = checked.batch;
      const before = producer && head.check(producer, messages.length);
      if (before !== undefined) return "known" in before ? { positions: before.known } : before;
      const stored = withoutDelayed(checked);
      const positions = stored === checked ? next : positionsOf(messages, next);
      if (producer !== undefined) head.remember(producer, messages.length, positions);
      next += stored.batch.messages.length;
      news.push(stored);
      return { positions };
    });
    if (next > start) {
      const packed = Buffer.concat(news.flatMap((batch) => packChunks(batch).map((chunk) => chunk.packed)));
      head.add(next - start, this.#now(), packed);
      await value.write(head.encode());
      await sendOn(topic, partition, head, value);
      value.writeQuietly(head.encode());
    } else if (news.length > 0) await value.write(head.encode());
    return answers;
  }

  /** A higher epoch fences the lower ones in every partition, and before anything is stored under it. */
  async #raise(topic: Topic, partition: number, mark: ProducerMark): Promise<void> {
    for (let other = 0; other < topic.partitions; other++) {
      if (other === partition) continue;
      await this.hold(topic, other, "fencing a producer", async (head, value) => {
        if (head.knowsEpoch(mark)) return;
        head.raise(mark);
        await value.write(head.encode());
      });
    }
  }

  /** Works on a partition's record. What was appended before is in every group's queue. */
  hold<T>(
    topic: Topic,
    partition: number,
    what: string,
    work: (head: PartitionHead, value: HeldValue) => Promise<T> | T,
  ): Promise<T> {
    return this.#values.hold(topic.names.head(partition), what, async (value) => {
      const head = PartitionHead.decode(value.bytes);
      if (head.pending !== undefined) {
        await sendOn(topic, partition, head, value);
        await value.write(head.encode());
      }
      return work(head, value);
    });
  }
}

/** Of messages of which some are delayed, and have none. */
function positionsOf(messages: readonly NewMessage[], first: number): readonly number[] {
  let next = first;
  return messages.map((message) => (isDelayed(message) ? -1 : next++));
}

/** Whether others have to hear of the producer's epoch first; a first epoch fences nobody. */
function raises(head: PartitionHead, mark: ProducerMark | undefined, raised: ReadonlySet<string>): boolean {
  return mark !== undefined && mark.epoch > 0 && !head.knowsEpoch(mark) && !raised.has(nameOf(mark));
}

function nameOf({ id, epoch }: ProducerMark): string {
  return `${epoch}/${id}`;
}

async function sendOn(topic: Topic, partition: number, head: PartitionHead, value: HeldValue): Promise<void> {
  await value.channel.publish(topic.names.exchange, String(partition), encodeRun(head.pending!), false);
  head.pending = undefined;
}
