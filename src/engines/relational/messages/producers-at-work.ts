import type { ProducerMark } from "../../../contracts/messages.ts";
import type { BatchRefusal } from "../../lanes/batches.ts";
import { type Positions, ProducerMarks } from "../../lanes/producer-marks.ts";
import type { Parameter, Row } from "../sql.ts";

interface Produced {
  readonly id: Buffer;
  readonly marks: ProducerMarks;
  /** Its epoch is higher than any that was known in the topic. */
  raised: boolean;
}

/** What is remembered of producers in one partition, while batches of theirs are appended to it. */
export class ProducersAtWork {
  readonly #produced = new Map<string, Produced>();
  readonly #epochs = new Map<string, number>();
  readonly #written = new Set<string>();

  /** As the tables have it: producer, partition, epoch, marks of each in the partition and, under -1, anywhere. */
  constructor(rows: readonly Row[]) {
    for (const row of rows) {
      if (row.producer === null) continue;
      const id = (row.producer as Buffer).toString();
      const epoch = Number(row.epoch);
      this.#epochs.set(id, Math.max(this.#epochs.get(id) ?? -1, epoch));
      if (row.partition !== -1) {
        const marks = ProducerMarks.decode(row.marks as Buffer);
        this.#produced.set(id, { id: row.producer as Buffer, marks, raised: false });
      }
    }
  }

  /** As `ProducerMarks.check`. */
  check(mark: ProducerMark, count: number): { readonly known: Positions } | BatchRefusal | undefined {
    return ProducerMarks.check(this.#produced.get(mark.id)?.marks, this.#epochs.get(mark.id) ?? -1, mark, count);
  }

  /** Its batch is appended. */
  remember(mark: ProducerMark, count: number, positions: Positions): void {
    const { id, epoch } = mark;
    const known = this.#produced.get(id) ?? { id: Buffer.from(id), marks: new ProducerMarks(epoch), raised: false };
    const highest = this.#epochs.get(id) ?? -1;
    if (epoch > highest) known.raised = true;
    this.#epochs.set(id, Math.max(epoch, highest));
    known.marks.add(mark, count, positions);
    this.#produced.set(id, known);
    this.#written.add(id);
  }

  get marks(): ReadonlyMap<string, ProducerMarks> {
    return new Map([...this.#produced].map(([id, { marks }]) => [id, marks]));
  }

  /** Producers, partitions, epochs, marks of what has to be written down. */
  written(partition: number): readonly Parameter[][] {
    const written = [...this.#written].map((id) => this.#produced.get(id)!);
    const epochs = written.filter(({ raised }) => raised);
    return [
      [...written, ...epochs].map(({ id }) => id),
      [...written.map(() => partition), ...epochs.map(() => -1)],
      [...written, ...epochs].map(({ marks }) => marks.epoch),
      [...written.map(({ marks }) => marks.encode()), ...epochs.map(() => Buffer.alloc(0))],
    ];
  }
}
