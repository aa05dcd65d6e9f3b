import { TenonError } from "../../../contracts/errors.ts";
import type { Cancel, World } from "../../../world/world.ts";
import type { KafkaBatch } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, closed, failureOf, kafkaCode, overdue, plain, unreachable } from "../failures.ts";
import { fetchPartition, isControl, listOffset, offsetAt, produce, timestampOf } from "../requests.ts";
import type { Session } from "../session.ts";
import { type Command, decodeCommand, encodeCommand } from "./commands.ts";
import { JournalState, type News, type Results } from "./journal-state.ts";
import { keyOf, partFrom, partsOf, type SnapshotPart, SnapshotParts } from "./snapshots.ts";

export interface JournalSettings {
  /** Kafka's name of the topic that holds the journal; it has one partition. */
  readonly topic: string;
  /** After so many records the state is written down. */
  readonly snapshotEvery: number;
}

type Hear = (news: News | "missed") => void;

const maxWaitMs = 500;
const fetchBytesMax = 4 * 1024 * 1024;
const produceCountMax = 500;
const produceBytesMax = 1024 * 1024;
const backoffMs = { first: 50, longest: 1_000 };

interface Pending {
  readonly id: string;
  readonly bytes: Buffer;
  readonly what: string;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  timer: Cancel;
}

/**
 * The engine's state as a replicated state machine. A command is a record of a topic with one partition; each engine reads all of them in their order and carries them out, so
 * all have the same state, and whether a command was refused, such as a commit under an old fence, is decided by where it stands. Whoever wrote it hears the result when it comes
 * back. No engine leads, so none has to be fenced.
 */
export class Journal {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #settings: JournalSettings;
  /** Begins the ids of this engine's commands. */
  readonly #own: string;
  readonly #pending = new Map<string, Pending>();
  readonly #queue: Pending[] = [];
  readonly #listeners = new Map<number, Set<Hear>>();
  #state = new JournalState();
  /** The offset of the record that is read next. */
  #next = 0;
  #lastEpoch = -1;
  #parts = new SnapshotParts();
  /** Of the last whole snapshot. */
  #asOf = 0;
  #snapshotAt = 0;
  #count = 0;
  #draining = false;
  #session: Session | undefined;
  #ended: TenonError | undefined;

