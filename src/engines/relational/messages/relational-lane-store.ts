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
import type { Listener } from "../listener.ts";
import type { AppendParts, Appends } from "./appends.ts";
import { RelationalLane } from "./relational-lane.ts";
import type { Topic } from "./topics.ts";

/** What lanes need of the engine. */
export interface LaneParts extends AppendParts {
  readonly appends: Appends;
  readonly listener: Listener;
}

/** Groups and lanes of one topic. */
export class RelationalLaneStore implements LaneStore {
  readonly server: string;
  readonly topic: string;
  readonly #parts: LaneParts;
  readonly #place: Topic;

  constructor(parts: LaneParts, place: Topic) {
    this.#parts = parts;
    this.#place = place;
    this.topic = place.name;
    this.server = parts.connection.server;
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
    return RelationalLane.open(this.#parts, this.#place, grant);
  }

  release({ groupNumber, partition, fence }: Grant, orderly: boolean): Promise<void> {
    return this.#parts.groups.release(this.#place, groupNumber, partition, fence, orderly);
  }

  listen(hear: (news: LaneNews) => void): Promise<() => Promise<void>> {
    return this.#parts.listener.listen(this.#place.channel, (payload) => hear(newsOf(payload)));
  }
}

function newsOf(payload: string | undefined): LaneNews {
  const number = Number(payload?.slice(1));
  if (payload?.startsWith("p")) return { partition: number };
  return payload?.startsWith("g") ? { group: number } : "missed";
}
