import type { FetchParameters, KafkaClient, KafkaConnection, KafkaReader, KafkaRequest } from "../clients.ts";
import type { KafkaTopic } from "../cluster.ts";
import { isolation } from "../requests.ts";
import { unreadableAt } from "./record-batch.ts";

/** A partition as bytes. */
export interface RawPartition {
  readonly highWatermark: number;
  /** Whole record batches, each by itself. */
  readonly batches: readonly Buffer[];
}

export interface RawFrom {
  readonly offset: number;
  readonly bytesMax: number;
}

const uuidBytes = 16;
/** A batch begins with its first offset and how many bytes follow. */
const beginningBytes = 12;
const lengthAt = 8;

/**
 * Fetches one partition without making objects of what comes. The client's own reader makes a dozen of each record. With it, and with packing what it had made, consuming took 1.3 to 1.7 µs of the main
 * thread for a message of 200 bytes; now it takes 0.8 to 1.0.
 */
export class RawFetch {
  readonly #request: KafkaRequest<FetchParameters, RawPartition>;

  constructor(client: KafkaClient) {
    const { api, createRequest } = client.fetchV13;
    this.#request = client.createAPI(api.key, api.version, createRequest, readAnswer);
  }

  /** At least one whole batch when there is one, however large. Answers at once. */
  fetch(
    connection: KafkaConnection,
    topic: KafkaTopic,
    partition: number,
    { offset, bytesMax }: RawFrom,
  ): Promise<RawPartition> {
    const from = { partition, currentLeaderEpoch: -1, fetchOffset: BigInt(offset), lastFetchedEpoch: -1 };
    const topics = [{ topicId: topic.id, partitions: [{ ...from, partitionMaxBytes: bytesMax }] }];
    return this.#request.async(connection, 0, 1, bytesMax, isolation.uncommitted, 0, -1, topics, [], "");
  }
}

/** Fetch Response (Version: 13), with one partition of one topic. */
function readAnswer(_correlation: number, _key: number, _version: number, reader: KafkaReader): RawPartition {
  // How long the broker held the request back.
  reader.readInt32();
  refuse(reader.readInt16());
  // The fetch session: there is none.
  reader.readInt32();
  if (reader.readUnsignedVarInt() < 2) throw new Error("an answer without the topic that was asked for");
  reader.skip(uuidBytes);
  if (reader.readUnsignedVarInt() < 2) throw new Error("an answer without the partition that was asked for");
  reader.readInt32();
  refuse(reader.readInt16());
  const highWatermark = Number(reader.readInt64());
  // The last stable offset, and where the log begins.
  reader.readInt64();
  reader.readInt64();
  // Transactions that were given up: all are read as they are written.
  reader.readNullableArray(() => {
    reader.readInt64();
    reader.readInt64();
  });
  // The replica to read from.
  reader.readInt32();
  const lengthAndOne = reader.readUnsignedVarInt();
  const { buffer, position } = reader;
  return { highWatermark, batches: batchesBetween(buffer, position, position + lengthAndOne - 1) };
}

/** The batches within what was answered. Where the broker cut one off in the midst is nothing to read: it comes whole with the next fetch. */
export function batchesBetween(buffer: KafkaReader["buffer"], start: number, end: number): readonly Buffer[] {
  const batches: Buffer[] = [];
  for (let from = start; from + beginningBytes <= end; ) {
    const beginning = buffer.slice(from, from + beginningBytes);
    const length = beginning.readInt32BE(lengthAt);
    if (length < 0) throw unreadableAt(Number(beginning.readBigInt64BE(0)));
    const to = from + beginningBytes + length;
    if (to > end) break;
    batches.push(owned(buffer.slice(from, to)));
    from = to;
  }
  return batches;
}

/** Whoever keeps a message keeps the batch that it was appended with, and not what came along by chance. */
function owned(batch: Buffer): Buffer {
  return batch.length * 2 >= batch.buffer.byteLength ? batch : Buffer.from(batch);
}

function refuse(code: number): void {
  if (code !== 0) throw new FetchRefused(code);
}

/** As the client's own errors: with Kafka's number of it. */
class FetchRefused extends Error {
  readonly apiCode: number;
  constructor(code: number) {
    super(`Kafka refused a fetch (error ${code})`);
    this.apiCode = code;
  }
}