  constructor(cluster: Cluster, settings: JournalSettings) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#settings = settings;
    this.#own = `${cluster.world.random.uuid().slice(0, 13)}/`;
  }

  /** As far as this engine has read. */
  get state(): JournalState {
    return this.#state;
  }

  /** Reads what is there, and goes on reading. */
  async open(): Promise<void> {
    await this.#load();
    void this.#follow();
  }

  // Writing ------------------------------------------------------------------------------------------------------------

  /** Writes a command, and answers what it came to. When that is not heard, nobody knows. */
  submit<Kind extends Command["kind"]>(
    command: Extract<Command, { kind: Kind }>,
    what: string,
  ): Promise<Results[Kind]> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise<unknown>((resolve, reject) => {
      const id = this.#own + (this.#count++).toString(36);
      const bytes = encodeCommand({ id, command });
      const pending: Pending = { id, bytes, what, resolve, reject, timer: () => undefined };
      const { commandTimeoutMs } = this.#cluster;
      pending.timer = this.#world.timers.schedule(commandTimeoutMs, () => {
        const index = this.#queue.indexOf(pending);
        if (index < 0) return;
        this.#queue.splice(index, 1);
        reject(unreachable(what, commandTimeoutMs, undefined));
      });
      this.#queue.push(pending);
      if (!this.#draining) void this.#drain();
    }) as Promise<Results[Kind]>;
  }

  /** Resolves when this engine has read all that was written before the call. Time passes for the topic. */
  async reach(what: string, topic: string | null): Promise<void> {
    await this.submit<"look">({ kind: "look", name: topic }, what);
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    // What is written within the same turn goes out together.
    await undefined;
    while (this.#queue.length > 0) await this.#write(this.#take());
    this.#draining = false;
  }

  #take(): Pending[] {
    let count = 0;
    let bytes = 0;
    for (; count < this.#queue.length && count < produceCountMax; count++) {
      bytes += this.#queue[count]!.bytes.length;
      if (count > 0 && bytes > produceBytesMax) break;
    }
    return this.#queue.splice(0, count);
  }

  async #write(taken: readonly Pending[]): Promise<void> {
    for (const pending of taken) this.#pending.set(pending.id, pending);
    const { topic } = this.#settings;
    let failure: TenonError | undefined;
    try {
      await this.#produce(taken.map(({ bytes }) => ({ value: bytes, topic, partition: 0 })));
    } catch (error) {
      failure = failureOf(error, "a record of the journal", "unknown");
    }
    for (const pending of taken) {
      if (failure?.outcome === "not-applied") this.#settle(pending, failure);
      else if (this.#pending.has(pending.id)) this.#expect(pending, failure);
    }
  }

  /** What was written comes back soon, and what perhaps was comes soon or never. */
  #expect(pending: Pending, failure: TenonError | undefined): void {
    const { commandTimeoutMs } = this.#cluster;
    pending.timer();
    pending.timer = this.#world.timers.schedule(commandTimeoutMs, () =>
      this.#settle(pending, failure ?? overdue(pending.what, commandTimeoutMs, "unknown")),
    );
  }

  #settle(pending: Pending, error: TenonError): void {
    pending.timer();
    if (!this.#pending.delete(pending.id)) return;
    const { code, outcome, fields, cause } = error;
    const text =
      code === "unavailable" && outcome === "unknown"
        ? `Kafka did not confirm ${pending.what}. It may have happened; look, or repeat it where that is safe.`
        : error.message;
    pending.reject(new TenonError(code, text, { outcome, fields, cause }));
  }

  #produce(records: { key?: Buffer; value: Buffer; topic: string; partition: number }[]): Promise<number> {
    const { client, commandTimeoutMs } = this.#cluster;
    return this.#cluster.leader(
      { what: "a record of the journal", outcome: "unknown" },
      this.#settings.topic,
      0,
      (connection) => produce(client, connection, commandTimeoutMs, records),
    );
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
    const { client } = this.#cluster;
    const fetched = await this.#cluster.leader(asked, this.#settings.topic, 0, (connection, topic) =>
      fetchPartition(client, connection, topic, 0, { offset, maxWaitMs, bytesMax: fetchBytesMax }),
    );
    return fetched.records ?? [];
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
        if (error instanceof TenonError && (error.code === "conflict" || error.code === "corrupt")) {
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
    const { client, commandTimeoutMs } = this.#cluster;
    const topic = await this.#cluster.topic(this.#settings.topic);
    const address = topic && this.#cluster.addressOf(topic.leaders[0]!);
    if (address === undefined) throw new Error("the journal has no leader now");
    const session = await this.#cluster.dedicated(address);
    this.#session = session;
    try {
      while (!this.#isEnded) {
        const from = { offset: this.#next, maxWaitMs, bytesMax: fetchBytesMax, lastEpoch: this.#lastEpoch };
        const fetched = await session.within(maxWaitMs + commandTimeoutMs, (connection) =>
          fetchPartition(client, connection, topic!, 0, from),
        );
        if (this.#isEnded) return;
        if ((fetched.divergingEpoch?.epoch ?? -1) >= 0) await this.#loadAgain();
        else this.#consume(fetched.records ?? []);
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
    for (const hears of this.#listeners.values()) for (const hear of hears) hear("missed");
  }

  #consume(batches: readonly KafkaBatch[]): void {
    for (const batch of batches) {
      this.#carryOut(batch, this.#next);
      this.#next = Number(batch.firstOffset) + batch.lastOffsetDelta + 1;
      this.#lastEpoch = batch.partitionLeaderEpoch;
    }
    for (const news of this.#state.takeNews()) {
      for (const hear of this.#listeners.get(news.topic) ?? []) hear(news);
    }
  }

  /** Records below `from` are in the state already. */
  #carryOut(batch: KafkaBatch, from: number): void {
    if (isControl(batch)) return;
    for (const record of batch.records) {
      const offset = Number(batch.firstOffset) + record.offsetDelta;
      if (offset < from || record.value === null) continue;
      const part = partFrom(record.key, record.value);
      if (part !== undefined) this.#noteSnapshot(part);
      else this.#carryOutRecord(offset, record.value, timestampOf(batch, record));
    }
  }

  #carryOutRecord(offset: number, value: Buffer, at: number): void {
    const stored = decodeCommand(value);
    if (stored === undefined) return;
    if (stored === "newer") {
      const text = `the journal ${this.#settings.topic} holds records of a later version of Tenon; update this one`;
      throw new TenonError("conflict", text, { fields: { topic: this.#settings.topic } });
    }
    const result = this.#state.apply(stored.command, at);
    const isOwn = stored.id.startsWith(this.#own);
    if (isOwn) this.#answer(stored.id, result);
    if (offset < this.#snapshotAt) return;
    this.#snapshotAt = offset + this.#settings.snapshotEvery;
    if (isOwn) void this.#writeSnapshot(offset + 1, this.#state.encode());
  }

  #answer(id: string, result: unknown): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    pending.timer();
    pending.resolve(result);
  }

  // Snapshots ----------------------------------------------------------------------------------------------------------

  async #writeSnapshot(asOf: number, state: Buffer): Promise<void> {
    const { topic } = this.#settings;
    const name = this.#own + (this.#count++).toString(36);
    try {
      for (const part of partsOf(name, asOf, state)) {
        await this.#produce([{ key: keyOf(part), value: part.bytes, topic, partition: 0 }]);
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
    if (former > 0 && whole.snapshot.startsWith(this.#own)) void this.#deleteBelow(former);
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

  /** Calls back when something of the topic changed for members. Answers how to stop. */
  listen(topic: number, hear: Hear): () => void {
    let hears = this.#listeners.get(topic);
    if (hears === undefined) {
      hears = new Set();
      this.#listeners.set(topic, hears);
    }
    hears.add(hear);
    return () => {
      hears.delete(hear);
      if (hears.size === 0 && this.#listeners.get(topic) === hears) this.#listeners.delete(topic);
    };
  }

  #fail(error: TenonError): void {
    this.#ended ??= error;
    for (const pending of [...this.#pending.values()]) this.#settle(pending, error);
    for (const pending of this.#queue.splice(0)) {
      pending.timer();
      pending.reject(error);
    }
  }

  close(): void {
    this.#ended ??= closed("an operation");
    this.#session?.destroy();
    for (const pending of [...this.#pending.values()]) this.#settle(pending, closed(pending.what, "unknown"));
    for (const pending of this.#queue.splice(0)) {
      pending.timer();
      pending.reject(closed(pending.what));
    }
  }
}
