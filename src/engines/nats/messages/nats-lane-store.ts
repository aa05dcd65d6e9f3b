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
import type { NatsLink } from "../link.ts";
import type { Groups } from "./groups.ts";
import { type LaneParts, NatsLane } from "./nats-lane.ts";
import type { Topic } from "./topics.ts";

export interface LaneStoreParts extends LaneParts {
  readonly link: NatsLink;
  readonly groups: Groups;
}

/** Groups and lanes of one topic. */
export class NatsLaneStore implements LaneStore {
  readonly server = "NATS";
  readonly topic: string;
  readonly #parts: LaneStoreParts;
  readonly #place: Topic;

  constructor(parts: LaneStoreParts, place: Topic) {
    this.#parts = parts;
    this.#place = place;
    this.topic = place.name;
  }

  join(request: JoinRequest): Promise<Joined | Refused> {
    return this.#parts.groups.join(this.#place, request);
  }

  renew(group: number, member: string, sessionMs: number): Promise<Report | Refused> {
    return this.#parts.groups.renew(this.#place, group, member, sessionMs);
  }

  leave(group: string, member: string, orderly: boolean): Promise<void> {
    return this.#parts.groups.leave(this.#place, group, member, orderly);
  }

  open(grant: Grant): Promise<OpenedLane | undefined> {
    return NatsLane.open(this.#parts, this.#place, grant);
  }

  release(grant: Grant, orderly: boolean): Promise<void> {
    return this.#parts.groups.release(this.#place, grant, orderly);
  }

  listen(hear: (news: LaneNews) => void): Promise<() => Promise<void>> {
    const { link, streams } = this.#parts;
    return link.listen(`${streams.prefix}.n.${this.#place.id}`, (payload) => hear(newsOf(payload)));
  }
}

function newsOf(payload: string | undefined): LaneNews {
  const number = Number(payload?.slice(1));
  if (payload?.startsWith("p")) return { partition: number };
  return payload?.startsWith("g") ? { group: number } : "missed";
}
