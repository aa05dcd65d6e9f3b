import type { Batch, ProducerMark } from "../contracts/messages.ts";

/**
 * Batches of which the engine that their topic leaves has not said whether they are stored there. When they are repeated after that, it is asked first: the other engine would
 * store them once more.
 */
export class Doubts {
  readonly #marks = new Map<string, ProducerMark>();

  add(batch: Batch): void {
    if (batch.producer !== undefined) this.#marks.set(placeOf(batch, batch.producer), batch.producer);
  }

  has(batch: Batch): boolean {
    const { producer } = batch;
    if (producer === undefined || this.#marks.size === 0) return false;
    const mark = this.#marks.get(placeOf(batch, producer));
    return mark !== undefined && mark.epoch === producer.epoch && mark.sequence === producer.sequence;
  }

  /** It is known now, and nothing that its producer sent before is repeated any more. */
  forget(batch: Batch): void {
    if (batch.producer !== undefined && this.#marks.size > 0) this.#marks.delete(placeOf(batch, batch.producer));
  }
}

function placeOf({ topic, partition }: Batch, { id }: ProducerMark): string {
  return JSON.stringify([topic, partition, id]);
}
