import type {
  Grant,
  Joined,
  JoinRequest,
  LaneNews,
  LaneStore,
  OpenedLane,
  Refused,
  Report,
} from "../../lanes/lane-store.ts";
import { Gone } from "../failures.ts";
import type { Groups } from "./groups.ts";
import { LaneRecord } from "./lane-record.ts";
import { type LaneParts, RabbitmqLane } from "./rabbitmq-lane.ts";
import type { Topic } from "./topics.ts";

/** Groups and lanes of one topic, as one member sees them. */
export class RabbitmqLaneStore implements LaneStore {
  readonly server = "RabbitMQ";
  readonly topic: string;
  readonly #parts: LaneParts;
  readonly #groups: Groups;
  readonly #place: Topic;
  readonly #lanes = new Map<RabbitmqLane, Grant>();
  #windowMax = 1;
  #number: number | undefined;
  #hear: (news: LaneNews) => void = () => undefined;

  constructor(parts: LaneParts, groups: Groups, place: Topic) {
    this.#parts = parts;
    this.#groups = groups;
    this.#place = place;
    this.topic = place.name;
  }

  async join(request: JoinRequest): Promise<Joined | Refused> {
    this.#windowMax = request.options.windowMax;
    const joined = await this.#groups.join(this.#place, request);
    if (joined.refused === undefined) this.#number = joined.group;
    return joined;
  }

  renew(group: number, member: string, sessionMs: number): Promise<Report | Refused> {
    return this.#groups.renew(this.#place, group, member, sessionMs);
  }

  async leave(group: string, member: string, orderly: boolean): Promise<void> {
    const lanes = [...this.#lanes];
    this.#lanes.clear();
    for (const [lane] of lanes) lane.end();
    if (orderly) await Promise.all(lanes.map(([, grant]) => this.#giveBack(grant)));
    await this.#groups.leave(this.#place, group, member, orderly, this.#number);
  }

  async open(grant: Grant): Promise<OpenedLane | undefined> {
    const lane = await RabbitmqLane.open(this.#parts, this.#place, grant, this.#windowMax, {
      arrived: () => this.#hear({ partition: grant.partition }),
      gone: () => this.#hear("missed"),
    });
    if (lane !== undefined) this.#lanes.set(lane, grant);
    return lane;
  }

  async release(grant: Grant, orderly: boolean): Promise<void> {
    const { groupNumber, partition, fence } = grant;
    for (const [lane, held] of [...this.#lanes]) {
      if (held.fence !== fence || held.partition !== partition) continue;
      this.#lanes.delete(lane);
      lane.end();
    }
    if (orderly) await this.#giveBack(grant);
    await this.#groups.release(this.#place, groupNumber, partition, fence, orderly);
  }

  /** Says in the lane's record that nothing is suspect. */
  async #giveBack({ groupNumber, partition, fence }: Grant): Promise<void> {
    const name = this.#place.names.lane(groupNumber, partition);
    try {
      await this.#parts.values.hold(name, "releasing a lane", async (value) => {
        const record = LaneRecord.decode(value.bytes);
        if (record.release(fence)) await value.write(record.encode());
      });
      this.#parts.values.letGo(name);
    } catch (error) {
      if (!(error instanceof Gone)) throw error;
    }
  }

  async listen(hear: (news: LaneNews) => void): Promise<() => Promise<void>> {
    this.#hear = hear;
    return this.#parts.news.listen(this.#place.names.news, hear);
  }
}
