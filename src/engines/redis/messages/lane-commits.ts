import { TenonError } from "../../../contracts/errors.ts";
import type { Batch, Held, LaneCommit, MessageCapabilities } from "../../../contracts/messages.ts";
import type { Argument, Connection } from "../connection.ts";
import type { Appends } from "./appends.ts";
import { addBatch, type CheckedBatch, checkBatch, refusedBatch } from "./batches.ts";
import { fromPosition } from "./positions.ts";
import { eachOf, Gathered, packRanges, type Ranges } from "./ranges.ts";
import { numberOf, type Reply, refusalOf, textOf, topicNotFound } from "./replies.ts";
import * as scripts from "./scripts/scripts.ts";
import type { Topic, Topics } from "./topics.ts";

/** What committing needs of the engine. */
export interface CommitPath {
  readonly connection: Connection;
  readonly topics: Topics;
  readonly appends: Appends;
  readonly capabilities: MessageCapabilities;
}

/** What committing needs of its lane. */
export interface CommittingLane {
  readonly name: string;
  readonly place: Topic;
  /** Group number, partition and fence: what every script of the lane begins with. */
  readonly grant: readonly Argument[];
  /** Everything below is settled, as far as is known here. */
  readonly low: number;
  /** Positions with a held entry in Redis, at least. */
  readonly heldPositions: Set<number>;
  /** The positions are settled, and everything below `low` is. */
  settled(positions: Ranges, low: number): void;
  /** Redis says that the grant is superseded. */
  superseded(): TenonError;
}

interface Waiting {
  readonly settled: Ranges;
  readonly held: readonly Held[];
  readonly appends: readonly CheckedBatch[];
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The batches of a change that is refused stand in a topic that is gone. */
class Gone {
  readonly topic: Topic;
  constructor(topic: Topic) {
    this.topic = topic;
  }
}

const positionsMax = 2 ** 32 - 1;

/** A lane's commits, in the order of the calls: one script is under way, and takes the changes that gathered meanwhile as one. */
export class LaneCommits {
  readonly #lane: CommittingLane;
  readonly #path: CommitPath;
  readonly #queue: Waiting[] = [];
  #draining: Promise<void> | undefined;

  constructor(lane: CommittingLane, path: CommitPath) {
    this.#lane = lane;
    this.#path = path;
  }

  add(change: LaneCommit): Promise<void> {
    return new Promise((resolve, reject) => {
      const batches = change.appends ?? [];
      refuseRepeatedProducers(batches);
      const appends = batches.map((batch) => checkBatch(batch, this.#path.capabilities));
      const held = change.held ?? [];
      for (const entry of held) checkHeld(this.#lane.name, entry);
      const settled = this.#positions(change.settled);
      this.#queue.push({ settled, held, appends, resolve, reject });
      this.#draining ??= this.#drain();
    });
  }

  /** Resolves when what was asked for is decided. */
  async idle(): Promise<void> {
    await this.#draining;
  }

  #positions(positions: readonly bigint[]): Ranges {
    const { low, name } = this.#lane;
    const unsettled = new Gathered();
    for (let i = 0; i < positions.length; i++) {
      const position = fromPosition(positions[i]!);
      if (position - low >= positionsMax) throw noSuchPosition(name, positions[i]!);
      if (position >= low) unsettled.add(position);
    }
    return unsettled.ranges();
  }

  async #drain(): Promise<void> {
    // What is committed within the same turn goes out together.
    await undefined;
    while (this.#queue.length > 0) {
      const taken = this.#take();
      try {
        await this.#write(taken);
        for (const { resolve } of taken) resolve();
      } catch (error) {
        if (taken.length > 1 && isInvalid(error)) await this.#writeEach(taken);
        else for (const { reject } of taken) reject(error);
      }
    }
    this.#draining = undefined;
  }

  /** Changes that only record progress are one change when they are taken together. */
  #take(): Waiting[] {
    let count = 1;
    if (this.#queue[0]!.appends.length === 0) {
      while (count < this.#queue.length && this.#queue[count]!.appends.length === 0) count += 1;
    }
    return this.#queue.splice(0, count);
  }

  /** One of them is wrong, and must not take the others with it. */
  async #writeEach(taken: readonly Waiting[]): Promise<void> {
    for (const each of taken) {
      try {
        await this.#write([each]);
        each.resolve();
      } catch (error) {
        each.reject(error);
      }
    }
  }

