import type { World } from "../../../world/world.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import { atOnce } from "../at-once.ts";
import { afterConflict } from "../conflicts.ts";
import { type StateStore, valueNames } from "../state-store.ts";

const format = 1;

/** Where a reader stands in one partition, and under which epochs that was said. */
interface Standing {
  /** `undefined`: nowhere; it was forgotten, or never said. */
  readonly position: number | undefined;
  /** Of each writer that ever came here the epoch below which it is fenced. */
  readonly epochs: ReadonlyMap<string, number>;
}

/** One partition of a log, and who reads it. */
export interface ReaderPlace {
  readonly log: number;
  readonly reader: string;
  readonly partition: number;
}

/** Where readers stand: a value for each partition, changed only if it is as it was read, and only under an epoch that it does not know to be fenced. */
export class ReaderPositions {
  readonly #state: StateStore;
  readonly #world: World;

  constructor(state: StateStore, world: World) {
    this.#state = state;
    this.#world = world;
  }

  async all(log: number, reader: string): Promise<ReadonlyMap<number, bigint>> {
    const positions = new Map<number, bigint>();
    const places = await this.#places(log, reader);
    const found = await atOnce(places, (place) => this.#read(place));
    for (const [index, { partition }] of places.entries()) {
      const position = found[index]?.standing.position;
      if (position !== undefined) positions.set(partition, BigInt(position));
    }
    return positions;
  }

  /** Forgets positions. Epochs stay: what a fenced writer has on its way must not come after this. */
  async forget(log: number, reader: string): Promise<void> {
    await atOnce(await this.#places(log, reader), (place) =>
      this.#change("forgetting a reader", place, (standing) => {
        return standing?.position === undefined ? undefined : { ...standing, position: undefined };
      }),
    );
  }

  /** In the order of partitions. */
  async #places(log: number, reader: string): Promise<readonly ReaderPlace[]> {
    const names = await this.#state.names("asking where a reader stands", valueNames.reader(log, reader, "*"));
    const partitions = names.map((name) => Number(name.slice(name.lastIndexOf(".") + 1)));
    return partitions.sort((one, other) => one - other).map((partition) => ({ log, reader, partition }));
  }

  /** `"fenced"`: the writer has a successor; `undefined`: there is no such place any more. */
  async set(
    place: ReaderPlace,
    writer: { readonly name: string; readonly epoch: number },
    position: number,
  ): Promise<true | "fenced" | undefined> {
    const { name, epoch } = writer;
    let answer: true | "fenced" | undefined;
    await this.#change("committing a position", place, (standing) => {
      answer = standing && ((standing.epochs.get(name) ?? 0) > epoch ? "fenced" : true);
      return answer === true ? { position, epochs: new Map(standing!.epochs).set(name, epoch) } : undefined;
    });
    return answer;
  }

  /** From now on no lower epoch of the writer says where the reader stands, also nothing of it that is on its way. Makes the place when it is not there. */
  async fence(place: ReaderPlace, writer: string, epoch: number): Promise<void> {
    await this.#change("fencing a writer", place, (standing) => {
      if ((standing?.epochs.get(writer) ?? 0) >= epoch) return undefined;
      return { position: standing?.position, epochs: new Map(standing?.epochs).set(writer, epoch) };
    });
  }

  /** Reads, changes and writes until nobody came between; `undefined` from `change`: it stays as it is. */
  async #change(
    what: string,
    place: ReaderPlace,
    change: (standing: Standing | undefined) => Standing | undefined,
  ): Promise<void> {
    for (let tries = 0; ; tries++) {
      const found = await this.#read(place);
      const changed = change(found?.standing);
      if (changed === undefined) return;
      const written = await this.#state.write(what, nameOf(place), encode(changed), found?.revision ?? 0);
      if (written !== undefined) return;
      await afterConflict(this.#world, tries);
    }
  }

  async #read(place: ReaderPlace): Promise<{ readonly standing: Standing; readonly revision: number } | undefined> {
    const value = await this.#state.read("asking where a reader stands", nameOf(place));
    return value && { standing: decode(value.bytes), revision: value.revision };
  }
}

function nameOf({ log, reader, partition }: ReaderPlace): string {
  return valueNames.reader(log, reader, partition);
}

function encode({ position, epochs }: Standing): Buffer {
  const writer = new ByteWriter().u8(format).whole(position === undefined ? 0 : position + 1);
  writer.whole(epochs.size);
  for (const [name, epoch] of epochs) writer.text(name).whole(epoch);
  return writer.done();
}

function decode(bytes: Buffer): Standing {
  const reader = new ByteReader(bytes, "where a reader stands");
  if (reader.u8() !== format) throw reader.corrupt();
  const position = reader.whole();
  const epochs = new Map<string, number>();
  for (let left = reader.whole(); left > 0; left--) epochs.set(reader.text(), reader.whole());
  reader.end();
  return { position: position === 0 ? undefined : position - 1, epochs };
}
