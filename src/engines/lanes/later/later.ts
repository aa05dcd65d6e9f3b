import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { Batch, NewMessage } from "../../../contracts/messages.ts";
import { contentBytes } from "../batches.ts";
import { topicNotFound } from "../errors.ts";
import { kept } from "./delayed-message.ts";
import { pauseBeforeTry } from "./failures.ts";
import { Keeper, type KeeperHost } from "./keeper.ts";
import type { LaterBounds, LaterStore, LaterTopic } from "./later-store.ts";

export const laterBounds: LaterBounds = { windowMax: 50_000, bytesMax: 16 * 1024 * 1024, unitMs: 1_000 };

/** A keeper that failed begins anew after a pause as after so many failures. */
const anewAfterFailures = 5;
/** What is kept with one append. */
const partBytesMax = 1024 * 1024;
const partCountMax = 10_000;

interface Known {
  /** Those that this process has made, or is making: with their groups, without which what is appended may be nobody's. */
  readonly levels: Map<number, Promise<void>>;
  /** Those that it keeps. */
  readonly kept: Set<number>;
  readonly hear: () => void;
  stop: () => void;
}

/**
 * Delayed messages of an engine that only appends. Beside a topic lies another one that nobody sees, with as many partitions, made with the first delayed message. A message that is delayed is appended there,
 * and whoever owns the lane of its partition appends a copy to the topic when it is due; that is one of the processes that append delayed messages, or consume the topic. See `KeptLane` for what happens
 * when the owner dies, and `levels.ts` for what happens when there are more than it can have in memory.
 */
export class Later implements KeeperHost {
  readonly store: LaterStore;
  readonly bounds: LaterBounds;
  /** By number. */
  readonly #known = new Map<number, Known>();

  constructor(store: LaterStore, bounds: LaterBounds = laterBounds) {
    this.store = store;
    this.bounds = bounds;
  }

  /** Appends a batch of which some messages have an instant. */
  async append(topic: LaterTopic, batch: Batch): Promise<readonly (bigint | undefined)[]> {
    const { partition, producer } = batch;
    // Then the topic decides whether the batch may be stored, and what is delayed has places in its producer's sequence.
    const isWhole = producer !== undefined || topic.countMax !== undefined;
    const messages = producer === undefined ? this.#withoutPast(batch.messages) : batch.messages;
    const delayed = kept({ ...batch, messages });
    if (delayed.length > 0) await this.ready(topic, 0);
    const whole = { ...batch, messages };
    const answers = isWhole ? await this.store.append(topic, whole) : await this.#appendOthers(topic, whole);
    if (delayed.length === 0) return answers;
    try {
      for (const messages of parts(delayed)) await this.store.keep(topic, 0, { partition, messages });
      return answers;
    } catch (error) {
      if (delayed.length === messages.length && !isWhole) throw error;
      throw asUnknown(error);
    }
  }

