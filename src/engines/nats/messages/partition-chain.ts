import { TenonError } from "../../../contracts/errors.ts";
import type { World } from "../../../world/world.ts";
import type { Appended } from "../../lanes/append-queues.ts";
import type { BatchRefusal, CheckedBatch } from "../../lanes/batches.ts";
import type { JetStream } from "../jet-stream.ts";
import type { NatsLink } from "../link.ts";
import type { ServerClock } from "../server-clock.ts";
import type { Streams } from "../streams.ts";
import type { DelayStore } from "./delay-store.ts";
import { type Written, writeBatches } from "./partition-batches.ts";
import {
  compareKeys,
  type DelayKey,
  decodeRun,
  emptyAfter,
  encodeRun,
  newPartition,
  type PartitionHead,
  type Seal,
} from "./partition-head.ts";
import type { ProducerEpochs } from "./producer-epochs.ts";
import type { Room } from "./room.ts";
import type { Topic } from "./topics.ts";

export interface ChainParts {
  readonly world: World;
  readonly link: NatsLink;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly epochs: ProducerEpochs;
  readonly delays: DelayStore;
  readonly room: Room;
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

/** The topic turned out to have a limit. */
const limitMet: readonly Appended[] = [];
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
  readonly #place: Topic;
  readonly #topic: number;
  readonly #partition: number;
  readonly #subject: string;
  #last: LastRun | undefined;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(parts: ChainParts, topic: Topic, partition: number) {
    this.#parts = parts;
    this.#place = topic;
    this.#topic = topic.id;
    this.#partition = partition;
    this.#subject = subjectOf(parts.streams, topic.id, partition);
  }

  /** Makes the partition when it is not there. */
  async make(as: Pick<PartitionHead, "limited" | "seal">): Promise<void> {
    const head = { ...newPartition, ...as };
    await this.#parts.jetStream.put("making a partition", this.#subject, encodeRun(head, []), 0);
  }

  /** The last run as it is now; `undefined` when the topic is gone. */
  async look(): Promise<LastRun | undefined> {
    const { jetStream, streams } = this.#parts;
    const stored = await jetStream.last("looking at a partition", streams.runs, this.#subject);
    if (stored === undefined) return undefined;
    return { sequence: stored.sequence, head: decodeRun(stored.data).head, storedAt: stored.storedAt };
  }

  /** Puts an empty run upon the last one, by which the partition becomes what `change` says. `false` when that was not the last one any more. */
  async interpose(last: LastRun, change: Partial<Pick<PartitionHead, "limited" | "seal">> = {}): Promise<boolean> {
    const { jetStream, delays } = this.#parts;
    const { head, sequence } = last;
    if (head.later.length > 0) await delays.add(this.#topic, this.#partition, sequence, head.later);
    const bytes = encodeRun({ ...emptyAfter(head), ...change }, []);
    return (await jetStream.put("marking a partition", this.#subject, bytes, sequence)) !== undefined;
  }

  /** Puts the seal upon the last run, unless it has a later one: a publisher that built upon that run tries again, and meets it. `false` when the topic is gone. */
  async seal(seal: Seal): Promise<boolean> {
    for (;;) {
      const last = await this.look();
      if (last === undefined) return false;
      if (last.head.seal.version >= seal.version || (await this.interpose(last, { seal }))) return true;
    }
  }

  /** Appends batches one after the other, each as a whole or not at all; `undefined` when the topic is gone. */
  append(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    return this.#inTurn(async () => {
      const last = this.#last ?? (await this.look());
      if (last === undefined) return undefined;
      return last.head.limited ? this.#appendEach(batches) : this.#appendAll(batches);
    });
  }

  async #appendAll(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    const { clock } = this.#parts;
    await clock.ready();
    const epochs = await this.#epochsOf(batches);
    const written = await this.#extend("an append", async ({ head }) => {
      // The limit was set meanwhile.
      if (head.limited) return { run: undefined, answer: limitMet };
      const writing = writeBatches(head, batches, { epochs, now: clock.earliest });
      await this.#raise(writing);
      return { run: writing.changed ? writing : undefined, answer: writing.answers };
    });
    return written === limitMet ? this.#appendEach(batches) : written;
  }

  /** Each of them needs room of its own. */
  async #appendEach(batches: readonly CheckedBatch[]): Promise<readonly Appended[] | undefined> {
    const answers: Appended[] = [];
    for (const batch of batches) {
      const answer = await this.#parts.room.inTurn(this.#topic, () => this.#appendOne(batch));
      if (answer === undefined) return undefined;
      answers.push(answer);
    }
    return answers;
  }

  async #appendOne(batch: CheckedBatch): Promise<Appended | undefined> {
    const { clock, room } = this.#parts;
    await clock.ready();
    const epochs = await this.#epochsOf([batch]);
    this.#last = undefined;
    const appended = await this.#extend<Appended | "gone">("an append", async ({ head, sequence }) => {
      const writing = writeBatches(head, [batch], { epochs, now: clock.earliest });
      const answer = writing.answers[0]!;
      if (!writing.changed) return { run: undefined, answer };
      const intent = { partition: this.#partition, sequence, count: writing.fresh };
      const admitted = await room.admit(this.#place, intent);
      if (admitted === undefined) return { run: undefined, answer: "gone" };
      if ("refused" in admitted) return { run: undefined, answer: admitted satisfies BatchRefusal };
      await this.#raise(writing);
      return { run: { head: { ...writing.head, token: admitted.token }, packed: writing.packed }, answer };
    });
    return appended === "gone" ? undefined : appended;
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
          ...emptyAfter(head),
          count: due.length,
          released,
          dueAt: pending.find((key) => compareKeys(key, released) > 0)?.dueAt ?? -1,
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
