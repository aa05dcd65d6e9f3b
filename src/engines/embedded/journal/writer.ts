import type { Cancel, DiskFile, World } from "../../../world/world.ts";
import { DiskError } from "../../../world/world.ts";
import { type BatchRole, type FooterBatch, sealBatch, segmentFileName } from "./format.ts";
import type { ClosedBatch } from "./gathering.ts";
import type { Space } from "./space.ts";

/** What is to be done to the files, in order. */
export type WriterTask =
  | { readonly type: "batch"; readonly batch: ClosedBatch }
  /** Ends the segment's file. */
  | {
      readonly type: "footer";
      readonly number: number;
      readonly segment: number;
      readonly offset: number;
      readonly footer: FooterBatch;
    }
  /** Begins a segment's file. */
  | { readonly type: "create"; readonly segment: number };

export interface WriterHost {
  /** Closes the batch being gathered when somebody waits for it. */
  collect(): void;
  /** Grows with everything appended. */
  appended(): number;
  /** Batches up to this number count as durable. */
  acknowledge(batch: number): void;
  footerWritten(segment: number): void;
  failed(doing: string, cause: unknown, path: string, offset: number): void;
}

const CHECK_SPACE_BYTES = 16 * 1024 * 1024;
const SYNC_AFTER_MS = 1000;
/** How many microtasks may pass without anything appended before a batch is closed. */
const QUIET_TURNS = 12;

/**
 * Does the writing: one append and one sync per batch, strictly one after the other. What is appended while they are under way
 * forms the next batch.
 */
export class Writer {
  readonly #world: World;
  readonly #directory: string;
  readonly #durability: "sync" | "async";
  readonly #space: Space;
  readonly #host: WriterHost;
  readonly #epoch: number;
  readonly #identity: bigint;
  readonly #tasks: WriterTask[] = [];
  #file: DiskFile | undefined;
  #segment: number;
  /** How much of the current segment's file is written. */
  #written: number;
  #durableSegment: number;
  #durableOffset: number;
  #running = false;
  #failed = false;
  #syncWanted: PromiseWithResolvers<void> | undefined;
  #cancelSync: Cancel | undefined;
  #unchecked = 0;
  #doing = "Writing the journal";

  constructor(options: {
    readonly world: World;
    readonly directory: string;
    readonly durability: "sync" | "async";
    readonly space: Space;
    readonly host: WriterHost;
    readonly epoch: number;
    readonly identity: bigint;
    /** The file to go on with, whose `sizeBytes` are all durable; `undefined` when the first one is to be created. */
    readonly file: DiskFile | undefined;
    readonly segment: number;
  }) {
    this.#world = options.world;
    this.#directory = options.directory;
    this.#durability = options.durability;
    this.#space = options.space;
    this.#host = options.host;
    this.#epoch = options.epoch;
    this.#identity = options.identity;
    this.#file = options.file;
    this.#segment = options.segment;
    this.#written = options.file?.sizeBytes ?? 0;
    this.#durableSegment = options.segment;
    this.#durableOffset = this.#written;
  }

  get segment(): number {
    return this.#segment;
  }

  get writtenBytes(): number {
    return this.#written;
  }

  add(task: WriterTask): void {
    this.#tasks.push(task);
  }