  async #write(taken: readonly Waiting[]): Promise<void> {
    const { low } = this.#lane;
    const settled = settledBy(taken);
    const held = new Map<number, Held>();
    for (const each of taken) {
      for (const entry of each.held) if (entry.position >= low) held.set(Number(entry.position), entry);
    }
    const forgotten = this.#forgotten(settled, held);
    const args: Argument[] = [
      ...this.#lane.grant,
      settled.from[0] ?? low,
      packRanges(settled),
      held.size,
      forgotten.length,
    ];
    for (const [position, { failures, deliveries, dueAt }] of held) {
      args.push(position, `${failures} ${deliveries} ${dueAt}`);
      this.#lane.heldPositions.add(position);
    }
    for (const position of forgotten) args.push(position);
    const reply = await this.#send(args, taken[0]!.appends);
    for (const position of forgotten) this.#lane.heldPositions.delete(position);
    this.#lane.settled(settled, numberOf(reply[0]));
  }

  /** Entries that go because their positions are settled. */
  #forgotten(settled: Ranges, held: Map<number, Held>): number[] {
    const { heldPositions } = this.#lane;
    const forgotten: number[] = [];
    if (heldPositions.size === 0) return forgotten;
    eachOf(settled, (position) => {
      if (!heldPositions.has(position)) return;
      forgotten.push(position);
      held.delete(position);
    });
    return forgotten;
  }

  async #send(args: Argument[], appends: readonly CheckedBatch[]): Promise<Reply> {
    const { connection } = this.#path;
    const { place } = this.#lane;
    if (appends.length === 0) return this.#checked(await connection.run(scripts.commit, [place.key], args), []);
    if (connection.isCluster && appends.some(({ batch }) => !this.#isNear(batch.topic))) {
      await Promise.all(appends.map(({ batch }) => this.#path.appends.append(batch)));
      return this.#checked(await connection.run(scripts.commit, [place.key], args), []);
    }
    for (let tries = 0; ; tries++) {
      try {
        return await this.#sendWith(args, appends);
      } catch (error) {
        if (!(error instanceof Gone)) throw error;
        this.#path.topics.forget(error.topic);
        if (tries === appends.length) throw topicNotFound(error.topic.name);
      }
    }
  }

  /** In the same slot of a cluster: topics of one family. */
  #isNear(topic: string): boolean {
    return this.#path.topics.familyOf(topic).base === this.#lane.place.family.base;
  }

  async #sendWith(args: readonly Argument[], appends: readonly CheckedBatch[]): Promise<Reply> {
    const topics = await Promise.all(appends.map(({ batch }) => this.#path.topics.find(batch.topic)));
    const keys = [...new Set([this.#lane.place.key, ...topics.map(({ key }) => key)])];
    const all = [...args, appends.length];
    for (const [index, checked] of appends.entries()) addBatch(all, keys.indexOf(topics[index]!.key) + 1, checked);
    return this.#checked(await this.#path.connection.run(scripts.commitAppends, keys, all), appends, topics);
  }

  #checked(answered: unknown, appends: readonly CheckedBatch[], topics: readonly Topic[] = []): Reply {
    const reply = answered as Reply;
    const refusal = refusalOf(reply);
    if (refusal === undefined) return reply;
    if (refusal === "lost") throw this.#lane.superseded();
    if (refusal === "position") {
      const text = `a position of ${this.#lane.name} does not exist: the next one is ${textOf(reply[1])}; commit what was fetched`;
      throw new TenonError("invalid", text);
    }
    const index = numberOf(reply[1]);
    throw refusedBatch(appends[index]!.batch, reply.slice(2)) ?? new Gone(topics[index]!);
  }
}

function settledBy(taken: readonly Waiting[]): Ranges {
  if (taken.length === 1) return taken[0]!.settled;
  const gathered = new Gathered();
  for (const { settled } of taken) gathered.addAll(settled);
  return gathered.ranges();
}

function isInvalid(error: unknown): boolean {
  return error instanceof TenonError && error.code === "invalid";
}

function noSuchPosition(lane: string, position: bigint): TenonError {
  return new TenonError("invalid", `position ${position} of ${lane} does not exist; commit what was fetched`);
}

function checkHeld(lane: string, { position, failures, deliveries, dueAt }: Held): void {
  if (position < 0n) throw noSuchPosition(lane, position);
  if (isCount(failures) && isCount(deliveries) && Number.isFinite(dueAt)) return;
  const text = `a held entry of ${lane} needs whole failures and deliveries ≥ 0 and an instant dueAt`;
  throw new TenonError("invalid", text);
}

function isCount(value: number): boolean {
  return Number.isInteger(value) && value >= 0 && value < 2 ** 32;
}

/** Each batch is checked against what is stored, so two of one producer would not see each other. */
function refuseRepeatedProducers(batches: readonly Batch[]): void {
  if (batches.length < 2) return;
  const marks = batches.flatMap(({ topic, partition, producer }) =>
    producer === undefined ? [] : [JSON.stringify([topic, partition, producer.id])],
  );
  if (new Set(marks).size === marks.length) return;
  throw new TenonError("invalid", "a lane's commit holds two batches of one producer and partition; merge them");
}
