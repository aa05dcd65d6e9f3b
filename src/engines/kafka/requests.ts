/** Single requests of Kafka's protocol, for one partition each. */
import type { KafkaClient, KafkaConnection, NewKafkaRecord, ProducerOptions } from "./clients.ts";
import type { Cluster } from "./cluster.ts";
import { asRead, failureOf } from "./failures.ts";
import type { KafkaBatch, KafkaRecord } from "./fetching/kafka-batch.ts";

/** Everything that is stored, or only what stands before the first transaction that is not decided. */
export const isolation = { uncommitted: 0, committed: 1 } as const;
export type Isolation = (typeof isolation)[keyof typeof isolation];

const allInSync = -1;

/** Appends records as one batch, all or nothing; answers the first one's offset. */
export async function produce(
  client: KafkaClient,
  connection: KafkaConnection,
  timeoutMs: number,
  records: NewKafkaRecord[],
  producer: ProducerOptions = {},
): Promise<number> {
  const answer = await client.produceV9.api.async(connection, allInSync, timeoutMs, records, producer);
  const appended = typeof answer === "boolean" ? undefined : answer.responses[0]?.partitionResponses[0];
  if (appended === undefined) throw new Error("an answer without the partition that was appended to");
  return Number(appended.baseOffset);
}

export const offsetAt = { latest: -1, earliest: -2 } as const;

/** The offset of the first record at or after an instant; -1 when there is none. */
export async function listOffset(
  cluster: Cluster,
  what: string,
  topic: string,
  partition: number,
  at: number,
  check?: () => void,
  shown: Isolation = isolation.uncommitted,
): Promise<number> {
  try {
    return await cluster.leader({ what, outcome: "not-applied", check }, topic, partition, async (connection) => {
      const partitions = [{ partitionIndex: partition, currentLeaderEpoch: -1, timestamp: BigInt(at) }];
      const answer = await cluster.client.listOffsetsV7.api.async(connection, -1, shown, [{ name: topic, partitions }]);
      const found = answer.topics[0]?.partitions[0];
      if (found === undefined) throw new Error("an answer without the partition that was asked for");
      return Number(found.offset);
    });
  } catch (error) {
    return asRead(failureOf(error, what, "not-applied"));
  }
}

/** Bits of a batch's attributes. */
export const attribute = { compression: 7, logAppendTime: 8, transactional: 16, control: 32 } as const;

/** Marks of transactions, which are no messages. */
export function isControl({ attributes }: KafkaBatch): boolean {
  return (attributes & attribute.control) !== 0;
}

export function isTransactional({ attributes }: KafkaBatch): boolean {
  return (attributes & attribute.transactional) !== 0;
}

/** What a mark says of its producer's transaction; `undefined`: it is another mark. */
export function decisionOf({ records: [record] }: KafkaBatch): "committed" | "aborted" | undefined {
  // Its key holds a version and a type, 16 bits each.
  if (record?.key == null || record.key.length < 4) return undefined;
  const type = record.key.readInt16BE(2);
  if (type === 0) return "aborted";
  return type === 1 ? "committed" : undefined;
}

export function timestampOf(batch: KafkaBatch, record: KafkaRecord): number {
  const isBatches = (batch.attributes & attribute.logAppendTime) !== 0;
  return Number(isBatches ? batch.maxTimestamp : batch.firstTimestamp + record.timestampDelta);
}
