import type { World } from "../../../world/world.ts";
import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import { afterConflict } from "../conflicts.ts";
import { type StateStore, valueNames } from "../state-store.ts";
import { readMark, type WriterMark, writeMark } from "./log-head.ts";

const format = 1;
/** So many writers' marks stand in a partition's head: the others' are values beside it. */
const writersMax = 64;

type Marks = ReadonlyMap<string, WriterMark>;

/** The marks of a partition's writers that its head has no room for. */
export class WriterMarks {
  readonly #state: StateStore;
  readonly #world: World;
  readonly #log: number;
  readonly #partition: number;

  constructor(state: StateStore, world: World, log: number, partition: number) {
    this.#state = state;
    this.#world = world;
    this.#log = log;
    this.#partition = partition;
  }

  /** What is known of a writer, given what the head says. To be asked after the head was read: what leaves a head was written down before. */
  async of(marks: Marks, writer: string): Promise<WriterMark | undefined> {
    return marks.get(writer) ?? (await this.#read(writer))?.mark;
  }

  /** The marks with a writer's new one, which is the last used. What has no room is written down beside the head. */
  async with(marks: Marks, writer: string, mark: WriterMark): Promise<Marks> {
    const changed = new Map(marks);
    changed.delete(writer);
    changed.set(writer, mark);
    for (const [oldest, former] of changed) {
      if (changed.size <= writersMax) break;
      await this.#writeDown(oldest, former);
      changed.delete(oldest);
    }
    return changed;
  }

  /** Whoever builds on an old head has an old mark, which does not replace a newer one. */
  async #writeDown(writer: string, mark: WriterMark): Promise<void> {
    const name = valueNames.writerMark(this.#log, this.#partition, writer);
    for (let tries = 0; ; tries++) {
      const found = await this.#read(writer);
      if (found !== undefined && isOlder(mark, found.mark)) return;
      const bytes = writeMark(new ByteWriter().u8(format), mark).done();
      const written = await this.#state.write("keeping a writer's mark", name, bytes, found?.revision ?? 0);
      if (written !== undefined) return;
      await afterConflict(this.#world, tries);
    }
  }

  async #read(writer: string): Promise<{ readonly mark: WriterMark; readonly revision: number } | undefined> {
    const name = valueNames.writerMark(this.#log, this.#partition, writer);
    const value = await this.#state.read("reading a writer's mark", name);
    if (value === undefined) return undefined;
    const reader = new ByteReader(value.bytes, "a writer's mark");
    if (reader.u8() !== format) throw reader.corrupt();
    const mark = readMark(reader);
    reader.end();
    return { mark, revision: value.revision };
  }
}

function isOlder(mark: WriterMark, other: WriterMark): boolean {
  return mark.epoch < other.epoch || (mark.epoch === other.epoch && mark.sequence <= other.sequence);
}
