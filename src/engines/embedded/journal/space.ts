import type { World } from "../../../world/world.ts";
import { DiskError } from "../../../world/world.ts";

const RESERVE_CHUNK_BYTES = 1024 * 1024;
const CHECK_AGAIN_MS = 1000;

/**
 * Watches the disk's space. A file of real bytes, the *reserve*, is kept back; when the disk is full it is given up, so that what
 * was acknowledged in memory can still be written, and everything that ends work (settling, closing) goes on.
 */
export class Space {
  readonly #world: World;
  readonly #directory: string;
  readonly #reservePath: string;
  readonly #reserveBytes: number;
  readonly #fullRatio: number;
  #full = false;
  #reserved = false;
  #checkedAt = 0;
  #checking: Promise<void> | undefined;
  #stopped = false;

  constructor(options: {
    readonly world: World;
    readonly directory: string;
    readonly reserveBytes: number;
    readonly fullRatio: number;
  }) {
    this.#world = options.world;
    this.#directory = options.directory;
    this.#reservePath = `${options.directory}/reserve`;
    this.#reserveBytes = options.reserveBytes;
    this.#fullRatio = options.fullRatio;
  }

  /** Looking at it while the disk is full starts a new check in the background, at most once a second. */
  get full(): boolean {
    if (this.#world.clock.monotonic() - this.#checkedAt >= CHECK_AGAIN_MS) void this.checkIfFull();
    return this.#full;
  }

  /** What `full` says may be over long since: measures again. A disk that does not answer leaves it as it was. */
  async checkIfFull(): Promise<void> {
    if (!this.#full || this.#stopped) return;
    await this.check().catch((cause: unknown) => this.#warn("The disk's free space could not be read.", cause));
  }

  /** Measures the free space; makes the reserve again when there is room. One check at a time. */
  check(): Promise<void> {
    this.#checkedAt = this.#world.clock.monotonic();
    this.#checking ??= this.#measure().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  /** The disk refused to write for want of space: gives up the reserve. */
  async giveUp(): Promise<void> {
    this.#full = true;
    this.#checkedAt = this.#world.clock.monotonic();
    await this.#checking?.catch(() => undefined);
    this.#full = true;
    this.#reserved = false;
    if ((await this.#world.disk.stat(this.#reservePath)) !== undefined)
      await this.#world.disk.remove(this.#reservePath);
  }

  /** No check begins after this; resolves when the one under way is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#checking?.catch(() => undefined);
  }

  async #measure(): Promise<void> {
    const { freeBytes, totalBytes } = await this.#world.disk.freeSpace(this.#directory);
    const spare = freeBytes - totalBytes * (1 - this.#fullRatio);
    // A reserve that an earlier process left behind counts.
    if (!this.#reserved) this.#reserved = await this.#isComplete();
    this.#full = spare < (this.#reserved ? 0 : this.#reserveBytes) || !(this.#reserved || (await this.#reserve()));
  }

  async #isComplete(): Promise<boolean> {
    if (this.#reserveBytes === 0) return true;
    return (await this.#world.disk.stat(this.#reservePath))?.sizeBytes === this.#reserveBytes;
  }

  /** Makes the reserve; false when there is no room for it. */
  async #reserve(): Promise<boolean> {
    const { disk } = this.#world;
    if ((await disk.stat(this.#reservePath)) !== undefined) await disk.remove(this.#reservePath);
    try {
      await this.#writeReserve();
      this.#reserved = true;
      return true;
    } catch (cause) {
      if (!(cause instanceof DiskError) || cause.failure !== "full") throw cause;
      await disk.remove(this.#reservePath).catch(() => undefined);
      return false;
    }
  }

  async #writeReserve(): Promise<void> {
    const file = await this.#world.disk.open(this.#reservePath, "create");
    try {
      // Bytes that are not zero, so that no file system stores them as a hole.
      const chunk = Buffer.alloc(Math.min(RESERVE_CHUNK_BYTES, this.#reserveBytes), "tenon reserve ");
      for (let written = 0; written < this.#reserveBytes; written += chunk.length) {
        await file.append(chunk.subarray(0, Math.min(chunk.length, this.#reserveBytes - written)));
      }
      await file.sync();
    } finally {
      await file.close();
    }
  }

  #warn(message: string, cause: unknown): void {
    this.#world.log.log("warn", message, { directory: this.#directory, cause: String(cause) });
  }
}
