import { TenonError } from "../../contracts/errors.ts";
import type { KeyValueEngine } from "../../contracts/key-value.ts";
import type { LeaseEngine } from "../../contracts/leases.ts";
import type { LogEngine } from "../../contracts/log.ts";
import type { MessageEngine } from "../../contracts/messages.ts";
import type { RateEngine } from "../../contracts/rates.ts";
import type { DiskLock, World } from "../../world/world.ts";
import { Cleaner } from "./cleaner.ts";
import { Core } from "./core.ts";
import { Reader } from "./cursor.ts";
import { encodeFooter, loadFooter } from "./footer.ts";
import { corrupt, diskFailure } from "./journal/failures.ts";
import { segmentFileName } from "./journal/format.ts";
import { Journal, type JournalState, offsetOf, segmentOf } from "./journal/journal.ts";
import { EntryStore } from "./key-values/entry-store.ts";
import { KeyValueStore } from "./key-values/key-value-store.ts";
import { EmbeddedLeases } from "./leases/lease-engine.ts";
import { EmbeddedLog } from "./log/log-engine.ts";
import { replayGrant, replayLaneCommit, replaySeek } from "./messages/lanes.ts";
import { EmbeddedMessages } from "./messages/message-engine.ts";
import { MessageStore } from "./messages/message-store.ts";
import { replayGroup, replayLog, replayLogRetention, replaySettings, replayTopic } from "./messages/topic-records.ts";
import { isPermitKey } from "./rates/permits.ts";
import { EmbeddedRates } from "./rates/rate-engine.ts";
import { recordKind } from "./records.ts";
import { replaySnapshot, writeSnapshot } from "./snapshot.ts";

/** A durable engine inside this process. One journal carries everything; see docs/journal.md. */
export interface EmbeddedEngine extends AsyncDisposable {
  readonly name: "embedded" | "memory";
  readonly world: World;
  readonly messages: MessageEngine;
  readonly log: LogEngine;
  /** Whether using a topic creates it, for topics that do not say. */
  readonly topicCreation: "ifMissing" | "never";
  readonly keyValue: KeyValueEngine;
  readonly leases: LeaseEngine;
  readonly rates: RateEngine;
  /** Aborts when the engine has ended, by `close` or by a failing disk; the reason says which. */
  readonly ended: AbortSignal;
  /** How many bytes the journal takes on the disk. */
  readonly sizeBytes: number;
  /** Writes what is pending, releases every lane and the directory. Idempotent; nothing works afterwards. */
  close(): Promise<void>;
}

export interface EngineSettings {
  readonly name: EmbeddedEngine["name"];
  readonly world: World;
  readonly directory: string;
  readonly durability: "sync" | "async";
  readonly survives: "nothing" | "process" | "machine";
  readonly retentionMs: number;
  readonly topicCreation: EmbeddedEngine["topicCreation"];
  readonly sizeBytesMax: number;
  readonly segmentBytes: number | undefined;
  readonly reserveBytes: number | undefined;
}

