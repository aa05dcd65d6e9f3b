import { TenonError } from "../../../contracts/errors.ts";
import type { World } from "../../../world/world.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, closed, kafkaCode, plain } from "../failures.ts";
import type { KafkaBatch } from "../fetching/kafka-batch.ts";
import { UnreadableBatch } from "../fetching/place.ts";
import { decisionOf, isControl, isTransactional, listOffset, offsetAt, timestampOf } from "../requests.ts";
import type { Session } from "../session.ts";
import { type Command, decodeCommand, encodeCommand } from "./commands.ts";
import { JournalState } from "./journal-state.ts";
import { JournalWriter } from "./journal-writer.ts";
import { type Hear, Listeners } from "./listeners.ts";
import type { Results } from "./results.ts";
import { keyOf, partFrom, partsOf, type SnapshotPart, SnapshotParts } from "./snapshots.ts";

export interface JournalSettings {
  /** Kafka's name of the topic that holds the journal; it has one partition. */
  readonly topic: string;
  /** After so many records the state is written down. */
  readonly snapshotEvery: number;
}

const maxWaitMs = 500;
const fetchBytesMax = 4 * 1024 * 1024;
const backoffMs = { first: 50, longest: 1_000 };

/**
 * The engine's state as a replicated state machine. A command is a record of a topic with one partition; each engine reads all of them in their order and carries them out, so
 * all have the same state, and whether a command was refused, such as a commit under an old fence, is decided by where it stands. Whoever wrote it hears the result when it comes
 * back. No engine leads, so none has to be fenced.
 */
export class Journal {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #settings: JournalSettings;
  readonly #writer: JournalWriter;
  readonly #listeners = new Listeners();
  #state = new JournalState();
  /** The last record's instant, and when it came. */
  #heard = { at: 0, heardAt: 0 };
  /** The offset of the record that is read next. */
  #next = 0;
  #lastEpoch = -1;
  #parts = new SnapshotParts();
  /** Of the last whole snapshot. */
  #asOf = 0;
  #snapshotAt = 0;
  #session: Session | undefined;
  #ended: TenonError | undefined;

