import { Retention } from "../../lanes/retention.ts";
import type { DatabaseConnection } from "../connection.ts";
import type { Row } from "../sql.ts";
import type { MessageCommands } from "./commands.ts";
import { PartitionWriter } from "./partition-writer.ts";
import type { Topic } from "./topics.ts";

/** A topic that is at work is looked at so often. */
const everyMs = 500;
/** Old ids and producers are forgotten so often. */
const forgetEveryMs = 10_000;
/** Then it is forgotten when each was looked at. */
const topicsMax = 10_000;

/** Gives back what every group has settled and the retention does not keep, and appends what is due where somebody looks. */
export class Trimmer {
  readonly #connection: DatabaseConnection;
  readonly #commands: MessageCommands;
  readonly #monotonic: () => number;
  /** Removes groups whose members' sessions have ended. */
  endGroups: (topic: Topic) => Promise<unknown> = async () => undefined;
  readonly #lookedAt = new Map<number, number>();
  readonly #looking = new Set<number>();
  #forgotAt = Number.NEGATIVE_INFINITY;

  constructor(connection: DatabaseConnection, commands: MessageCommands, monotonic: () => number) {
    this.#connection = connection;
    this.#commands = commands;
    this.#monotonic = monotonic;
  }

  /** Something of the topic was settled, or appended without anybody to settle it: now and then it is tidied. */
  note(topic: Topic): void {
    const now = this.#monotonic();
    if (now - (this.#lookedAt.get(topic.id) ?? Number.NEGATIVE_INFINITY) < everyMs || this.#looking.has(topic.id))
      return;
    if (this.#lookedAt.size >= topicsMax) this.#lookedAt.clear();
    this.#lookedAt.set(topic.id, now);
    void this.#look(topic);
    if (now - this.#forgotAt < forgetEveryMs) return;
    this.#forgotAt = now;
    for (const statement of [this.#commands.forgetIds, this.#commands.forgetProducers]) {
      this.#connection.write("forgetting ids", statement, [topic.id]).catch(() => undefined);
    }
  }

  /** All partitions by one look, and one after the other where there is something to do: what is published meanwhile would wait for many at once. */
  async #look(topic: Topic): Promise<void> {
    this.#looking.add(topic.id);
    try {
      await this.endGroups(topic);
      await this.tidy(topic);
    } catch {
      // The next look finds what is left.
    } finally {
      this.#looking.delete(topic.id);
    }
  }

  trim(topic: Topic, partition: number): Promise<void> {
    const commands = this.#commands;
    return this.#connection.transaction("trimming a partition", async (transaction) => {
      const values = [topic.id, partition];
      const [[row], [settled], [clock]] = await transaction.look(
        [commands.lockPartition, values],
        [commands.settledBelow, values],
        [commands.now],
      );
      if (row === undefined) return;
      const below = settled!.low === null ? Number(row.next) : Number(settled!.low);
      const retentionMs = Number(row.retention_ms);
      const retention = Retention.decode(row.marks as Buffer);
      const passed =
        retentionMs > 0 ? Math.min(below, retention.note(below, retentionMs, clock!.now as number)) : below;
      await transaction.finish(commands.trim, [...values, Math.max(Number(row.first), passed), retention.encode()]);
    });
  }

  /** Appends what is due in the partition. */
  releaseDue(topic: Topic, partition: number): Promise<void> {
    const { id, channel } = topic;
    const commands = this.#commands;
    return this.#connection.transaction("appending what is due", async (transaction) => {
      const parts = { commands, topic: id, partition, channel, limited: true };
      const writer = await PartitionWriter.lock(transaction, parts, []);
      await writer.append();
      await writer.finish();
    });
  }

  /** Brings every partition to what it should be now. */
  async tidy(topic: Topic): Promise<void> {
    const rows = await this.#connection.read("looking at partitions", this.#commands.describePartitions, [topic.id]);
    for (const row of rows) {
      const partition = row.partition as number;
      if (row.due_at !== null && (row.due_at as number) <= (row.now as number)) await this.releaseDue(topic, partition);
      if (isToTrim(row)) await this.trim(topic, partition);
    }
  }
}

/** Something is settled that is still there, or instants are remembered that are to be looked at. */
function isToTrim(row: Row): boolean {
  const settled = row.settled === null ? Number(row.next) : Number(row.settled);
  return settled !== Number(row.first) || (row.marks as Buffer).length > 2;
}