  /** Starts the writing, in a microtask, so that everything appended in this tick shares a batch. */
  wake(): void {
    if (this.#running || this.#failed) return;
    this.#running = true;
    queueMicrotask(() => void this.#run());
  }

  /** Makes everything that is written durable, also with `durability: "async"`. */
  async sync(): Promise<void> {
    if (this.#synced) return;
    this.#syncWanted ??= Promise.withResolvers<void>();
    const { promise } = this.#syncWanted;
    this.wake();
    await promise;
  }

  get #synced(): boolean {
    return this.#durableSegment === this.#segment && this.#durableOffset === this.#written;
  }

  /** Nothing more is begun; what is under way ends unheard. */
  stop(cause: unknown): void {
    this.#failed = true;
    this.#tasks.length = 0;
    this.#cancelSync?.();
    this.#syncWanted?.reject(cause);
  }

  /** To be called when nothing is left to do, or after a failure. */
  async close(): Promise<void> {
    this.#cancelSync?.();
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }

  async #run(): Promise<void> {
    try {
      while (!this.#failed) {
        await this.#untilQuiet();
        if (this.#failed) break;
        // Only when nothing else is to be written first: until then, others may still join.
        if (this.#tasks.length === 0) this.#host.collect();
        // A sync that is due comes first, or steady load would put it off for ever.
        if (this.#syncWanted !== undefined && this.#file !== undefined) {
          await this.#sync();
          continue;
        }
        const task = this.#tasks.shift();
        if (task === undefined) break;
        await this.#perform(task);
      }
      this.#running = false;
    } catch (cause) {
      if (this.#failed) return;
      this.#failed = true;
      this.#cancelSync?.();
      this.#syncWanted?.reject(cause);
      this.#host.failed(this.#doing, cause, this.#path(this.#segment), this.#written);
    }
  }

  /**
   * Lets those who were just told that their batch is durable append again, so that they share the next batch with those who
   * appended meanwhile; else the two groups would take turns for ever, each waiting for the other's sync.
   */
  async #untilQuiet(): Promise<void> {
    for (let seen = -1; seen !== this.#host.appended() && this.#tasks.length === 0; ) {
      seen = this.#host.appended();
      for (let turn = 0; turn < QUIET_TURNS; turn++) await undefined;
    }
  }

  async #perform(task: WriterTask): Promise<void> {
    if (task.type === "create") return this.#create(task.segment);
    if (task.type === "footer") return this.#seal(task);
    const { batch } = task;
    this.#sealBatch(batch.bytes, batch.from, batch.to, batch.role, batch.segment, batch.offset);
    await this.#append(batch.bytes.subarray(batch.from, batch.to));
    if (this.#durability === "sync" || batch.role === "closed") await this.#sync();
    else this.#syncLater();
    this.#host.acknowledge(batch.number);
    this.#unchecked += batch.to - batch.from;
    if (this.#unchecked >= CHECK_SPACE_BYTES) await this.#checkSpace();
  }

  #sealBatch(bytes: Buffer, from: number, to: number, role: BatchRole, segment: number, offset: number): void {
    sealBatch(bytes, from, to, {
      role,
      segment,
      offset,
      identity: this.#identity,
      epoch: this.#epoch,
      durableSegment: this.#durableSegment,
      durableOffset: this.#durableOffset,
    });
  }

  async #seal(task: WriterTask & { readonly type: "footer" }): Promise<void> {
    // Everything before the footer is durable before it, so that the footer proves it.
    if (!this.#synced) await this.#sync();
    const { bytes, batchBytes } = task.footer;
    this.#sealBatch(bytes, 0, batchBytes, "footer", task.segment, task.offset);
    await this.#append(bytes);
    await this.#sync();
    await this.close();
    this.#host.footerWritten(task.segment);
    this.#host.acknowledge(task.number);
  }

  async #create(segment: number): Promise<void> {
    const path = this.#path(segment);
    this.#doing = "Beginning a segment of the journal";
    this.#file = await this.#withSpace(() => this.#world.disk.open(path, "create"));
    this.#segment = segment;
    this.#written = 0;
    await this.#world.disk.syncDirectory(this.#directory);
    await this.#checkSpace();
  }

  async #append(bytes: Buffer): Promise<void> {
    this.#doing = "Writing the journal";
    const file = this.#file!;
    let torn = false;
    await this.#withSpace(async () => {
      if (torn) await file.truncate(this.#written);
      torn = true;
      await file.append(bytes);
    });
    this.#written += bytes.length;
  }

  /**
   * What is written here was accepted before, so a full disk must not refuse it: the reserve is given up and the call made once
   * more.
   */
  async #withSpace<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      if (!(cause instanceof DiskError) || cause.failure !== "full") throw cause;
      await this.#space.giveUp();
      return await call();
    }
  }

  async #sync(): Promise<void> {
    this.#doing = "Syncing the journal";
    this.#cancelSync?.();
    this.#cancelSync = undefined;
    await this.#file!.sync();
    this.#durableSegment = this.#segment;
    this.#durableOffset = this.#written;
    this.#syncWanted?.resolve();
    this.#syncWanted = undefined;
  }

  #syncLater(): void {
    this.#cancelSync ??= this.#world.timers.schedule(SYNC_AFTER_MS, () => {
      this.#cancelSync = undefined;
      // A failure reaches everybody through the host.
      this.sync().catch(() => undefined);
    });
  }

  async #checkSpace(): Promise<void> {
    this.#unchecked = 0;
    try {
      await this.#space.check();
    } catch (cause) {
      const fields = { directory: this.#directory, cause: String(cause) };
      this.#world.log.log("warn", "The free space of the journal's disk could not be read.", fields);
    }
  }

  #path(segment: number): string {
    return `${this.#directory}/${segmentFileName(segment)}`;
  }
}
