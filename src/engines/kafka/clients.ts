/** What is used of the package `@platformatic/kafka`: its connections, and single requests of Kafka's protocol. */

/** A connection, not yet connected; the engine says where to, and closes it. */
export interface KafkaConnection {
  connect(host: string, port: number): Promise<void> | void;
  close(): Promise<void>;
  isConnected(): boolean;
  /** So that a connection that is dead can be cut. */
  readonly socket: { destroy(): unknown } | undefined;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "close", listener: () => void): unknown;
}

/** One request of the protocol in one version. What it rejects with carries the answer as `response`. */
export interface KafkaRequest<Parameters extends readonly unknown[], Response> {
  readonly key: number;
  readonly version: number;
  async(connection: KafkaConnection, ...parameters: Parameters): Promise<Response>;
}

interface Versioned<Parameters extends readonly unknown[], Response> {
  readonly api: KafkaRequest<Parameters, Response>;
}

/** Reads an answer from its first byte on. */
export interface KafkaReader {
  readonly position: number;
  readonly buffer: { slice(start: number, end: number): Buffer };
  skip(bytes: number): unknown;
  readInt16(): number;
  readInt32(): number;
  readInt64(): bigint;
  readUnsignedVarInt(): number;
  readUUID(): string;
  /** Each of them is followed by tags, which are passed over unless `passTags` is false. */
  readNullableArray<Value>(read: () => Value, compact?: boolean, passTags?: boolean): Value[] | null;
}

/** What batches are checked and decompressed with. */
export interface BatchCodec {
  crc32c(bytes: Buffer): number;
  /** By the bits of a batch's attributes. */
  readonly compressionsAlgorithmsByBitmask: Readonly<Record<string, { decompressSync(bytes: Buffer): Buffer }>>;
}

/** `import * as client from "@platformatic/kafka"` is one. */
export interface KafkaClient extends BatchCodec {
  /** Makes a request of how it is written and how its answer is read. */
  createAPI<Parameters extends unknown[], Response>(
    key: number,
    version: number,
    createRequest: (...parameters: Parameters) => unknown,
    parseResponse: (correlationId: number, key: number, version: number, reader: KafkaReader) => Response,
  ): KafkaRequest<Parameters, Response>;
  readonly apiVersionsV3: Versioned<[softwareName: string, softwareVersion: string], VersionsAnswer>;
  readonly metadataV12: Versioned<[topics: { name: string }[] | null, mayCreate: boolean], MetadataAnswer>;
  readonly produceV9: Versioned<
    [acks: number, timeoutMs: number, records: NewKafkaRecord[], options?: ProducerOptions],
    boolean | ProduceAnswer
  >;
  readonly fetchV13: Versioned<FetchParameters, unknown> & {
    createRequest(...parameters: FetchParameters): unknown;
  };
  readonly listOffsetsV7: Versioned<
    [
      replica: number,
      isolationLevel: number,
      topics: {
        name: string;
        partitions: { partitionIndex: number; currentLeaderEpoch: number; timestamp: bigint }[];
      }[],
    ],
    OffsetsAnswer
  >;
  readonly initProducerIdV4: Versioned<
    [transactionalId: string | null, transactionTimeoutMs: number, producerId: bigint, producerEpoch: number],
    { readonly producerId: bigint; readonly producerEpoch: number }
  >;
  readonly findCoordinatorV4: Versioned<[keyType: number, keys: string[]], CoordinatorsAnswer>;
  readonly addPartitionsToTxnV3: Versioned<[transactions: TransactionPartitions[]], unknown>;
  readonly endTxnV3: Versioned<
    [transactionalId: string, producerId: bigint, producerEpoch: number, isCommitted: boolean],
    unknown
  >;
  readonly describeProducersV0: Versioned<
    [topics: { name: string; partitionIndexes: number[] }[]],
    {
      readonly topics: readonly {
        readonly partitions: readonly { readonly activeProducers: readonly ActiveProducer[] }[];
      }[];
    }
  >;
  readonly createTopicsV7: Versioned<[topics: NewKafkaTopic[], timeoutMs: number, validateOnly: boolean], TopicsAnswer>;
  readonly deleteTopicsV6: Versioned<[topics: { name: null; topicId: string }[], timeoutMs: number], unknown>;
  readonly deleteRecordsV2: Versioned<
    [topics: { name: string; partitions: { partitionIndex: number; offset: bigint }[] }[], timeoutMs: number],
    unknown
  >;
  readonly incrementalAlterConfigsV1: Versioned<
    [resources: { resourceType: 2; resourceName: string; configs: NewSetting[] }[], validateOnly: boolean],
    unknown
  >;
  readonly describeConfigsV4: Versioned<
    [
      resources: { resourceType: 2 | 4; resourceName: string; configurationKeys: string[] }[],
      includeSynonyms: boolean,
      includeDocumentation: boolean,
    ],
    ConfigsAnswer
  >;
}