  /** What is due is like any other message. With a producer's mark it is not, lest a repeated batch be another one than it was before. */
  #withoutPast(messages: readonly NewMessage[]): readonly NewMessage[] {
    const now = this.store.now();
    return messages.map((message) => {
      return message.dueAt !== undefined && message.dueAt <= now ? { ...message, dueAt: undefined } : message;
    });
  }

  /** Appends those that are not delayed. */
  async #appendOthers(topic: LaterTopic, batch: Batch): Promise<readonly (bigint | undefined)[]> {
    const messages = batch.messages.filter(({ dueAt }) => dueAt === undefined);
    if (messages.length === 0) return batch.messages.map(() => undefined);
    const positions = await this.store.append(topic, { ...batch, messages });
    let next = 0;
    return batch.messages.map(({ dueAt }) => (dueAt === undefined ? positions[next++] : undefined));
  }

  /** Somebody in this process consumes the topic: then what others have delayed may be this one's to keep. */
  consumed(topic: LaterTopic): void {
    if (!this.#known.has(topic.number)) this.#know(topic).hear();
  }

  /** The topic is about to be removed. */
  async remove(topic: LaterTopic): Promise<void> {
    this.#forget(topic);
    await this.#removeLevels(topic);
  }

  async ready(topic: LaterTopic, level: number): Promise<void> {
    const { levels } = this.#know(topic);
    const there = levels.get(level) ?? this.#make(topic, level);
    levels.set(level, there);
    await there.catch((error: unknown) => {
      if (levels.get(level) === there) levels.delete(level);
      throw error;
    });
  }

  async #make(topic: LaterTopic, level: number): Promise<void> {
    await this.store.make(topic, level);
    if (!(await this.store.isThere(topic))) {
      void this.#clear(topic);
      throw topicNotFound(topic.name);
    }
    this.#keep(topic, this.#know(topic), level);
  }

  gone(topic: LaterTopic, level: number): void {
    const known = this.#known.get(topic.number);
    known?.kept.delete(level);
    known?.levels.delete(level);
    void this.#clear(topic);
  }

  /** Removes the levels of a topic that is not there any more, when it is not a while later, either; where it is, they are kept again. */
  async #clear(topic: LaterTopic): Promise<void> {
    const { world } = this.store;
    for (let failures = anewAfterFailures; ; failures++) {
      await pauseBeforeTry(world, failures);
      try {
        if (await this.store.isThere(topic)) return await this.#look(topic, this.#know(topic));
        this.#forget(topic);
        return await this.#removeLevels(topic);
      } catch (error) {
        if (isCode(error, "closed")) return;
        const fields = { topic: topic.name, error: String(error) };
        world.log.log("warn", "beginning anew with delayed messages failed; it is repeated", fields);
      }
    }
  }

  async #removeLevels(topic: LaterTopic): Promise<void> {
    for (const level of await this.store.levels(topic)) {
      await this.store.remove(topic, level).catch((error: unknown) => {
        // Somebody else was faster.
        if (!isCode(error, "not-found")) throw error;
      });
    }
  }

  /** Until somebody delays or consumes there again. */
  #forget({ number }: LaterTopic): void {
    this.#known.get(number)?.stop();
    this.#known.delete(number);
  }

  #know(topic: LaterTopic): Known {
    const there = this.#known.get(topic.number);
    if (there !== undefined) return there;
    const known: Known = {
      levels: new Map(),
      kept: new Set(),
      hear: () => void this.#look(topic, known),
      stop: () => undefined,
    };
    this.#known.set(topic.number, known);
    known.stop = this.store.listen(topic, known.hear);
    return known;
  }

  /** Keeps what others have made. */
  async #look(topic: LaterTopic, known: Known): Promise<void> {
    for (let failures = 0; this.#known.get(topic.number) === known; failures++) {
      try {
        const levels = await this.store.levels(topic);
        for (const level of levels) this.#keep(topic, known, level);
        if (levels.length === 0 && known.kept.size === 0 && !(await this.store.isThere(topic))) this.#forget(topic);
        return;
      } catch (error) {
        if (isCode(error, "closed")) return;
        await pauseBeforeTry(this.store.world, failures);
      }
    }
  }

  #keep(topic: LaterTopic, known: Known, level: number): void {
    if (known.kept.has(level) || this.#known.get(topic.number) !== known) return;
    known.kept.add(level);
    new Keeper(this, topic, level);
  }
}

/** With what each bears besides, they may come to more than one batch may. */
function* parts(messages: readonly NewMessage[]): Generator<readonly NewMessage[]> {
  let part: NewMessage[] = [];
  let bytes = 0;
  for (const message of messages) {
    bytes += contentBytes(message);
    if (part.length === partCountMax || (part.length > 0 && bytes > partBytesMax)) {
      yield part;
      part = [];
      bytes = contentBytes(message);
    }
    part.push(message);
  }
  yield part;
}

/** The rest of the batch is stored. */
function asUnknown(error: unknown): unknown {
  if (!(error instanceof TenonError)) return error;
  const { code, message, fields, cause } = error;
  return new TenonError(code, message, { fields, cause, outcome: "unknown" });
}
