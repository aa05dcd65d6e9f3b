import type { SeekTarget } from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";
import { GroupState, type NewMember } from "../../lanes/group-state.ts";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import type { Grant, Joined, JoinRequest, Refused, Report } from "../../lanes/lane-store.ts";
import { afterConflict } from "../conflicts.ts";
import type { NatsLink } from "../link.ts";
import type { FoundRecord } from "../named-places.ts";
import type { ServerClock } from "../server-clock.ts";
import { type StateStore, valueNames } from "../state-store.ts";
import type { Streams } from "../streams.ts";
import { LaneValue } from "./lane-value.ts";
import type { LaneValues } from "./lane-values.ts";
import type { PartitionKeeper } from "./partition-keeper.ts";
import type { Positions, Start } from "./positions.ts";
import type { GroupRecord, TopicRecord } from "./topic-record.ts";
import { partitionsOf, type Topic, type Topics } from "./topics.ts";

export interface GroupParts {
  readonly world: World;
  readonly link: NatsLink;
  readonly streams: Streams;
  readonly state: StateStore;
  readonly clock: ServerClock;
  readonly topics: Topics;
  readonly lanes: LaneValues;
  readonly positions: Positions;
  readonly keeper: PartitionKeeper;
}

/**
 * Groups of topics: each a value that is changed if it is as it was read. Who owns a lane is decided there, and takes effect on the lane's own value when the new owner opens it; so the two need not change
 * together.
 */
export class Groups {
  readonly #parts: GroupParts;

  constructor(parts: GroupParts) {
    this.#parts = parts;
  }

  // What members ask for -----------------------------------------------------------------------------------------------

