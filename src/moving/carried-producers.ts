import type { Batch, ProducerMark } from "../contracts/messages.ts";

interface Start {
  readonly epoch: number;
  readonly sequence: number;
}

/**
 * What producers number goes on across a move, but the other engine expects each to begin with 0: what a producer sends first there, to a partition, is counted as its
 * beginning. A later epoch of it begins with 0 by itself.
 */
export class CarriedProducers {
  readonly #starts = new Map<string, Start>();

  /** `undefined`: the batch was stored before the move, as a later one of its producer is on the other engine already. */
  renumbered(batch: Batch): Batch | undefined {
    const { producer } = batch;
    if (producer === undefined) return batch;
    const start = this.#startOf(batch, producer);
    if (producer.epoch < start.epoch) return batch;
    const sequence = producer.sequence - start.sequence;
    return sequence < 0 ? undefined : { ...batch, producer: { ...producer, sequence } };
  }

  #startOf({ topic, partition }: Batch, { id, epoch, sequence }: ProducerMark): Start {
    const place = JSON.stringify([topic, partition, id]);
    const known = this.#starts.get(place);
    if (known !== undefined && known.epoch >= epoch) return known;
    const start = { epoch, sequence: known === undefined ? sequence : 0 };
    this.#starts.set(place, start);
    return start;
  }
}
