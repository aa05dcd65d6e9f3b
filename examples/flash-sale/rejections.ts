import type { KeyValueEngine } from "tenon/contracts";
import { Batching } from "./batching.ts";
import { encodeRequestRecord, type RequestRecord, recordKeys } from "./records.ts";

interface Rejection {
  readonly change: { type: "put"; key: string; value: Uint8Array; condition: { ifAbsent: true } };
  /** The record that the request already had. */
  former: Uint8Array | undefined;
}

const batchMax = 256;

/** Records rejections, which are most of the verdicts of a flash sale, many in one commit. */
export class RejectionRecorder {
  readonly #keyValue: KeyValueEngine;
  readonly #batching = new Batching<Rejection>((rejections) => this.#recordAll(rejections), { overlap: true });

  constructor(keyValue: KeyValueEngine) {
    this.#keyValue = keyValue;
  }

  /** Resolves with `undefined` when the record is durable, or with the record that the request already had. */
  async record(requestId: string, record: RequestRecord): Promise<Uint8Array | undefined> {
    const key = recordKeys.request(requestId);
    const value = encodeRequestRecord(record);
    const rejection: Rejection = {
      change: { type: "put", key, value, condition: { ifAbsent: true } },
      former: undefined,
    };
    await this.#batching.add(rejection);
    return rejection.former;
  }

  async #recordAll(rejections: readonly Rejection[]): Promise<void> {
    const first = new Map<string, Rejection>();
    const again: Rejection[] = [];
    for (const rejection of rejections) {
      // The same request twice at the same time: a key may stand in a commit only once.
      if (first.has(rejection.change.key)) again.push(rejection);
      else first.set(rejection.change.key, rejection);
    }
    const distinct = [...first.values()];
    const batches: Promise<void>[] = [];
    for (let index = 0; index < distinct.length; index += batchMax) {
      batches.push(this.#recordBatch(distinct.slice(index, index + batchMax)));
    }
    await Promise.all(batches);
    for (const rejection of again) await this.#recordBatch([rejection]);
  }

  async #recordBatch(batch: readonly Rejection[]): Promise<void> {
    const result = await this.#keyValue.commit(batch.map((rejection) => rejection.change));
    if (result.committed) return;
    if (batch.length === 1) batch[0]!.former = result.current!.value;
    // One of them was decided before. That is rare, so each one is simply tried by itself.
    else await Promise.all(batch.map((rejection) => this.#recordBatch([rejection])));
  }
}
