import type { Held } from "../../../contracts/messages.ts";
import type { CheckedBatch } from "../../lanes/batches.ts";
import { positionBeyond, topicNotFound } from "../../lanes/errors.ts";
import {
  type Fetched,
  type FetchRequest,
  type Grant,
  type LaneChange,
  laneNameOf,
  type OpenedLane,
} from "../../lanes/lane-store.ts";
import { Run } from "../../lanes/message-format.ts";
import type { Argument } from "../connection.ts";
import { addBatch, refusedAppend } from "./batches.ts";
import { packRanges } from "./packed-ranges.ts";
import type { LanePath } from "./redis-lane-store.ts";
import { numberOf, type Reply, refusalOf } from "./replies.ts";
import * as scripts from "./scripts/scripts.ts";
import { SettledBits } from "./settled-bits.ts";
import type { Topic } from "./topics.ts";

/** The batches of a change that is refused stand in a topic that is gone. */
class Gone {
  readonly topic: Topic;
  constructor(topic: Topic) {
    this.topic = topic;
  }
}

/** A lane as Redis shows it to the owner of one grant. */
export class RedisLane implements OpenedLane {
  readonly suspectBelow: number;
  readonly held: readonly Held[];
  low: number;
  readonly #path: LanePath;
  readonly #place: Topic;
  readonly #name: string;
  /** Group number, partition and fence: what every script of the lane begins with. */
  readonly #grant: readonly Argument[];
  readonly #before: SettledBits;

  /** `opened`: what `open-lane.lua` answered. */
  constructor(path: LanePath, place: Topic, grant: Grant, opened: Reply) {
    this.#path = path;
    this.#place = place;
    this.#name = laneNameOf(grant);
    this.#grant = [grant.groupNumber, grant.partition, grant.fence];
    this.low = numberOf(opened[0]);
    this.suspectBelow = numberOf(opened[1]);
    this.#before = new SettledBits(numberOf(opened[2]), opened[3] as Buffer);
    this.held = readHeld(opened.slice(4));
  }

  get settledEnd(): number {
    return this.#before.end;
  }

  wasSettled(position: number): boolean {
    return this.#before.has(position);
  }

  async fetch({ cursor, limit, windowMax, bytesMax }: FetchRequest): Promise<Fetched | undefined> {
    const args = [...this.#grant, cursor, limit, windowMax, bytesMax];
    const reply = (await this.#path.connection.run(scripts.fetch, [this.#place.key], args)) as Reply;
    if (refusalOf(reply) === "lost") return undefined;
    const low = numberOf(reply[0]);
    this.low = Math.max(this.low, low);
    const runs: Run[] = [];
    for (let i = 3; i < reply.length; i += 3) {
      const [end, count] = (reply[i] as Buffer).toString("latin1").split("-");
      const publishedAt = Number((reply[i + 1] as Buffer).toString("latin1"));
      runs.push(new Run(Number(end), Number(count), publishedAt, reply[i + 2] as Buffer));
    }
    return { low, next: numberOf(reply[1]), dueMs: numberOf(reply[2]), runs };
  }

  async commit({ settled, held, forgotten, appends }: LaneChange): Promise<number | undefined> {
    const args: Argument[] = [
      ...this.#grant,
      settled.from[0] ?? this.low,
      packRanges(settled),
      held.size,
      forgotten.length,
    ];
    for (const [position, { failures, deliveries, dueAt }] of held) {
      args.push(position, `${failures} ${deliveries} ${dueAt}`);
    }
    for (const position of forgotten) args.push(position);
    const reply = await this.#send(args, appends);
    if (reply === undefined) return undefined;
    this.low = Math.max(this.low, numberOf(reply[0]));
    return numberOf(reply[0]);
  }

  async #send(args: Argument[], appends: readonly CheckedBatch[]): Promise<Reply | undefined> {
    const { connection } = this.#path;
    const { key } = this.#place;
    if (appends.length === 0) return this.#checked(await connection.run(scripts.commit, [key], args), []);
    if (connection.isCluster && appends.some(({ batch }) => !this.#isNear(batch.topic))) {
      await Promise.all(appends.map(({ batch }) => this.#path.appends.append(batch)));
      return this.#checked(await connection.run(scripts.commit, [key], args), []);
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
    return this.#path.topics.familyOf(topic).base === this.#place.family.base;
  }

  async #sendWith(args: readonly Argument[], appends: readonly CheckedBatch[]): Promise<Reply | undefined> {
    const topics = await Promise.all(appends.map(({ batch }) => this.#path.topics.find(batch.topic)));
    const keys = [...new Set([this.#place.key, ...topics.map(({ key }) => key)])];
    const all = [...args, appends.length];
    for (const [index, checked] of appends.entries()) addBatch(all, keys.indexOf(topics[index]!.key) + 1, checked);
    return this.#checked(await this.#path.connection.run(scripts.commitAppends, keys, all), appends, topics);
  }

  #checked(answered: unknown, appends: readonly CheckedBatch[], topics: readonly Topic[] = []): Reply | undefined {
    const reply = answered as Reply;
    const refusal = refusalOf(reply);
    if (refusal === undefined) return reply;
    if (refusal === "lost") return undefined;
    if (refusal === "position") throw positionBeyond(this.#name, numberOf(reply[1]));
    const index = numberOf(reply[1]);
    throw refusedAppend(appends[index]!.batch, reply.slice(2)) ?? new Gone(topics[index]!);
  }
}

function readHeld(items: Reply): Held[] {
  const held: Held[] = [];
  for (let i = 0; i < items.length; i += 2) {
    const [failures, deliveries, dueAt] = (items[i + 1] as Buffer).toString("latin1").split(" ").map(Number);
    held.push({
      position: BigInt((items[i] as Buffer).toString("latin1")),
      failures: failures!,
      deliveries: deliveries!,
      dueAt: dueAt!,
    });
  }
  return held.sort((a, b) => (a.position < b.position ? -1 : 1));
}
