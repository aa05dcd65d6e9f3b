import type { SeekTarget } from "../../../contracts/messages.ts";
import { GroupState } from "../../lanes/group-state.ts";
import { LaneProgress } from "../../lanes/lane-progress.ts";
import type { Joined, JoinRequest, Refused, Report } from "../../lanes/lane-store.ts";
import { Abandoned, type DatabaseConnection } from "../connection.ts";
import type { Row } from "../sql.ts";
import type { Transaction } from "../transaction.ts";
import type { MessageCommands } from "./commands.ts";
import type { Topic } from "./topics.ts";
import type { Trimmer } from "./trimmer.ts";

type Place = Pick<Topic, "id" | "name" | "partitions">;

interface Found {
  readonly id: number;
  readonly state: GroupState;
  readonly made: boolean;
}

const takenCodes = { orderly: 1, vanished: 2 } as const;

/** Groups of topics: each a value that is changed under its row's lock, together with its lanes. Locks are taken in the order group, lanes, partitions. */
export class Groups {
  readonly #connection: DatabaseConnection;
  readonly #commands: MessageCommands;
  readonly #prefix: string;
  readonly #trimmer: Trimmer;

  constructor(connection: DatabaseConnection, commands: MessageCommands, prefix: string, trimmer: Trimmer) {
    this.#connection = connection;
    this.#commands = commands;
    this.#prefix = prefix;
    this.#trimmer = trimmer;
  }

  // What members ask for -----------------------------------------------------------------------------------------------

  async join(topic: Topic, { group, member, options, from, mayMake }: JoinRequest): Promise<Joined | Refused> {
    const { sessionMs, revokeMs, agreement = "", ephemeral = false } = options;
    // What is due is older than a group that starts now, and what was settled is no start for one that begins with the earliest.
    if (mayMake) await this.#trimmer.tidy(topic);
    return this.#change<Joined | Refused>("joining a group", async (transaction) => {
      if ((await transaction.run(this.#commands.keepTopic, [topic.id])).length === 0) return { refused: "gone" };
      await this.removeEnded(transaction, topic.id);
      const found = mayMake
        ? await this.make(transaction, topic, group, from)
        : await this.#find(transaction, this.#commands.groupNamed, [topic.id, Buffer.from(group)]);
      if (found === undefined) return { refused: "group" };
      const now = await this.#now(transaction);
      const joining = { id: member, sessionMs, revokeMs, agreement, ephemeral };
      const refused = found.state.join(joining, now, found.made);
      if (refused !== undefined) throw new Refusal(refused);
      await this.#balance(transaction, topic.id, found, now);
      return { group: found.id, report: found.state.reportTo(member, now) };
    });
  }

  renew(topic: Topic, group: number, member: string, sessionMs: number): Promise<Report | Refused> {
    return this.#change<Report | Refused>("renewing a membership", async (transaction) => {
      await this.removeEnded(transaction, topic.id);
      const found = await this.#find(transaction, this.#commands.group, [topic.id, group]);
      if (found === undefined) {
        const [there] = await transaction.run(this.#commands.keepTopic, [topic.id]);
        return { refused: there === undefined ? "gone" : "group" };
      }
      const now = await this.#now(transaction);
      const renewed = found.state.renew(member, sessionMs, now);
      await this.#balance(transaction, topic.id, found, now);
      return renewed ? found.state.reportTo(member, now) : { refused: "ended" };
    });
  }

