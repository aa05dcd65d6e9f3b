import type { LogDeclaration } from "../../../contracts/log.ts";
import { checkLogPartition, checkLogPartitions, logNotFound } from "../../../contracts/log-requests.ts";
import { atOnce } from "../at-once.ts";
import { type NamedPlace, NamedPlaces, type NamedRecord } from "../named-places.ts";
import { growthSubject, LogPartition, type LogPartitionParts } from "./log-partition.ts";

/** What is kept of a log as a whole. */
export interface DeclaredLog extends NamedRecord {
  readonly partitions: number;
  /** `null`: records do not go by age. */
  readonly retentionMs: number | null;
  /** `null`: records do not go by size. */
  readonly retentionBytes: number | null;
}

/** A log as it stands in the streams. One that is declared after its removal is another one. */
export interface Log extends NamedPlace {
  readonly partitions: number;
  partition(partition: number): LogPartition;
}

/** Which logs there are, and the record of each. */
export class Logs {
  readonly places: NamedPlaces<DeclaredLog, Log>;
  readonly #parts: LogPartitionParts;

  constructor(parts: LogPartitionParts) {
    this.#parts = parts;
    const { link, streams, state } = parts;
    this.places = new NamedPlaces(state, {
      what: "log",
      letter: "o",
      placeOf: (name, { id, partitions }) => this.#logOf(name, id, partitions),
      notFound: logNotFound,
      empty: ({ id }) => this.#empty(id),
      removed: ({ id }) => link.tell(growthSubject(streams, id), "all"),
    });
  }

  #logOf(name: string, id: number, partitions: number): Log {
    const made = new Map<number, LogPartition>();
    return {
      name,
      id,
      partitions,
      partition: (partition) => {
        const chain = made.get(partition) ?? new LogPartition(this.#parts, id, partition);
        made.set(partition, chain);
        return chain;
      },
    };
  }

  /** Makes the log or changes its retentions. */
  async declare(name: string, declaration: LogDeclaration): Promise<void> {
    await this.places.declare(name, {
      make: () => this.#make(name, declaration),
      change: (former) => {
        checkLogPartitions(name, former.partitions, declaration.partitions);
        return withRetentions(former, declaration);
      },
    });
  }

  async #make(name: string, declaration: LogDeclaration): Promise<DeclaredLog> {
    const { partitions } = declaration;
    const id = await this.#parts.state.number();
    const made = this.#logOf(name, id, partitions);
    await atOnce(partitionsOf(made), (partition) => made.partition(partition).make());
    return withRetentions({ format: 1, id, partitions, retentionMs: null, retentionBytes: null }, declaration);
  }

  /** Throws `invalid` when the log has no such partition; `undefined` when it is gone. */
  async check(log: Log, partition: number): Promise<true | undefined> {
    if (partition < log.partitions) return true;
    if ((await this.places.recordOf(log)) === undefined) return undefined;
    checkLogPartition(log.name, partition, log.partitions);
    return true;
  }

  async #empty(id: number): Promise<void> {
    const { jetStream, state, streams } = this.#parts;
    const what = "removing a log";
    await Promise.all([
      jetStream.purge(what, streams.logs, `${streams.prefix}.l.${id}.>`),
      jetStream.purge(what, streams.producers, `${streams.prefix}.e.${id}.>`),
      ...["w", "m", "r"].map((kind) => state.remove(what, `${kind}.${id}.>`)),
    ]);
  }
}

export function partitionsOf({ partitions }: { readonly partitions: number }): readonly number[] {
  return Array.from({ length: partitions }, (_, partition) => partition);
}

/** Those that are given replace the former ones. */
function withRetentions(record: DeclaredLog, { retentionMs, retentionBytes }: LogDeclaration): DeclaredLog {
  return {
    ...record,
    ...(retentionMs === undefined ? {} : { retentionMs: finite(retentionMs) }),
    ...(retentionBytes === undefined ? {} : { retentionBytes: finite(retentionBytes) }),
  };
}

function finite(value: number): number | null {
  return value === Number.POSITIVE_INFINITY ? null : value;
}