  async join(topic: Topic, { group, member, options, from, mayMake }: JoinRequest): Promise<Joined | Refused> {
    const { topics } = this.#parts;
    const { sessionMs, revokeMs, agreement = "", ephemeral = false } = options;
    const joining: NewMember = { id: member, sessionMs, revokeMs, agreement, ephemeral };
    await this.endEphemeral(topic);
    for (;;) {
      const found = await topics.places.recordOf(topic);
      if (found === undefined) return { refused: "gone" };
      const there = found.record.groups.find(({ name }) => name === group);
      if (there === undefined) {
        if (!mayMake) return { refused: "group" };
        const made = await this.#make(topic, found, group, from, joining);
        if (made !== undefined) return made;
        continue;
      }
      const joined = await this.#change<Joined | Refused>(topic, there.id, (state) => {
        const refused = state.join(joining, this.#parts.clock.latest, false);
        return refused ?? (() => ({ group: there.id, report: this.#report(state, member) }));
      });
      if (joined !== undefined) return joined;
    }
  }

  async renew(topic: Topic, group: number, member: string, sessionMs: number): Promise<Report | Refused> {
    const renewed = await this.#change<Report | Refused>(topic, group, (state) => {
      const isMember = state.renew(member, sessionMs, this.#parts.clock.latest);
      return () => (isMember ? this.#report(state, member) : { refused: "ended" });
    });
    if (renewed !== undefined) return renewed;
    return { refused: (await this.#parts.topics.places.recordOf(topic)) === undefined ? "gone" : "group" };
  }

  #report(state: GroupState, member: string): Report {
    return state.reportTo(member, this.#parts.clock.earliest);
  }

  async leave(topic: Topic, group: string, member: string, orderly: boolean): Promise<void> {
    const found = await this.#parts.topics.places.recordOf(topic);
    const there = found?.record.groups.find(({ name }) => name === group);
    if (there === undefined) return;
    if (orderly) await this.#giveBackAll(topic, there.id, member);
    const left = await this.#change(topic, there.id, (state) => {
      const isMember = state.leave(member, orderly);
      return () => isMember;
    });
    if (left !== true || there.ephemeral !== true) return;
    await this.#remove(topic, there);
    await this.#parts.keeper.tidy(topic);
  }

  async #giveBackAll(topic: Topic, group: number, member: string): Promise<void> {
    const { state, lanes, clock } = this.#parts;
    const value = await state.read("leaving a group", valueNames.group(topic.id, group));
    if (value === undefined) return;
    await clock.ready();
    const owned = this.#report(GroupState.decode(value.bytes), member).lanes;
    await Promise.all(
      owned.map(({ partition, fence }) =>
        lanes.change(topic.id, group, partition, (lane) => {
          if (lane.state.fence !== fence) return false;
          lane.giveBack();
          return true;
        }),
      ),
    );
  }

  /** What an owner that vanished has fetched stays suspect, as its fence stays in the lane. */
  async release(topic: Topic, { groupNumber, partition, fence }: Grant, orderly: boolean): Promise<void> {
    if (orderly) {
      await this.#parts.lanes.change(topic.id, groupNumber, partition, (lane) => {
        if (lane.state.fence !== fence) return false;
        lane.giveBack();
        return true;
      });
    }
    await this.#change(topic, groupNumber, (state) => {
      state.release(partition, fence, orderly);
      return () => true;
    });
  }

  /** `undefined` when the topic is gone, `"group"` when it has no such group. */
  async seek(topic: Topic, group: string, to: SeekTarget): Promise<"done" | "group" | undefined> {
    const { topics, lanes, keeper } = this.#parts;
    await keeper.tidy(topic);
    const found = await topics.places.recordOf(topic);
    if (found === undefined) return undefined;
    const there = found.record.groups.find(({ name }) => name === group);
    if (there === undefined) return "group";
    const starts = await this.#starts(topic, to);
    if (starts === "gone") return undefined;
    await Promise.all(
      [...starts].map(([partition, start]) =>
        lanes.change(topic.id, there.id, partition, (lane) => {
          lane.state.progress.moveTo(start?.position);
          if (start !== undefined) lane.lowSequence = start.sequence;
          lane.giveBack();
          return true;
        }),
      ),
    );
    await this.#change(topic, there.id, (state) => {
      state.takeAll();
      return () => true;
    });
    return "done";
  }

  // Making and removing ------------------------------------------------------------------------------------------------

  /** Makes the groups that are not there, each at what comes next. `undefined` when the topic is gone, the name of a group that is ephemeral, else `"done"`. */
  async declare(topic: Topic, names: readonly string[]): Promise<"done" | { readonly ephemeral: string } | undefined> {
    await this.endEphemeral(topic);
    for (const name of new Set(names)) {
      for (;;) {
        const found = await this.#parts.topics.places.recordOf(topic);
        if (found === undefined) return undefined;
        const there = found.record.groups.find((each) => each.name === name);
        if (there?.ephemeral === true) return { ephemeral: name };
        if (there !== undefined || (await this.#make(topic, found, name, "now", undefined)) !== undefined) break;
      }
    }
    return "done";
  }

  /** The group's values are there before it is in the topic's record. `undefined` when the record is not as it was read. */
  async #make(
    topic: Topic,
    { record, revision }: FoundRecord<TopicRecord>,
    name: string,
    from: SeekTarget,
    first: NewMember | undefined,
  ): Promise<Joined | Refused | undefined> {
    const { state, topics, lanes, clock, keeper } = this.#parts;
    // What is due is older than a group that starts now, and what was settled is no start for one that begins with the earliest.
    await keeper.tidy(topic);
    const starts = await this.#starts(topic, from, "now");
    if (starts === "gone") return { refused: "gone" };
    const id = await state.number();
    await Promise.all(
      [...starts].map(([partition, start]) => {
        const value = LaneValue.startingAt(new LaneProgress(start!.position), start!.sequence);
        return lanes.write(topic.id, id, partition, value, 0);
      }),
    );
    await clock.ready();
    const group = new GroupState(topic.partitions);
    if (first !== undefined) {
      group.join(first, clock.latest, true);
      group.grant(new Array(group.balance(clock.earliest)).fill(id));
    }
    await state.write("making a group", valueNames.group(topic.id, id), group.encode(), 0);
    const entry: GroupRecord = { id, name, ...(first?.ephemeral === true ? { ephemeral: true } : {}) };
    if (await topics.places.write(topic.name, { ...record, groups: [...record.groups, entry] }, revision)) {
      return { group: id, report: first === undefined ? { soonestMs: -1, lanes: [] } : this.#report(group, first.id) };
    }
    this.#removeValues(topic, id).catch(() => undefined);
    return undefined;
  }

  /** Where each partition's lane starts; `otherwise`: where the target says nothing. */
  async #starts(
    topic: Topic,
    target: SeekTarget,
    otherwise?: "now",
  ): Promise<ReadonlyMap<number, Start | undefined> | "gone"> {
    const { positions } = this.#parts;
    const starts = new Map<number, Start | undefined>();
    const partitions = partitionsOf(topic);
    const found = await Promise.all(
      partitions.map(async (partition) => {
        const start = await positions.startOf(topic, partition, target);
        return start === undefined && otherwise !== undefined ? positions.startOf(topic, partition, otherwise) : start;
      }),
    );
    for (const [partition, start] of found.entries()) {
      if (start === "gone") return "gone";
      starts.set(partition, start);
    }
    return starts;
  }

  async removeNamed(topic: Topic, group: string): Promise<"done" | "group" | undefined> {
    const found = await this.#parts.topics.places.recordOf(topic);
    if (found === undefined) return undefined;
    const there = found.record.groups.find(({ name }) => name === group);
    if (there === undefined || !(await this.#remove(topic, there))) return "group";
    await this.#parts.keeper.tidy(topic);
    return "done";
  }

  /** Ephemeral groups go with their members' sessions. */
  async endEphemeral(topic: Topic): Promise<void> {
    const { topics, state, clock } = this.#parts;
    const found = await topics.places.recordOf(topic);
    for (const group of found?.record.groups ?? []) {
      if (group.ephemeral !== true) continue;
      const value = await state.read("looking at a group", valueNames.group(topic.id, group.id));
      await clock.ready();
      const endsAt = value === undefined ? 0 : GroupState.decode(value.bytes).endsAt;
      if (endsAt !== undefined && endsAt <= clock.earliest) await this.#remove(topic, group);
    }
  }

  /** Out of the topic's record first; what is left then is out of reach. `false` when somebody else did it. */
  async #remove(topic: Topic, { id }: GroupRecord): Promise<boolean> {
    const { topics, link, streams } = this.#parts;
    for (;;) {
      const found = await topics.places.recordOf(topic);
      if (found === undefined || !found.record.groups.some((each) => each.id === id)) return false;
      const groups = found.record.groups.filter((each) => each.id !== id);
      if (await topics.places.write(topic.name, { ...found.record, groups }, found.revision)) break;
    }
    await this.#removeValues(topic, id);
    link.tell(`${streams.prefix}.n.${topic.id}`, `g${id}`);
    return true;
  }

  async #removeValues(topic: Topic, group: number): Promise<void> {
    const { state } = this.#parts;
    await state.remove("removing a group", valueNames.group(topic.id, group));
    await state.remove("removing a group", `l.${topic.id}.${group}.*`);
  }

  // One change ---------------------------------------------------------------------------------------------------------

  /**
   * Changes the group until nobody came between. `work` answers what to say once that is written, or a refusal that changes nothing. `undefined` when the group is gone. Fences are the revision that the change
   * was made upon, and one: they grow with every change.
   */
  async #change<T>(
    topic: Topic,
    group: number,
    work: (state: GroupState) => Refused | (() => T),
  ): Promise<T | Refused | undefined> {
    const { state, clock, link, streams, world } = this.#parts;
    const name = valueNames.group(topic.id, group);
    for (let tries = 0; ; tries++) {
      await clock.ready();
      const value = await state.read("reading a group", name);
      if (value === undefined) return undefined;
      const changing = GroupState.decode(value.bytes);
      const answer = work(changing);
      if (typeof answer !== "function") return answer;
      const wanted = changing.balance(clock.earliest);
      changing.grant(new Array(wanted).fill(value.revision + 1));
      if (!changing.changed) return answer();
      if ((await state.write("changing a group", name, changing.encode(), value.revision)) !== undefined) {
        if (changing.moved) link.tell(`${streams.prefix}.n.${topic.id}`, `g${group}`);
        return answer();
      }
      await afterConflict(world, tries);
    }
  }
}
