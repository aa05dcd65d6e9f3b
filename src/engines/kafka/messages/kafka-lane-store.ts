import { assert } from "../../../contracts/errors.ts";
import type {
  Grant,
  Joined,
  JoinRequest,
  LaneNews,
  LaneStore,
  OpenedLane,
  Refused,
  Report,
} from "../../lanes/index.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import { KafkaLane, type LaneParts } from "./kafka-lane.ts";

/** Groups and lanes of one topic. */
export class KafkaLaneStore implements LaneStore {
  readonly server = "Kafka";
  readonly topic: string;
  readonly #parts: LaneParts;
  readonly #place: JournaledTopic;
  readonly #hears = new Set<(news: LaneNews) => void>();

  constructor(parts: LaneParts, place: JournaledTopic) {
    this.#parts = parts;
    this.#place = place;
    this.topic = place.name;
  }

  async join({ group, member, options, from, mayMake }: JoinRequest): Promise<Joined | Refused> {
    const { journal, topics } = this.#parts;
    const { sessionMs, revokeMs, windowMax, agreement = "", ephemeral = false } = options;
    // What was settled is no start for a group that begins with the earliest.
    const isNew = () => mayMake && journal.state.topic(this.#place.number)?.groups.has(group) === false;
    for (let needed = isNew(); ; needed = true) {
      const starts = needed ? await topics.starts(this.#place, from, "joining a group") : null;
      const ends = starts?.includes(null) ? await topics.ends(this.#place, "joining a group") : [];
      const joined = await journal.submit<"join">(
        {
          kind: "join",
          topic: this.#place.number,
          group,
          member,
          sessionMs,
          revokeMs,
          windowMax,
          agreement,
          ephemeral,
          mayMake,
          starts: starts?.map((start, partition) => start ?? ends[partition]!) ?? null,
        },
        "joining a group",
      );
      if (joined.refused !== "starts") return joined;
      assert(!needed, "a group was not made although its start was given");
    }
  }

  renew(group: number, member: string, sessionMs: number): Promise<Report | Refused> {
    const { number: topic } = this.#place;
    return this.#parts.journal.submit<"renew">(
      { kind: "renew", topic, group, member, sessionMs },
      "renewing a membership",
    );
  }

  async leave(group: string, member: string, orderly: boolean): Promise<void> {
    const { number: topic } = this.#place;
    await this.#parts.journal.submit<"leave">({ kind: "leave", topic, group, member, orderly }, "leaving a group");
  }

  open(grant: Grant): Promise<OpenedLane | undefined> {
    return KafkaLane.open(this.#parts, this.#place, grant, () => {
      for (const hear of this.#hears) hear({ partition: grant.partition });
    });
  }

  async release({ groupNumber: group, partition, fence }: Grant, orderly: boolean): Promise<void> {
    const { number: topic } = this.#place;
    const command = { kind: "release", topic, group, partition, fence, orderly } as const;
    await this.#parts.journal.submit<"release">(command, "releasing a lane");
  }

  async listen(hear: (news: LaneNews) => void): Promise<() => Promise<void>> {
    this.#hears.add(hear);
    const stop = this.#parts.journal.listen(this.#place.number, (news) => {
      hear(news === "missed" || news.group === undefined ? "missed" : { group: news.group });
    });
    return async () => {
      stop();
      this.#hears.delete(hear);
    };
  }
}