  constructor(cluster: Cluster, settings: JournalSettings) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#settings = settings;
    this.#writer = new JournalWriter(cluster, settings.topic);
  }

  /** As far as this engine has read. */
  get state(): JournalState {
    return this.#state;
  }

  /** The brokers' time is this or later: as much as has passed here since a record came that bears theirs. */
  get now(): number {
    const { at, heardAt } = this.#heard;
    return at + this.#world.clock.monotonic() - heardAt;
  }

  /** Reads what is there, and goes on reading. */
  async open(): Promise<void> {
    await this.#load();
    void this.#follow();
  }

  /** Writes a command, and answers what it came to. When that is not heard, nobody knows. */
  submit<Kind extends Command["kind"]>(
    command: Extract<Command, { kind: Kind }>,
    what: string,
  ): Promise<Results[Kind]> {
    return this.#writer.submit(command, what);
  }

  /** Resolves when this engine has read all that was written before the call. Time passes for the topic. */
  async reach(what: string, topic: string | null): Promise<void> {
    await this.submit<"look">({ kind: "look", name: topic }, what);
  }

  /** A command as a record for a transaction, which Kafka commits; nobody hears what it comes to. */
  recordOf(command: Command): { readonly topic: string; readonly partition: number; readonly value: Buffer } {
    const value = encodeCommand({ id: this.#writer.newId(), command });
    return { topic: this.#settings.topic, partition: 0, value };
  }

  // Reading ------------------------------------------------------------------------------------------------------------

  /** Reads the journal from its beginning, or from its last snapshot on. */
  async #load(): Promise<void> {
    const { topic } = this.#settings;
    for (;;) {
      const start = await listOffset(this.#cluster, "reading the journal", topic, 0, offsetAt.earliest);
      const end = await listOffset(this.#cluster, "reading the journal", topic, 0, offsetAt.latest);
      try {
        await this.#loadBetween(start, end);
        return;
      } catch (error) {
        // Somebody wrote a snapshot meanwhile, and deleted what is older.
        if (answeredCode(error) !== kafkaCode.offsetOutOfRange) throw error;
      }
    }
  }

  async #loadBetween(start: number, end: number): Promise<void> {
    const batches: KafkaBatch[] = [];
    let next = start;
    let lastEpoch = -1;
    const parts = new SnapshotParts();
    let newest: ReturnType<SnapshotParts["add"]>;
    while (next < end) {
      const fetched = await this.#readFrom(next);
      for (const batch of fetched) {
        batches.push(batch);
        next = Number(batch.firstOffset) + batch.lastOffsetDelta + 1;
        lastEpoch = batch.partitionLeaderEpoch;
        for (const { key, value } of batch.records) {
          const part = partFrom(key, value);
          const whole = part && parts.add(part);
          if (whole !== undefined && whole.asOf >= start) newest = whole;
        }
      }
    }
    if (newest === undefined && start > 0) {
      const text = `the journal ${this.#settings.topic} begins at ${start} and holds no whole snapshot: records were deleted by somebody else, or lost. Its retention must be unlimited`;
      throw new TenonError("corrupt", text, { fields: { topic: this.#settings.topic, start } });
    }
    this.#state = newest === undefined ? new JournalState() : JournalState.decode(newest.state);
    this.#asOf = newest?.asOf ?? 0;
    this.#snapshotAt = this.#asOf + this.#settings.snapshotEvery;
    this.#parts = new SnapshotParts();
    this.#next = start;
    for (const batch of batches) this.#carryOut(batch, this.#asOf);
    this.#next = next;
    this.#lastEpoch = lastEpoch;
    this.#state.takeNews();
  }

  async #readFrom(offset: number): Promise<readonly KafkaBatch[]> {
    const asked = { what: "reading the journal", outcome: "not-applied" } as const;
    const { fetching } = this.#cluster;
    const { batches } = await this.#cluster.leader(asked, this.#settings.topic, 0, (connection, topic) =>
      fetching.partition(connection, topic, 0, { offset, maxWaitMs, bytesMax: fetchBytesMax }),
    );
    return batches;
  }

  /** Reads on for as long as the engine is open, on a connection of its own, where requests wait for what comes. */
  async #follow(): Promise<void> {
    for (let failures = 0; this.#ended === undefined; ) {
      try {
        await this.#followOnce(() => {
          failures = 0;
        });
      } catch (error) {
        if (this.#isEnded) return;
        if (isFinal(error)) {
          this.#fail(error);
          return;
        }
        this.#world.log.log("warn", "trouble with reading the journal in Kafka", {
          error: plain(error)?.message ?? "",
        });
        const pauseMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(10, failures++));
        await this.#world.timers.sleep(pauseMs * (0.5 + this.#world.random.float() / 2));
        this.#cluster.forget(this.#settings.topic);
      }
    }
  }

  get #isEnded(): boolean {
    return this.#ended !== undefined;
  }

  async #followOnce(succeeded: () => void): Promise<void> {
    const { fetching, commandTimeoutMs } = this.#cluster;
    const topic = await this.#cluster.topic(this.#settings.topic);
    const address = topic && this.#cluster.addressOf(topic.leaders[0]!);
    if (address === undefined) throw new Error("the journal has no leader now");
    const session = await this.#cluster.dedicated(address);
    this.#session = session;
    try {
      while (!this.#isEnded) {
        const from = { offset: this.#next, maxWaitMs, bytesMax: fetchBytesMax, lastEpoch: this.#lastEpoch };
        const fetched = await session.within(maxWaitMs + commandTimeoutMs, (connection) =>
          fetching.partition(connection, topic!, 0, from),
        );
        if (this.#isEnded) return;
        if (fetched.hasDiverged) await this.#loadAgain();
        else this.#consume(fetched.batches);
        succeeded();
      }
    } catch (error) {
      if (answeredCode(error) !== kafkaCode.offsetOutOfRange) throw error;
      await this.#loadAgain();
    } finally {
      this.#cluster.discard(session);
    }
  }

  /** What was read so far is not there any more: this engine stood still for long, or the servers lost it. */
  async #loadAgain(): Promise<void> {
    await this.#load();
    this.#listeners.tellAll();
  }

  #consume(batches: readonly KafkaBatch[]): void {
    for (const batch of batches) {
      this.#carryOut(batch, this.#next);
      this.#next = Number(batch.firstOffset) + batch.lastOffsetDelta + 1;
      this.#lastEpoch = batch.partitionLeaderEpoch;
    }
    for (const news of this.#state.takeNews()) this.#listeners.tell(news);
  }

  /** Records below `from` are in the state already. */
  #carryOut(batch: KafkaBatch, from: number): void {
    if (isControl(batch)) {
      if (Number(batch.firstOffset) >= from) this.#decide(batch);
      return;
    }
    for (const record of batch.records) {
      const offset = Number(batch.firstOffset) + record.offsetDelta;
      if (offset < from || record.value === null) continue;
      this.#heard = { at: timestampOf(batch, record), heardAt: this.#world.clock.monotonic() };
      const part = partFrom(record.key, record.value);
      if (part !== undefined) this.#noteSnapshot(part);
      else this.#carryOutRecord(offset, record.value, timestampOf(batch, record), transactionOf(batch));
    }
  }

  #decide(batch: KafkaBatch): void {
    const decision = decisionOf(batch);
    if (decision === undefined) return;
    this.#state.decide(String(batch.producerId), decision === "committed", Number(batch.maxTimestamp));
  }

  #carryOutRecord(offset: number, value: Buffer, at: number, transaction: string | undefined): void {
    const stored = decodeCommand(value);
    if (stored === undefined) return;
    if (stored === "newer") {
      const text = `the journal ${this.#settings.topic} holds records of a later version of Tenon; update this one`;
      throw new TenonError("conflict", text, { fields: { topic: this.#settings.topic } });
    }
    const isOwn = this.#writer.isOwn(stored.id);
    if (transaction !== undefined) this.#state.hold(transaction, stored.command);
    else {
      const result = this.#state.apply(stored.command, at);
      if (isOwn) this.#writer.answer(stored.id, result);
    }
    if (offset < this.#snapshotAt) return;
    this.#snapshotAt = offset + this.#settings.snapshotEvery;
    if (isOwn) void this.#writeSnapshot(offset + 1, this.#state.encode());
  }

  // Snapshots ----------------------------------------------------------------------------------------------------------

  async #writeSnapshot(asOf: number, state: Buffer): Promise<void> {
    try {
      for (const part of partsOf(this.#writer.newId(), asOf, state)) {
        await this.#writer.produce([{ key: keyOf(part), value: part.bytes }]);
      }
    } catch (error) {
      // The next one does for it.
      this.#world.log.log("warn", "writing a snapshot to the journal failed", { error: plain(error)?.message ?? "" });
    }
  }

  #noteSnapshot(part: SnapshotPart): void {
    const whole = this.#parts.add(part);
    if (whole === undefined || whole.asOf <= this.#asOf) return;
    const former = this.#asOf;
    this.#asOf = whole.asOf;
    this.#snapshotAt = Math.max(this.#snapshotAt, whole.asOf + this.#settings.snapshotEvery);
    // Who reads slowly may still be behind this one; nobody needs what is older than the one before.
    if (former > 0 && this.#writer.isOwn(whole.snapshot)) void this.#deleteBelow(former);
  }

  async #deleteBelow(offset: number): Promise<void> {
    const { client, commandTimeoutMs } = this.#cluster;
    const { topic } = this.#settings;
    const partitions = [{ partitionIndex: 0, offset: BigInt(offset) }];
    try {
      await this.#cluster.leader({ what: "shortening the journal", outcome: "not-applied" }, topic, 0, (connection) =>
        client.deleteRecordsV2.api.async(connection, [{ name: topic, partitions }], commandTimeoutMs),
      );
    } catch (error) {
      this.#world.log.log("warn", "shortening the journal failed", { error: plain(error)?.message ?? "" });
    }
  }

  // Listening ----------------------------------------------------------------------------------------------------------

  /** Calls back when something of a topic changed for its members, or of a log for those who wait. Answers how to stop. */
  listen(number: number, hear: Hear): () => void {
    return this.#listeners.add(number, hear);
  }

  #fail(error: TenonError): void {
    this.#ended ??= error;
    this.#writer.fail(error);
  }

  close(): void {
    this.#ended ??= closed("an operation");
    this.#session?.destroy();
    this.#writer.close();
  }
}

/** Whoever reads it again meets the same. */
function isFinal(error: unknown): error is TenonError {
  if (!(error instanceof TenonError) || error instanceof UnreadableBatch) return false;
  return error.code === "conflict" || error.code === "corrupt";
}

/** The producer whose transaction the records are part of. */
function transactionOf(batch: KafkaBatch): string | undefined {
  return isTransactional(batch) ? String(batch.producerId) : undefined;
}