export type FetchParameters = [
  maxWaitMs: number,
  minBytes: number,
  maxBytes: number,
  isolationLevel: number,
  sessionId: number,
  sessionEpoch: number,
  topics: FetchTopic[],
  forgotten: [],
  rackId: string,
];

export interface CoordinatorsAnswer {
  readonly coordinators: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
}

export interface TransactionPartitions {
  transactionalId: string;
  producerId: bigint;
  producerEpoch: number;
  verifyOnly: boolean;
  topics: { name: string; partitions: number[] }[];
}

export interface NewSetting {
  name: string;
  /** It is set. */
  configOperation: 0;
  value: string;
}

/** A producer as a partition remembers it. */
export interface ActiveProducer {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  readonly lastSequence: number;
}

export interface VersionsAnswer {
  readonly apiKeys: readonly { readonly apiKey: number; readonly minVersion: number; readonly maxVersion: number }[];
}

export interface MetadataAnswer {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly controllerId: number;
  readonly topics: readonly {
    readonly errorCode: number;
    readonly name?: string | null | undefined;
    readonly topicId: string;
    readonly partitions: readonly {
      readonly partitionIndex: number;
      readonly leaderId: number;
      readonly replicaNodes: readonly number[];
    }[];
  }[];
}

export interface NewKafkaRecord {
  key?: Buffer;
  value: Buffer;
  headers?: Map<Buffer, Buffer>;
  topic: string;
  partition: number;
}

export interface ProducerOptions {
  /** The records are part of its transaction. */
  transactionalId?: string | null | undefined;
  producerId?: bigint;
  producerEpoch?: number;
  /** Answers the first sequence. */
  sequences?: { getWithDefault(key: string, otherwise: number): number };
}

export interface ProduceAnswer {
  readonly responses: readonly {
    readonly partitionResponses: readonly {
      readonly errorCode: number;
      readonly baseOffset: bigint;
    }[];
  }[];
}

export interface FetchTopic {
  topicId: string;
  partitions: {
    partition: number;
    currentLeaderEpoch: number;
    fetchOffset: bigint;
    lastFetchedEpoch: number;
    partitionMaxBytes: number;
  }[];
}

export interface OffsetsAnswer {
  readonly topics: readonly {
    readonly partitions: readonly {
      readonly partitionIndex: number;
      readonly errorCode: number;
      readonly offset: bigint;
    }[];
  }[];
}

export interface NewKafkaTopic {
  name: string;
  numPartitions: number;
  replicationFactor: number;
  assignments: [];
  configs: { name: string; value: string }[];
}

export interface TopicsAnswer {
  readonly topics: readonly {
    readonly name: string;
    readonly topicId: string;
    readonly errorCode: number;
    readonly errorMessage?: string | null | undefined;
  }[];
}

export interface ConfigsAnswer {
  readonly results: readonly {
    readonly errorCode: number;
    readonly configs: readonly { readonly name: string; readonly value?: string | null | undefined }[];
  }[];
}
