import { GroupState } from "../../lanes/group-state.ts";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import { LaneState } from "../../lanes/lane-state.ts";
import type { Joined, JoinRequest, Refused, Report } from "../../lanes/lane-store.ts";
import { Gone } from "../failures.ts";
import { inParallel, upTo } from "../parallel.ts";
import { GroupRecord } from "./group-record.ts";
import { LaneRecord } from "./lane-record.ts";
import type { MessageParts } from "./parts.ts";
import { type HeldTopic, heldTopic, type Topic } from "./topics.ts";

/** Groups of topics: each a value under a lock; making and removing one is under its topic's lock. */
export class Groups {
  readonly #parts: MessageParts;

  constructor(parts: MessageParts) {
    this.#parts = parts;
  }

  // What members ask for -----------------------------------------------------------------------------------------------

  async join(topic: Topic, { group, member, options, mayMake }: JoinRequest): Promise<Joined | Refused> {
    const { sessionMs, revokeMs, agreement = "", ephemeral = false } = options;
    const joining = { id: member, sessionMs, revokeMs, agreement, ephemeral };
    try {
      const found = await this.ofTopic(topic, "joining a group", async (held): Promise<Joined | Refused | number> => {
        await this.removeEnded(topic, held);
        const entry = held.record.groups.get(group);
        if (entry?.ready === true) return entry.number;
        if (!mayMake) return { refused: "group" };
        const record = new GroupRecord(new GroupState(topic.partitions));
        record.state.join(joining, this.#now, true);
        record.balance(this.#now);
        const number = await this.make(topic, held, group, record, ephemeral);
        return { group: number, report: record.state.reportTo(member, this.#now) };
      });
      if (typeof found !== "number") return found;
      return await this.#change<Joined | Refused>(topic, found, "joining a group", (record, now) => {
        const refused = record.state.join(joining, now, false);
        if (refused !== undefined) return refused;
        record.balance(now);
        return { group: found, report: record.state.reportTo(member, now) };
      });
    } catch (error) {
      if (error instanceof Gone) return { refused: "gone" };
      throw error;
    }
  }

  async renew(topic: Topic, group: number, member: string, sessionMs: number): Promise<Report | Refused> {
    try {
      return await this.#change<Report | Refused>(topic, group, "renewing a membership", (record, now) => {
        const renewed = record.state.renew(member, sessionMs, now);
        record.balance(now);
        return renewed ? record.state.reportTo(member, now) : { refused: "ended" };
      });
    } catch (error) {
      if (error instanceof Gone) return { refused: (await this.#isThere(topic)) ? "group" : "gone" };
      throw error;
    }
  }

  /** `number`: where it is not known any more, it is looked up. */
  async leave(topic: Topic, group: string, member: string, orderly: boolean, number?: number): Promise<void> {
    await unlessGone(async () => {
      const known = number ?? (await this.#numberOf(topic, group));
      if (known === undefined) return;
      const ended = await this.#change(topic, known, "leaving a group", (record, now) => {
        if (!record.state.leave(member, orderly)) return false;
        if (record.state.isEphemeral) return true;
        record.balance(now);
        return false;
      });
      if (!ended) return;
      await this.ofTopic(topic, "removing a group", async (held) => {
        if (held.record.groups.get(group)?.number === known) await this.remove(topic, held, group);
      });
    });
  }

  async release(topic: Topic, group: number, partition: number, fence: number, orderly: boolean): Promise<void> {
    await unlessGone(() =>
      this.#change(topic, group, "releasing a lane", (record, now) => {
        record.state.release(partition, fence, orderly);
        record.balance(now);
      }),
    );
  }

  async countMembers(topic: Topic, group: number): Promise<number> {
    const name = topic.names.group(group);
    return this.#parts.values.hold(name, "describing a group", async ({ bytes }) =>
      GroupRecord.decode(bytes).state.countMembers(this.#now),
    );
  }

  // Making and removing ------------------------------------------------------------------------------------------------

  ofTopic<T>(topic: Topic, what: string, work: (held: HeldTopic) => Promise<T>): Promise<T> {
    return this.#parts.values.hold(topic.names.record, what, (value) => work(heldTopic(value)));
  }

  /** Makes the group when it is not there, from now on; answers its number. */
  async make(
    topic: Topic,
    held: HeldTopic,
    group: string,
    record = new GroupRecord(new GroupState(topic.partitions)),
    ephemeral = false,
  ): Promise<number> {
    const found = held.record.groups.get(group);
    if (found?.ready === true) return found.number;
    // Left so by a maker that vanished.
    if (found !== undefined) await this.tearDown(topic, found.number);
    const { nextGroup, groups } = held.record;
    const entry = { number: nextGroup, ephemeral, ready: false };
    await held.write({ ...held.record, nextGroup: nextGroup + 1, groups: new Map(groups).set(group, entry) });
    const { values } = this.#parts;
    await Promise.all([
      inParallel(upTo(topic.partitions), (partition) => this.#makeLane(topic, nextGroup, partition)),
      values.make(held.value.channel, topic.names.group(nextGroup), record.encode()),
    ]);
    const ready = new Map(held.record.groups).set(group, { ...entry, ready: true });
    await held.write({ ...held.record, groups: ready });
    return nextGroup;
  }

  /** Under the partition's lock: everything that is appended from now on is the lane's, and nothing before. */
  #makeLane(topic: Topic, group: number, partition: number): Promise<void> {
    const { partitions, values, queue } = this.#parts;
    return partitions.hold(topic, partition, "making a lane", async (head, { channel }) => {
      const lane = new LaneRecord(new LaneState(new LaneProgress(head.next)));
      await values.make(channel, topic.names.lane(group, partition), lane.encode());
      const messages = topic.names.messages(group, partition);
      const options = { ...queue, arguments: { ...queue.arguments, "x-single-active-consumer": true } };
      await channel.declareQueue(messages, options);
      await channel.bind(messages, topic.names.exchange, String(partition));
    });
  }

  async remove(topic: Topic, held: HeldTopic, group: string): Promise<void> {
    const entry = held.record.groups.get(group)!;
    const leaving = new Map(held.record.groups).set(group, { ...entry, ready: false });
    await held.write({ ...held.record, groups: leaving });
    await this.tearDown(topic, entry.number);
    const groups = new Map(leaving);
    groups.delete(group);
    await held.write({ ...held.record, groups });
    this.#parts.news.tell(held.value.channel, topic.names.news, entry.number);
  }

  /** Deletes what belongs to a group, as far as it is there. */
  async tearDown(topic: Topic, group: number): Promise<void> {
    const { connection, values } = this.#parts;
    await connection.with("removing a group", async (channel) => {
      await values.remove(channel, topic.names.group(group));
      for (const partition of upTo(topic.partitions)) {
        await channel.deleteQueue(topic.names.messages(group, partition));
        await values.remove(channel, topic.names.lane(group, partition));
      }
    });
  }

  /** Ephemeral groups go with their members' sessions. */
  async removeEnded(topic: Topic, held: HeldTopic): Promise<void> {
    for (const [group, { number, ephemeral, ready }] of [...held.record.groups]) {
      if (!ephemeral || !ready) continue;
      const name = topic.names.group(number);
      const endsAt = await this.#parts.values.hold(name, "looking for groups that ended", async ({ bytes }) => {
        return GroupRecord.decode(bytes).state.endsAt;
      });
      if (endsAt !== undefined && endsAt <= this.#now) await this.remove(topic, held, group);
    }
  }

  // One change ---------------------------------------------------------------------------------------------------------

  async #change<T>(
    topic: Topic,
    group: number,
    what: string,
    work: (record: GroupRecord, now: number) => T,
  ): Promise<T> {
    const { values, news } = this.#parts;
    return values.hold(topic.names.group(group), what, async (value) => {
      const record = GroupRecord.decode(value.bytes);
      const answer = work(record, this.#now);
      if (record.state.changed) await value.write(record.encode());
      if (record.state.moved) news.tell(value.channel, topic.names.news, group);
      return answer;
    });
  }

  async #numberOf(topic: Topic, group: string): Promise<number | undefined> {
    return this.ofTopic(topic, "looking for a group", async ({ record }) => record.groups.get(group)?.number);
  }

  async #isThere(topic: Topic): Promise<boolean> {
    try {
      return await this.ofTopic(topic, "looking for a topic", async () => true);
    } catch (error) {
      if (error instanceof Gone) return false;
      throw error;
    }
  }

  get #now(): number {
    return this.#parts.world.clock.now();
  }
}

/** What was removed needs no leave taken of. */
async function unlessGone(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Gone)) throw error;
  }
}