  async leave(topic: Topic, group: string, member: string, orderly: boolean): Promise<void> {
    const removed = await this.#connection.transaction("leaving a group", async (transaction) => {
      const values = [topic.id, Buffer.from(group)];
      const found = await this.#find(transaction, this.#commands.groupNamed, values);
      if (found === undefined || !found.state.leave(member, orderly)) return false;
      if (found.state.isEphemeral) {
        await this.#remove(transaction, topic.id, found.id);
        return true;
      }
      await this.#balance(transaction, topic.id, found, await this.#now(transaction));
      return false;
    });
    if (removed) await this.#trimmer.tidy(topic);
  }

  release(topic: Topic, group: number, partition: number, fence: number, orderly: boolean): Promise<void> {
    return this.#connection.transaction("releasing a lane", async (transaction) => {
      const found = await this.#find(transaction, this.#commands.group, [topic.id, group]);
      if (found === undefined) return;
      found.state.release(partition, fence, orderly);
      await this.#balance(transaction, topic.id, found, await this.#now(transaction));
    });
  }

  /** `undefined` when the topic is gone, `"group"` when it has no such group. */
  async seek(topic: Topic, group: string, to: SeekTarget): Promise<"done" | "group" | undefined> {
    await this.#trimmer.tidy(topic);
    return this.#connection.transaction("moving a group", async (transaction) => {
      if ((await transaction.run(this.#commands.keepTopic, [topic.id])).length === 0) return undefined;
      const found = await this.#find(transaction, this.#commands.groupNamed, [topic.id, Buffer.from(group)]);
      if (found === undefined) return "group";
      const lanes = await transaction.run(this.#commands.lockGroupLanes, [topic.id, found.id]);
      const starts = await this.#starts(transaction, topic, to);
      const moved = lanes.map((row) => {
        const progress = LaneProgress.decode(row.progress as Buffer);
        progress.moveTo(starts.get(row.partition as number));
        return { partition: row.partition as number, progress };
      });
      await transaction.run(this.#commands.moveLanes, [
        topic.id,
        moved.map(() => found.id),
        moved.map(({ partition }) => partition),
        moved.map(({ progress }) => progress.low),
        moved.map(({ progress }) => progress.encode()),
      ]);
      found.state.takeAll();
      await this.#balance(transaction, topic.id, found, await this.#now(transaction));
      return "done";
    });
  }

  // Making and removing ------------------------------------------------------------------------------------------------

  /** The group, locked; made when it is not there. The topic's row is locked. */
  async make(transaction: Transaction, topic: Place, name: string, from: SeekTarget): Promise<Found> {
    const values = [topic.id, Buffer.from(name)];
    const found = await this.#find(transaction, this.#commands.groupNamed, values);
    if (found !== undefined) return found;
    const state = new GroupState(topic.partitions);
    const [row] = await transaction.run(this.#commands.makeGroup, [...values, state.encode()]);
    // Somebody else was faster.
    if (row === undefined) return this.make(transaction, topic, name, from);
    const starts = await this.#starts(transaction, topic, from, "now");
    const partitions = [...starts.keys()];
    await transaction.run(this.#commands.makeLanes, [
      topic.id,
      Number(row.id),
      partitions,
      partitions.map((partition) => starts.get(partition)!),
      partitions.map((partition) => new LaneProgress(starts.get(partition)!).encode()),
    ]);
    return { id: Number(row.id), state, made: true };
  }

  /** Where the group starts in each partition, under the locks of their rows; `otherwise`: where the target says nothing. */
  async #starts(
    transaction: Transaction,
    topic: Place,
    target: SeekTarget,
    otherwise?: "now",
  ): Promise<ReadonlyMap<number, number>> {
    const rows = await transaction.run(this.#commands.lockPartitions, [topic.id]);
    const starts = new Map<number, number>();
    for (const row of rows) {
      const partition = row.partition as number;
      const start = await this.#start(transaction, topic.id, row, target);
      if (start !== undefined) starts.set(partition, start);
      else if (otherwise === "now") starts.set(partition, Number(row.next));
    }
    return starts;
  }

  async #start(transaction: Transaction, topic: number, row: Row, target: SeekTarget): Promise<number | undefined> {
    const [first, next] = [Number(row.first), Number(row.next)];
    if (target === "now") return next;
    if (target === "earliest") return first;
    if ("at" in target) {
      const [run] = await transaction.run(this.#commands.runAt, [topic, row.partition as number, target.at]);
      return run === undefined ? next : Math.max(first, Number(run.position));
    }
    const position = target.positions.get(row.partition as number);
    return position === undefined ? undefined : Math.min(Math.max(Number(position), first), next);
  }

  async removeNamed(topic: Topic, group: string): Promise<"done" | "group" | undefined> {
    const removed = await this.#connection.transaction("removing a group", async (transaction) => {
      if ((await transaction.run(this.#commands.keepTopic, [topic.id])).length === 0) return undefined;
      const found = await this.#find(transaction, this.#commands.groupNamed, [topic.id, Buffer.from(group)]);
      if (found === undefined) return "group";
      await this.#remove(transaction, topic.id, found.id);
      return "done";
    });
    if (removed === "done") await this.#trimmer.tidy(topic);
    return removed;
  }

  /** Ephemeral groups go with their members' sessions. */
  async removeEnded(transaction: Transaction, topic: number): Promise<number> {
    const ended = await transaction.run(this.#commands.endedGroups, [topic]);
    for (const { id } of ended) await this.#remove(transaction, topic, Number(id));
    return ended.length;
  }

  /** The same in a transaction of its own. */
  endEphemeral(topic: Topic): Promise<number> {
    return this.#connection.transaction("the end of groups", (transaction) => this.removeEnded(transaction, topic.id));
  }

  async #remove(transaction: Transaction, topic: number, group: number): Promise<void> {
    await transaction.run(this.#commands.removeGroup, [topic, group]);
    await transaction.run(this.#commands.notify, [`${this.#prefix}_t${topic}`, `g${group}`]);
  }

  // One change ---------------------------------------------------------------------------------------------------------

  /** A refusal rolls back what the change has made on its way. */
  async #change<T>(what: string, work: (transaction: Transaction) => Promise<T>): Promise<T | Refused> {
    try {
      return await this.#connection.transaction(what, work);
    } catch (error) {
      if (error instanceof Refusal) return error.refused;
      throw error;
    }
  }

  async #find(
    transaction: Transaction,
    statement: MessageCommands["group"],
    values: readonly (number | Buffer)[],
  ): Promise<Found | undefined> {
    const [row] = await transaction.run(statement, values);
    return row && { id: Number(row.id), state: GroupState.decode(row.state as Buffer), made: false };
  }

  /** Under the group's lock. */
  async #now(transaction: Transaction): Promise<number> {
    return (await transaction.run(this.#commands.now))[0]!.now as number;
  }

  async #balance(transaction: Transaction, topic: number, { id, state }: Found, now: number): Promise<void> {
    const wanted = state.balance(now);
    if (wanted > 0) {
      const fences = await transaction.run(this.#commands.fences, [wanted]);
      state.grant(fences.map(({ fence }) => Number(fence)));
    }
    if (!state.changed) return;
    const turns = state.takeTurns();
    await transaction.run(this.#commands.saveGroup, [
      topic,
      id,
      state.encode(),
      state.endsAt ?? null,
      turns.map(({ partition }) => partition),
      turns.map(({ fence }) => fence ?? 0),
      turns.map(({ taken }) => (taken === undefined ? 0 : takenCodes[taken])),
      state.moved ? `${this.#prefix}_t${topic}` : "",
      `g${id}`,
    ]);
  }
}

class Refusal extends Abandoned {
  readonly refused: Refused;
  constructor(refused: Refused) {
    super(refused.refused);
    this.refused = refused;
  }
}
