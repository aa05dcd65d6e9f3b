import type { LogWriter } from "../../../contracts/log.ts";
import { logNotFound } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import { atOnce } from "../at-once.ts";
import { afterConflict } from "../conflicts.ts";
import { type StateStore, valueNames } from "../state-store.ts";
import type { Log, Logs } from "./logs.ts";
import type { ReaderPositions } from "./reader-positions.ts";
import { decodeWriter, encodeWriter, placeName, type WriterPlace, type WriterRecord } from "./writer-record.ts";

/** Of so many writers it is remembered where they may put something. */
const rememberedMax = 10_000;

export interface LogWritersParts {
  readonly world: World;
  readonly state: StateStore;
  readonly logs: Logs;
  readonly positions: ReaderPositions;
}

interface FoundWriter {
  readonly record: WriterRecord;
  readonly revision: number;
}

/** Whether a writer may go on. `undefined`: the log is gone. */
export type Admission = true | "fenced" | undefined;

/** Who writes to logs under which epoch. */
export class LogWriters {
  readonly #parts: LogWritersParts;
  /** The places that a writer has put down in a log, by log, epoch and name. */
  readonly #placed = new Map<string, Set<string>>();

  constructor(parts: LogWritersParts) {
    this.#parts = parts;
  }

  async open(name: string, logs: readonly string[]): Promise<LogWriter> {
    const { state } = this.#parts;
    // A name that means nothing fences nobody.
    const found = await Promise.all(logs.map((log) => this.#parts.logs.places.findNow(log)));
    const epoch = await state.number();
    await Promise.all(found.map(({ place }) => this.#fence(place, name, epoch)));
    return { name, epoch: BigInt(epoch), logs: [...logs] };
  }

  async #fence(log: Log, name: string, epoch: number): Promise<void> {
    const { logs, state } = this.#parts;
    const record = await this.#raise(log, name, epoch);
    // One that somebody else opened meanwhile is no lower: both may fence.
    await atOnce(record.places, (place) => this.#fenceAt(log, name, record.epoch, place));
    if (record.epoch === epoch) this.#remember(log, name, epoch, record.places);
    if ((await logs.places.recordOf(log)) !== undefined) return;
    await state.remove("opening a writer", valueNames.writer(log.id, name));
    throw logNotFound(log.name);
  }

  async #fenceAt(log: Log, name: string, epoch: number, { partition, reader }: WriterPlace): Promise<void> {
    if (reader === undefined) await log.partition(partition).fence(name, epoch);
    else await this.#parts.positions.fence({ log: log.id, reader, partition }, name, epoch);
  }

  async #raise(log: Log, name: string, epoch: number): Promise<WriterRecord> {
    for (let tries = 0; ; tries++) {
      const found = await this.#read(log, name);
      if (found !== undefined && found.record.epoch >= epoch) return found.record;
      const record: WriterRecord = { epoch, places: found?.record.places ?? [] };
      if (await this.#write("opening a writer", log, name, record, found?.revision ?? 0)) return record;
      await afterConflict(this.#parts.world, tries);
    }
  }

  /** Whether the writer is the newest of its name in a log. */
  async ask(log: Log, writer: LogWriter): Promise<Admission> {
    const found = await this.#own(log, writer);
    return typeof found === "object" ? true : found;
  }

  /** The writer is going to put something there: whoever succeeds it must know. Asks the server once for each place. */
  async place(log: Log, writer: LogWriter, place: WriterPlace): Promise<Admission> {
    const { name } = writer;
    const epoch = Number(writer.epoch);
    if (this.#placed.get(keyOf(log, name, epoch))?.has(placeName(place))) return true;
    for (let tries = 0; ; tries++) {
      const found = await this.#own(log, writer);
      if (typeof found !== "object") return found;
      const { places } = found.record;
      const isThere = places.some((each) => placeName(each) === placeName(place));
      const record: WriterRecord = isThere ? found.record : { epoch, places: [...places, place] };
      if (isThere || (await this.#write("a commit", log, name, record, found.revision))) {
        // Where a reader stands is a value that has to be there: what is not there is taken for removed.
        if (place.reader !== undefined) await this.#fenceAt(log, name, epoch, place);
        this.#remember(log, name, epoch, record.places);
        return true;
      }
      await afterConflict(this.#parts.world, tries);
    }
  }

  /** What is known of the name, while the writer is the newest of it. */
  async #own(log: Log, { name, epoch }: LogWriter): Promise<FoundWriter | Exclude<Admission, true>> {
    const found = await this.#read(log, name);
    if (found !== undefined) return BigInt(found.record.epoch) === epoch ? found : "fenced";
    // Of a log that is another one now the writer knows nothing.
    return (await this.#parts.logs.places.recordOf(log)) === undefined ? undefined : "fenced";
  }

  #remember(log: Log, name: string, epoch: number, places: readonly WriterPlace[]): void {
    const key = keyOf(log, name, epoch);
    this.#placed.delete(key);
    this.#placed.set(key, new Set(places.map(placeName)));
    if (this.#placed.size <= rememberedMax) return;
    const [oldest] = this.#placed.keys();
    this.#placed.delete(oldest!);
  }

  async #read(log: Log, name: string): Promise<FoundWriter | undefined> {
    const value = await this.#parts.state.read("looking at a writer", valueNames.writer(log.id, name));
    return value && { record: decodeWriter(value.bytes), revision: value.revision };
  }

  /** `false` when it is not as it was read. */
  async #write(what: string, log: Log, name: string, record: WriterRecord, revision: number): Promise<boolean> {
    const value = valueNames.writer(log.id, name);
    return (await this.#parts.state.write(what, value, encodeWriter(record), revision)) !== undefined;
  }
}

function keyOf({ id }: Log, name: string, epoch: number): string {
  return `${id}/${epoch}/${name}`;
}
