import type { MessageCapabilities } from "../../../contracts/messages.ts";
import type {
  Grant,
  Joined,
  JoinRequest,
  LaneNews,
  LaneStore,
  OpenedLane,
  Refused,
  Report,
  ReportedLane,
} from "../../lanes/lane-store.ts";
import type { Argument, Connection } from "../connection.ts";
import type { Appends } from "./appends.ts";
import { channelOf } from "./keys.ts";
import { RedisLane } from "./redis-lane.ts";
import { numberOf, type Reply, refusalOf } from "./replies.ts";
import * as scripts from "./scripts/scripts.ts";
import { targetArguments } from "./targets.ts";
import type { Topic, Topics } from "./topics.ts";

/** What lanes need of the engine. */
export interface LanePath {
  readonly connection: Connection;
  readonly topics: Topics;
  readonly appends: Appends;
  readonly capabilities: MessageCapabilities;
}

/** Groups and lanes of one topic, each call one script. */
export class RedisLaneStore implements LaneStore {
  readonly server = "Redis";
  readonly topic: string;
  readonly #path: LanePath;
  readonly #place: Topic;

  constructor(path: LanePath, place: Topic) {
    this.#path = path;
    this.#place = place;
    this.topic = place.name;
  }

  async join({ group, member, options, from, mayMake }: JoinRequest): Promise<Joined | Refused> {
    const { sessionMs, revokeMs, agreement = "", ephemeral = false } = options;
    const target = targetArguments(from);
    const args = [group, member, sessionMs, revokeMs, agreement, ephemeral ? 1 : 0, mayMake ? 1 : 0, ...target];
    const reply = await this.#run(scripts.join, args);
    return refusedBy(reply) ?? { group: numberOf(reply[0]), report: reportOf(reply, 1) };
  }

  async renew(group: number, member: string, sessionMs: number): Promise<Report | Refused> {
    const reply = await this.#run(scripts.renew, [group, member, sessionMs]);
    return refusedBy(reply) ?? reportOf(reply, 0);
  }

  async leave(group: string, member: string, orderly: boolean): Promise<void> {
    await this.#run(scripts.leave, [group, member, orderly ? 1 : 0]);
  }

  async open(grant: Grant): Promise<OpenedLane | undefined> {
    const args = [grant.groupNumber, grant.partition, grant.fence];
    const reply = (await this.#path.connection.run(scripts.openLane, [this.#place.key], args)) as Reply;
    return refusalOf(reply) === "lost" ? undefined : new RedisLane(this.#path, this.#place, grant, reply);
  }

  async release({ groupNumber, partition, fence }: Grant, orderly: boolean): Promise<void> {
    await this.#run(scripts.release, [groupNumber, partition, fence, orderly ? 1 : 0]);
  }

  listen(hear: (news: LaneNews) => void): Promise<() => Promise<void>> {
    return this.#path.connection.listen(channelOf(this.#place.key), (payload) => hear(newsOf(payload)));
  }

  #run(script: (typeof scripts)[keyof typeof scripts], args: readonly Argument[]): Promise<Reply> {
    const { key, family } = this.#place;
    return this.#path.connection.run(script, [key, family.counters], args) as Promise<Reply>;
  }
}

function newsOf(payload: Buffer | undefined): LaneNews {
  if (payload === undefined) return "missed";
  const text = payload.toString("latin1");
  return text.startsWith("g") ? { group: Number(text.slice(1)) } : { partition: Number(text) };
}

function refusedBy(reply: Reply): Refused | undefined {
  const refused = refusalOf(reply);
  return refused === undefined ? undefined : { refused: refused as Refused["refused"] };
}

/** As `reportTo` of `groups.part.lua` answers. */
function reportOf(reply: Reply, start: number): Report {
  const lanes: ReportedLane[] = [];
  for (let i = start + 1; i < reply.length; i += 3) {
    lanes.push({ partition: numberOf(reply[i]), fence: numberOf(reply[i + 1]), revoked: reply[i + 2] === 1 });
  }
  return { soonestMs: numberOf(reply[start]), lanes };
}
