/** What a bare client needs around the engine's scripts to publish and to consume. */
import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { partitionOf } from "../src/codec/key-hash.ts";
import { append, commit, fetch } from "../src/engines/redis/messages/scripts/scripts.ts";
import type { Script } from "../src/engines/redis/script.ts";
import { handleAll } from "./bare-messaging.ts";
import { KEYS } from "./load.ts";

type Argument = string | number | Buffer;

/** As the engine's own: see `message-format.ts`, `append.ts` and `batches.ts`. */
const RUN_BYTES = 64 * 1_024;
const BATCH_COUNT_MAX = 4_096;
const FETCH_BYTES_MAX = 512 * 1_024;
/** What Tenon's contestant fetches at once: half of what its consumer keeps of a lane. */
const FETCH_COUNT = 4_000;
const WINDOW_MAX = 100_000;
const WITH_KEY = 1;

function run(client: Redis, script: Script, topic: string, args: readonly Argument[]): Promise<unknown> {
  return client.callBuffer("EVALSHA", script.sha, 1, topic, ...args);
}

/** What gathers for one partition. */
class Gathering {
  /** As the script takes them: how many messages, and the messages. */
  readonly runs: Argument[] = [];
  readonly resolvers: ((position: number) => void)[] = [];
  #buffer = Buffer.alloc(0);
  #used = 0;
  #from = 0;

  add(body: Buffer, key: string | undefined, resolve: (position: number) => void): void {
    const size = 5 + body.length + (key === undefined ? 0 : 2 + key.length);
    if (this.#used + size > this.#buffer.length) this.#endRun();
    let at = this.#used;
    const buffer = this.#buffer;
    buffer[at++] = key === undefined ? 0 : WITH_KEY;
    if (key !== undefined) at = buffer.writeUInt16LE(key.length, at);
    at = buffer.writeUInt32LE(body.length, at);
    if (key !== undefined) at += buffer.write(key, at, "latin1");
    buffer.set(body, at);
    this.#used = at + body.length;
    this.resolvers.push(resolve);
  }

  end(): void {
    if (this.#used > 0) {
      this.runs.push(this.resolvers.length - this.#from, this.#buffer.subarray(0, this.#used));
    }
  }

  #endRun(): void {
    this.end();
    this.#from = this.resolvers.length;
    this.#buffer = Buffer.allocUnsafe(RUN_BYTES);
    this.#used = 0;
  }
}

interface Partition {
  readonly number: number;
  gathering: Gathering;
  underWay: boolean;
  waits: boolean;
  sequence: number;
}

/** Group commit: what gathers for a partition while its script is under way goes with the next one. */
export class BareAppender {
  readonly #client: Redis;
  readonly #topic: string;
  readonly #producer = randomUUID();
  readonly #partitions: readonly Partition[];
  /** As Tenon's, so that the lanes are as long: looked up, where Tenon hashes each key. */
  readonly #ofKeys: ReadonlyMap<string, Partition>;
  #ready: Partition[] = [];
  /** Where messages without a key go now: to one partition until its batch leaves. */
  #sticky = 0;

  constructor(client: Redis, topic: string, partitions: number) {
    this.#client = client;
    this.#topic = topic;
    this.#partitions = Array.from({ length: partitions }, (_, number) => {
      return { number, gathering: new Gathering(), underWay: false, waits: false, sequence: 0 };
    });
    this.#ofKeys = new Map(KEYS.map((key) => [key, this.#partitions[partitionOf(key, partitions)]!]));
  }

  append(body: Buffer, key: string | undefined): Promise<number> {
    const partition = key === undefined ? this.#partitions[this.#sticky]! : this.#ofKeys.get(key)!;
    return new Promise((resolve) => {
      partition.gathering.add(body, key, resolve);
      if (key === undefined && partition.gathering.resolvers.length >= BATCH_COUNT_MAX) this.#leave(partition);
      if (!partition.underWay) this.#schedule(partition);
    });
  }

  #leave({ number }: Partition): void {
    if (number === this.#sticky) this.#sticky = (number + 1) % this.#partitions.length;
  }

  #schedule(partition: Partition): void {
    if (partition.waits) return;
    partition.waits = true;
    if (this.#ready.push(partition) === 1) queueMicrotask(() => queueMicrotask(this.#flush));
  }

  readonly #flush = () => {
    const ready = this.#ready;
    this.#ready = [];
    for (const partition of ready) {
      partition.waits = false;
      void this.#send(partition);
    }
  };

  async #send(partition: Partition): Promise<void> {
    const { gathering, number } = partition;
    const { runs, resolvers } = gathering;
    gathering.end();
    partition.gathering = new Gathering();
    partition.underWay = true;
    this.#leave(partition);
    const mark = [`${this.#producer}.${number}`, 1, partition.sequence];
    const args = [1, 1, number, resolvers.length, ...mark, runs.length / 2, ...runs];
    const [first] = (await run(this.#client, append, this.#topic, args)) as [number];
    if (typeof first !== "number") throw new Error(`the script refused a batch: ${first}`);
    partition.sequence += resolvers.length;
    for (let i = 0; i < resolvers.length; i++) resolvers[i]!(first + i);
    partition.underWay = false;
    if (partition.gathering.resolvers.length > 0) this.#schedule(partition);
  }
}

interface Message {
  readonly key: string | undefined;
  readonly body: Buffer;
}

/** Works off one lane, so many messages at once, until it is empty and everything is recorded; answers how many messages there were. */
export async function consumeLane(
  client: Redis,
  topic: string,
  grant: readonly number[],
  concurrency: number,
  handle: (message: Message) => Promise<void>,
): Promise<number> {
  let cursor = 0;
  let recorded: Promise<unknown> = Promise.resolve();
  for (;;) {
    const limits = [cursor, FETCH_COUNT, WINDOW_MAX, FETCH_BYTES_MAX];
    const [, , , ...runs] = (await run(client, fetch, topic, [...grant, ...limits])) as Buffer[];
    if (runs.length === 0) break;
    const messages: Message[] = [];
    for (let i = 0; i < runs.length; i += 3) readRun(runs[i + 2]!, messages);
    await handleAll(messages, concurrency, handle);
    const range = Buffer.alloc(8);
    range.writeUInt32LE(messages.length, 4);
    recorded = Promise.all([recorded, run(client, commit, topic, [...grant, cursor, range, 0, 0])]);
    cursor += messages.length;
  }
  await recorded;
  return cursor;
}

function readRun(run: Buffer, messages: Message[]): void {
  for (let at = 0; at < run.length; ) {
    const withKey = run[at] === WITH_KEY;
    const keyBytes = withKey ? run.readUInt16LE(at + 1) : 0;
    at += withKey ? 3 : 1;
    const bodyBytes = run.readUInt32LE(at);
    at += 4;
    const key = withKey ? run.toString("latin1", at, at + keyBytes) : undefined;
    at += keyBytes;
    messages.push({ key, body: run.subarray(at, at + bodyBytes) });
    at += bodyBytes;
  }
}