export class JournaledEngine implements EmbeddedEngine, JournalState {
  readonly name: EmbeddedEngine["name"];
  readonly world: World;
  readonly messages: EmbeddedMessages;
  readonly log: EmbeddedLog;
  readonly topicCreation: EmbeddedEngine["topicCreation"];
  readonly keyValue: KeyValueStore;
  readonly leases: EmbeddedLeases;
  readonly rates: EmbeddedRates;
  readonly cleaner: Cleaner;
  readonly #store: MessageStore;
  /** What leases, rates, and the readers and writers of logs keep. */
  readonly #states: EntryStore;
  readonly #stores: readonly EntryStore[];
  readonly #core: Core;
  readonly #lock: DiskLock;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<JournaledEngine> {
    const { world, directory, durability, segmentBytes, reserveBytes } = settings;
    const lock = await lockDirectory(world, directory);
    try {
      const engine = new JournaledEngine(settings, lock);
      engine.#core.attach(
        await Journal.open({ world, directory, durability, segmentBytes, reserveBytes, state: engine }),
      );
      await engine.#check();
      engine.#start();
      return engine;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  private constructor(settings: EngineSettings, lock: DiskLock) {
    this.name = settings.name;
    this.world = settings.world;
    this.topicCreation = settings.topicCreation;
    this.#lock = lock;
    this.#core = new Core(settings.world, settings.directory, settings.sizeBytesMax);
    this.#store = new MessageStore(this.#core);
    this.messages = new EmbeddedMessages(this.#store, settings.survives, settings.retentionMs);
    this.keyValue = new KeyValueStore(this.#core, settings.survives);
    this.#states = new EntryStore({
      core: this.#core,
      kinds: { commit: recordKind.states, version: recordKind.snapshotStatesVersion },
      inlineBytesMax: Number.POSITIVE_INFINITY,
      footerBytesMax: Number.POSITIVE_INFINITY,
      recordsExpiry: isPermitKey,
      listener: { removed: (key) => this.rates.removed(key) },
    });
    this.#stores = [this.keyValue.entries, this.#states];
    this.leases = new EmbeddedLeases(this.#core, this.#states, settings.survives);
    this.rates = new EmbeddedRates(this.#core, this.#states, settings.survives);
    this.log = new EmbeddedLog(this.#store, this.#states, settings.survives);
    this.cleaner = new Cleaner(this.#core, this.#store, this.#stores, settings.sizeBytesMax);
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  get sizeBytes(): number {
    return this.#core.journal.sizeBytes;
  }

  /** How many entries leases and rates keep. */
  get stateCount(): number {
    return this.#states.size;
  }

  async #check(): Promise<void> {
    try {
      this.cleaner.checkOldest();
    } catch (error) {
      await this.#core.journal.close();
      throw error;
    }
  }

  #start(): void {
    this.#store.start();
    this.keyValue.start();
    this.#states.start();
    this.leases.start();
    this.rates.start();
    this.log.start();
    this.cleaner.start();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.cleaner.close();
    const reason = new TenonError("closed", `the embedded engine at ${this.#core.directory} was closed`);
    if (!this.#core.closed) this.messages.releaseAll();
    this.#end(reason);
    try {
      await this.#core.journal.close();
    } finally {
      await this.#lock.release();
    }
  }

  #end(reason: TenonError): void {
    if (this.#core.closed) return;
    this.#core.end(reason);
    // Whatever ended it, members hear that it has closed: nothing of it comes back.
    this.messages.close(this.#core.closedError() ?? reason);
    this.keyValue.close(reason);
    this.#states.close();
    this.leases.close();
    this.log.close();
    this.#ended.abort(reason);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  loadFooter(segment: number, footer: Buffer): void {
    this.#reading(segment, 0, () => loadFooter(segment, footer, this.#store, this.#stores));
  }

  footer(segment: number): Uint8Array {
    return encodeFooter(segment, this.#store, this.#stores);
  }

  snapshot(journal: Journal): void {
    this.cleaner.appendOldest(journal);
    writeSnapshot(journal, this.#store, this.#stores);
  }

  replay(kind: number, payload: Buffer, position: number): void {
    this.#reading(segmentOf(position), offsetOf(position), () => this.#replay(kind, payload, position));
  }

  /** Bytes that are whole and mean nothing all the same were written by something else, such as another version. */
  #reading(segment: number, offset: number, read: () => void): void {
    try {
      read();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      throw corrupt(`${this.#core.directory}/${segmentFileName(segment)}`, offset, error.message);
    }
  }

  #replay(kind: number, payload: Buffer, position: number): void {
    const messages = this.#store;
    const laneOf = (id: number) => messages.catalogue.lane(id);
    switch (kind) {
      case recordKind.run:
        messages.replayRun(payload, position);
        break;
      case recordKind.laneCommit:
        replayLaneCommit(new Reader(payload), laneOf);
        break;
      case recordKind.keyValues:
        this.keyValue.entries.replay(payload, position);
        break;
      case recordKind.states:
        this.#states.replay(payload, position);
        break;
      case recordKind.delayed:
        messages.delayed.replay(payload, position);
        break;
      case recordKind.topic:
        replayTopic(payload, messages.catalogue);
        break;
      case recordKind.group:
        replayGroup(payload, messages.catalogue);
        break;
      case recordKind.topicSettings:
        replaySettings(payload, messages.catalogue);
        break;
      case recordKind.log:
        replayLog(payload, messages.catalogue);
        break;
      case recordKind.logRetention:
        replayLogRetention(payload, messages.catalogue);
        break;
      case recordKind.logTrimmed:
        messages.replayTrimming(payload);
        break;
      case recordKind.topicRemoved:
      case recordKind.groupRemoved:
        messages.replayRemoval(kind, payload);
        break;
      case recordKind.evicted:
        messages.replayEviction(payload);
        break;
      case recordKind.laneGranted:
      case recordKind.laneReleased:
        replayGrant(new Reader(payload), kind === recordKind.laneGranted, laneOf);
        break;
      case recordKind.oldestSegment:
        this.cleaner.replayOldest(payload);
        break;
      case recordKind.laneSeek:
        replaySeek(new Reader(payload), laneOf);
        break;
      default:
        if (replaySnapshot(kind, payload, messages, this.#stores)) break;
        throw new RangeError(`a record of the unknown kind ${kind}; a newer version may have written it`);
    }
  }

  durable(batch: number): void {
    this.#store.queues.durable(batch);
    this.#store.delayed.durable(batch);
    this.keyValue.durable(batch);
    this.leases.durable(batch);
  }

  failed(error: TenonError): void {
    this.world.log.log("error", "the journal failed and the engine has stopped", { error: error.message });
    this.#end(error);
  }
}

async function lockDirectory(world: World, directory: string): Promise<DiskLock> {
  let lock: Awaited<ReturnType<World["disk"]["lock"]>>;
  try {
    await world.disk.makeDirectory(directory);
    lock = await world.disk.lock(`${directory}/owner.db`, "an embedded Tenon engine");
  } catch (cause) {
    throw diskFailure("Taking the engine's directory", directory, cause);
  }
  if (!("heldBy" in lock)) return lock;
  const message = `${directory} is in use by ${lock.heldBy}; close that engine first, or give this one a directory of its own`;
  throw new TenonError("unavailable", message, { fields: { directory, owner: lock.heldBy } });
}
