import type { ByteReader, ByteWriter } from "../../lanes/index.ts";
import type { ProducerCommand } from "./commands.ts";

/** Kafka counts a producer's epochs so far. */
const kafkaEpochMax = 32_767;
/** Whoever writes as a producer says so again after this time, */
export const producerRenewalMs = 12 * 3_600_000;
/** and what nobody has said for this long is forgotten. Kafka itself forgets a producer that is silent for a day. */
const producerSilenceMs = 48 * 3_600_000;

/** What a producer of the contract is to Kafka. */
export interface JournaledProducer {
  readonly epoch: number;
  readonly kafkaId: string;
  readonly kafkaEpoch: number;
  readonly since: number;
}

/** The producers of one topic or log. */
export class JournaledProducers {
  /** In the order in which they were heard of last. */
  readonly #producers = new Map<string, JournaledProducer>();

  get(id: string): JournaledProducer | undefined {
    return this.#producers.get(id);
  }

  /** The producer as of its newest epoch. */
  open({ producer: id, epoch, kafkaId }: ProducerCommand, now: number): JournaledProducer {
    for (const [silent, { since }] of this.#producers) {
      if (since + producerSilenceMs > now) break;
      this.#producers.delete(silent);
    }
    const known = this.#producers.get(id);
    if (known !== undefined && known.epoch > epoch) return known;
    const opened = { ...nextEpoch(known, epoch, kafkaId), since: now };
    this.#producers.delete(id);
    this.#producers.set(id, opened);
    return opened;
  }

  encode(writer: ByteWriter): void {
    writer.whole(this.#producers.size);
    for (const [id, { epoch, kafkaId, kafkaEpoch, since }] of this.#producers) {
      writer.text(id).whole(epoch).text(kafkaId).whole(kafkaEpoch).f64(since);
    }
  }

  static decode(reader: ByteReader): JournaledProducers {
    const producers = new JournaledProducers();
    for (let left = reader.whole(); left > 0; left--) {
      const id = reader.text();
      const [epoch, kafkaId, kafkaEpoch] = [reader.whole(), reader.text(), reader.whole()];
      producers.#producers.set(id, { epoch, kafkaId, kafkaEpoch, since: reader.f64() });
    }
    return producers;
  }
}

/** A newer epoch of the contract is one of Kafka's, which fences the older ones wherever it has written. */
function nextEpoch(known: JournaledProducer | undefined, epoch: number, kafkaId: string) {
  if (known === undefined || (known.epoch < epoch && known.kafkaEpoch === kafkaEpochMax)) {
    return { epoch, kafkaId, kafkaEpoch: 0 };
  }
  return { epoch, kafkaId: known.kafkaId, kafkaEpoch: known.epoch < epoch ? known.kafkaEpoch + 1 : known.kafkaEpoch };
}
