/** What a fetch brought of committed records, as records of the contract. */
import type { LogRecord } from "../../../contracts/log.ts";
import type { FetchedPartition } from "../fetching/fetching.ts";
import type { KafkaBatch, KafkaRecord } from "../fetching/kafka-batch.ts";
import { decisionOf, isControl, isTransactional, timestampOf } from "../requests.ts";

export interface CommittedRecords {
  readonly records: readonly LogRecord[];
  /** Everything below was looked at; what is no record (marks of transactions, what was given up) was passed over. */
  readonly next: bigint;
  /** What the records take, about. */
  readonly bytes: number;
}

/** The first committed records from a position on. */
export function committedRecords(fetched: FetchedPartition, from: bigint, limit: number): CommittedRecords {
  const aborted = new AbortedTransactions(fetched);
  const records: LogRecord[] = [];
  let next = from;
  let bytes = 0;
  for (const batch of fetched.batches) {
    if (!aborted.hold(batch)) {
      for (const record of batch.records) {
        const position = batch.firstOffset + BigInt(record.offsetDelta);
        if (position < from) continue;
        if (records.length === limit) return { records, next: position, bytes };
        records.push(recordFrom(record, position, timestampOf(batch, record)));
        bytes += (record.value?.length ?? 0) + (record.key?.length ?? 0);
      }
    }
    const end = batch.firstOffset + BigInt(batch.lastOffsetDelta) + 1n;
    if (end > next) next = end;
  }
  return { records, next, bytes };
}

/** Which producers' records were given up, at the place where a fetch is read. */
class AbortedTransactions {
  /** Those that begin behind the place, the first one last. */
  readonly #coming: { readonly producerId: bigint; readonly firstOffset: bigint }[];
  readonly #open = new Set<bigint>();

  constructor({ abortedTransactions }: FetchedPartition) {
    this.#coming = [...abortedTransactions].sort((a, b) => Number(b.firstOffset - a.firstOffset));
  }

  /** Whether nobody may see the batch. Batches have to be asked about in their order. */
  hold(batch: KafkaBatch): boolean {
    const last = batch.firstOffset + BigInt(batch.lastOffsetDelta);
    for (
      let first = this.#coming.at(-1);
      first !== undefined && first.firstOffset <= last;
      first = this.#coming.at(-1)
    ) {
      this.#open.add(first.producerId);
      this.#coming.pop();
    }
    if (isControl(batch)) {
      if (decisionOf(batch) === "aborted") this.#open.delete(batch.producerId);
      return true;
    }
    return isTransactional(batch) && this.#open.has(batch.producerId);
  }
}

function recordFrom({ key, value, headers }: KafkaRecord, position: bigint, appendedAt: number): LogRecord {
  const texts = headers.flatMap(([name, text]): [string, string][] =>
    name === null ? [] : [[name.toString(), (text ?? "").toString()]],
  );
  return {
    position,
    key: key === null ? undefined : key.toString(),
    // What another client wrote without a value has an empty body.
    body: value ?? Buffer.alloc(0),
    headers: texts.length === 0 ? undefined : Object.fromEntries(texts),
    appendedAt,
  };
}
