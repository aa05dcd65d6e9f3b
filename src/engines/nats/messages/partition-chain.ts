import { TenonError } from "../../../contracts/errors.ts";
import type { World } from "../../../world/world.ts";
import type { CheckedBatch } from "../../lanes/batches.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import type { ServerClock } from "../server-clock.ts";
import type { Streams } from "../streams.ts";
import type { DelayStore } from "./delay-store.ts";
import { type Appended, type Written, writeBatches } from "./partition-batches.ts";
import {
  compareKeys,
  type DelayKey,
  decodeRun,
  encodeRun,
  newPartition,
  type PartitionHead,
} from "./partition-head.ts";
import type { ProducerEpochs } from "./producer-epochs.ts";

export interface ChainParts {
  readonly world: World;
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly epochs: ProducerEpochs;
  readonly delays: DelayStore;
  /** What one message of the server may take. */
  readonly payloadBytesMax: number;
}

/** The partition's last run: its head, and its sequence in the stream. */
export interface LastRun {
  readonly sequence: number;
  readonly head: PartitionHead;
  readonly storedAt: number | undefined;
}

/** What is wanted of the partition, given what it is: the next run, or only an answer. */
interface Extension<T> {
  readonly run: { readonly head: PartitionHead; readonly packed: readonly Buffer[] } | undefined;
  readonly answer: T;
}

/** How many delayed messages are appended at once, and about how many bytes. */
const dueCountMax = 500;
/** Whoever lost against another publisher waits up to so long for each time. */
const conflictMs = 4;

/**
 * A partition: the messages of one subject, each a run that is stored only if the run is still the last one that its publisher built upon. Nobody owns the partition. One append at a time goes out from here, and
 * takes what gathered meanwhile; publishers in other processes make it try again.
 */
export class PartitionChain {
  readonly #parts: ChainParts;
  readonly #topic: number;
  readonly #partition: number;
  readonly #subject: string;
  #last: LastRun | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: ChainParts, topic: number, partition: number) {
    this.#parts = parts;
    this.#topic = topic;
    this.#partition = partition;
    this.#subject = subjectOf(parts.streams, topic, partition);
  }

  /** Makes the partition when it is not there. */
  async make(): Promise<void> {
    await this.#parts.jetStream.put("making a partition", this.#subject, encodeRun(newPartition, []), 0);
  }

  /** The last run as it is now; `undefined` when the topic is gone. */
  async look(): Promise<LastRun | undefined> {
    const { jetStream, streams } = this.#parts;
    const stored = await jetStream.last("looking at a partition", streams.runs, this.#subject);
    if (stored === undefined) return undefined;
    return { sequence: stored.sequence, head: decodeRun(stored.data).head, storedAt: stored.storedAt };
  }

  /** Appends batches one after the other, each as a whole or not at all; `undefined` when the topic is gone. */
  append(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    return this.#inTurn(async () => {
      const { clock } = this.#parts;
      await clock.ready();
      const epochs = await this.#epochsOf(batches);
      return this.#extend("an append", async ({ head }) => {
        const written = writeBatches(head, batches, { epochs, now: clock.earliest });
        await this.#raise(written);
        return { run: written.changed ? written : undefined, answer: written.answers };
      });
    });
  }

  async #epochsOf(batches: readonly CheckedBatch[]): Promise<ReadonlyMap<string, number>> {
    const ids = new Set(batches.flatMap(({ batch }) => batch.producer?.id ?? []));
    const epochs = await Promise.all(
      [...ids].map(async (id) => [id, await this.#parts.epochs.highest(this.#topic, id)] as const),
    );
    return new Map(epochs);
  }

  async #raise({ raised }: Written): Promise<void> {
    await Promise.all([...raised].map(([id, epoch]) => this.#parts.epochs.raise(this.#topic, id, epoch)));
  }

  /** Appends what is due, in the order of due instants. Bounded; the next call goes on. `false` when the topic is gone. */
  releaseDue(): Promise<boolean> {
    return this.#inTurn(async () => {
      const { clock, delays } = this.#parts;
      await clock.ready();
      const left = await this.#extend("appending what is due", async ({ head }) => {
        const now = clock.earliest;
        if (head.dueAt < 0 || head.dueAt > now) return { run: undefined, answer: [] };
        const keys = await delays.keys(this.#topic, this.#partition);
        const pending = keys.filter((key) => compareKeys(key, head.released) > 0);
        const due = await this.#readDue(pending.filter(({ dueAt }) => dueAt <= now).slice(0, dueCountMax));
        const released = due.at(-1)?.key ?? head.released;
        const next: PartitionHead = {
          ...head,
          first: head.first + head.count,
          count: due.length,
          released,
          dueAt: pending.find((key) => compareKeys(key, released) > 0)?.dueAt ?? -1,
          later: [],
        };
        const gone = keys.filter((key) => compareKeys(key, released) <= 0);
        return { run: { head: next, packed: due.map(({ packed }) => packed) }, answer: gone };
      });
      if (left === undefined) return false;
      if (left.length > 0) delays.remove(this.#topic, this.#partition, left).catch(() => undefined);
      return true;
    });
  }

  async #readDue(keys: readonly DelayKey[]): Promise<readonly { readonly key: DelayKey; readonly packed: Buffer }[]> {
    const found = await this.#parts.delays.read(this.#topic, this.#partition, keys);
    const due: { key: DelayKey; packed: Buffer }[] = [];
    let bytes = 0;
    for (const [index, key] of keys.entries()) {
      const packed = found[index];
      // Somebody else was faster; the condition on the head will tell.
      if (packed === undefined) break;
      bytes += packed.length;
      if (due.length > 0 && bytes > this.#parts.payloadBytesMax / 2) break;
      due.push({ key, packed });
    }
    return due;
  }

  /** The next run is built upon the last one, again and again until nothing came between. `undefined` when the topic is gone. */
  async #extend<T>(what: string, build: (last: LastRun) => Promise<Extension<T>>): Promise<T | undefined> {
    const { jetStream, link, streams, world, delays } = this.#parts;
    for (let tries = 0; ; tries++) {
      const isKnown = this.#last !== undefined;
      const last = this.#last ?? (await this.look());
      this.#last = undefined;
      if (last === undefined) return undefined;
      const { head, sequence } = last;
      if (head.later.length > 0) await delays.add(this.#topic, this.#partition, sequence, head.later);
      const { run, answer } = await build(last);
      if (run === undefined) {
        // What is known here may be old, and then so is the answer.
        if (isKnown) continue;
        this.#last = last;
        return answer;
      }
      const bytes = encodeRun(run.head, run.packed);
      if (bytes.length > this.#parts.payloadBytesMax) throw tooLarge(bytes.length, this.#parts.payloadBytesMax);
      const put = await jetStream.put(what, this.#subject, bytes, sequence);
      if (put !== undefined) {
        this.#last = { sequence: put, head: run.head, storedAt: undefined };
        link.tell(`${streams.prefix}.n.${this.#topic}`, `p${this.#partition}`);
        return answer;
      }
      if (tries > 0) await world.timers.sleep(world.random.float() * conflictMs * Math.min(tries, 8));
    }
  }

  /** One after the other, in the order of the calls. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => undefined);
    return done;
  }
}

export function subjectOf({ prefix }: Streams, topic: number, partition: number): string {
  return `${prefix}.r.${topic}.${partition}`;
}

function tooLarge(bytes: number, limit: number): TenonError {
  const text = `a batch takes ${bytes} bytes with what is remembered of its partition, and the server's max_payload is ${limit}; split it, or raise max_payload`;
  return new TenonError("invalid", text, { fields: { bytes, limit } });
}
