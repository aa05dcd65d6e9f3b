import { crc32 } from "node:zlib";
import { checkRewrite, checkTruncation, closedFile, diskError } from "../../world/disk-error.ts";
import { resolvePath } from "../../world/file-tree.ts";
import type { Disk, DiskError, DiskFailure, DiskFile, DiskLock } from "../../world/world.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import type { SimulatedProcess } from "../simulated-process.ts";
import type { CrashOutcome, FaultPlan, OperationKind } from "./fault-plan.ts";
import type { SimulatedInode } from "./simulated-inode.ts";
import type { SimulatedStorage } from "./simulated-storage.ts";

export interface DiskLatency {
  readonly minMs: number;
  readonly maxMs: number;
}

/** What the calls of one process' disk share. */
export interface DiskMachinery {
  readonly incarnation: SimulatedProcess;
  readonly storage: SimulatedStorage;
  readonly faults: FaultPlan;
  readonly generator: SeededGenerator;
  readonly latency: DiskLatency;
  /** Ends the process now, as planned. */
  readonly crash: (outcome: CrashOutcome) => void;
}

interface Operation<Result> {
  readonly kind: OperationKind;
  readonly label: string;
  readonly effect: () => Result;
  /** What the operation leaves when it fails; nothing when left out. */
  readonly failed?: ((failure: DiskFailure) => void) | undefined;
  /** What it may leave when the process crashes meanwhile; the whole effect when left out. */
  readonly torn?: (() => void) | undefined;
  readonly error: (failure: DiskFailure) => DiskError;
}

/** Counts the operation, lets the plan decide on it, and makes an event of it. */
function operate<Result>(machinery: DiskMachinery, operation: Operation<Result>): Promise<Result> {
  const { incarnation, faults, generator } = machinery;
  const verdict = incarnation.alive ? faults.next(operation.kind) : undefined;
  if (verdict?.type === "crash" && verdict.moment === "before") machinery.crash(verdict.outcome);
  if (!incarnation.alive) return new Promise(() => {});
  // Drawn by the crash itself, whether planned or not: it may have been done, in part, or not at all.
  const interrupted = () => {
    if (verdict?.type !== "fail" && generator.chance(0.5)) attempt(operation.torn ?? operation.effect);
  };
  const delayMs = latencyMs(machinery);
  const crashes = verdict?.type === "crash";
  if (crashes) incarnation.after(delayMs, `crash during ${operation.label}`, () => machinery.crash(verdict.outcome));
  return incarnation.call({
    label: operation.label,
    delayMs: crashes ? Number.POSITIVE_INFINITY : delayMs,
    effect: () => {
      if (verdict?.type !== "fail") return operation.effect();
      operation.failed?.(verdict.failure);
      throw operation.error(verdict.failure);
    },
    interrupted,
  });
}

/** The process that would have heard of the failure is gone. */
function attempt(effect: () => unknown): void {
  try {
    effect();
  } catch {}
}

function latencyMs(machinery: DiskMachinery): number {
  const { minMs, maxMs } = machinery.latency;
  return minMs + machinery.generator.float() * (maxMs - minMs);
}

export class SimulatedDisk implements Disk {
  readonly #machinery: DiskMachinery;

  constructor(machinery: DiskMachinery) {
    this.#machinery = machinery;
  }

  open(path: string, mode: "create" | "append" | "read"): Promise<DiskFile> {
    const { storage } = this.#machinery;
    return operate<DiskFile>(this.#machinery, {
      kind: "open",
      label: `open ${path} to ${mode}`,
      effect: () => {
        const inode = mode === "create" ? storage.create(path) : storage.open(path);
        return new SimulatedFile(path, inode, mode !== "read", this.#machinery);
      },
      torn: () => {
        if (mode === "create") storage.create(path);
      },
      error: (failure) => diskError(failure, "open", path),
    });
  }

  rename(from: string, to: string): Promise<void> {
    return operate(this.#machinery, {
      kind: "rename",
      label: `rename ${from} to ${to}`,
      effect: () => this.#machinery.storage.rename(from, to),
      error: (failure) => diskError(failure, "rename", from),
    });
  }

  remove(path: string): Promise<void> {
    return operate(this.#machinery, {
      kind: "remove",
      label: `remove ${path}`,
      effect: () => this.#machinery.storage.remove(path),
      error: (failure) => diskError(failure, "remove", path),
    });
  }

  syncDirectory(path: string): Promise<void> {
    const { storage } = this.#machinery;
    const names = storage.namesToSync(path);
    return operate(this.#machinery, {
      kind: "syncDirectory",
      label: `sync directory ${path}`,
      effect: () => {
        storage.tree.directory("sync", path);
        storage.syncNames(names);
      },
      error: (failure) => diskError(failure, "sync", path),
    });
  }

  list(directory: string): Promise<readonly string[]> {
    return this.#ask(`list ${directory}`, () => this.#machinery.storage.tree.list(directory));
  }

  stat(path: string): Promise<{ readonly sizeBytes: number; readonly directory: boolean } | undefined> {
    const { tree } = this.#machinery.storage;
    return this.#ask(`stat ${path}`, () => {
      const inode = tree.get(path);
      if (inode !== undefined) return { sizeBytes: inode.cache.sizeBytes, directory: false };
      return tree.directories.has(resolvePath(path)) ? { sizeBytes: 0, directory: true } : undefined;
    });
  }

  makeDirectory(path: string): Promise<void> {
    return this.#ask(`make directory ${path}`, () => this.#machinery.storage.tree.makeDirectory(path));
  }

  freeSpace(path: string): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    const { storage } = this.#machinery;
    return this.#ask(`free space of ${path}`, () => ({
      freeBytes: storage.freeBytes,
      totalBytes: storage.capacityBytes,
    }));
  }

  lock(path: string, owner: string): Promise<DiskLock | { readonly heldBy: string }> {
    const { storage, incarnation } = this.#machinery;
    const resolved = resolvePath(path);
    return this.#ask(`lock ${path}`, () => {
      storage.tree.checkParent("lock", path);
      const heldBy = storage.locks.get(resolved);
      if (heldBy !== undefined) return { heldBy };
      const mine = `${owner} (pid ${incarnation.number})`;
      storage.locks.set(resolved, mine);
      let released = false;
      return {
        release: () =>
          this.#ask(`release ${path}`, () => {
            if (!released) storage.locks.delete(resolved);
            released = true;
          }),
      };
    });
  }

  /** A call that the plan does not count. */
  #ask<Result>(label: string, effect: () => Result): Promise<Result> {
    return this.#machinery.incarnation.call({ label, delayMs: latencyMs(this.#machinery), effect });
  }
}

/** Stricter than the contract: what breaks an obligation of the caller is an error here, where real files let it pass. */
class SimulatedFile implements DiskFile {
  readonly path: string;
  readonly #inode: SimulatedInode;
  readonly #writable: boolean;
  readonly #machinery: DiskMachinery;
  #appending = false;
  #closed = false;

  constructor(path: string, inode: SimulatedInode, writable: boolean, machinery: DiskMachinery) {
    this.path = path;
    this.#inode = inode;
    this.#writable = writable;
    this.#machinery = machinery;
    machinery.storage.addHandle(inode);
  }

  get sizeBytes(): number {
    return this.#inode.sizeBytes;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#check("append to", true);
    if (this.#inode.cache.sizeBytes > this.#inode.sizeBytes) {
      throw new Error(`append to ${this.path}: the append before failed; truncate the file first`);
    }
    const checksum = crc32(bytes);
    const { generator } = this.#machinery;
    const tear = (limit: number) => this.#inode.appendTorn(bytes, generator.integer(0, limit));
    const append = operate(this.#machinery, {
      kind: "append",
      label: `append ${bytes.byteLength} bytes (${checksum}) to ${this.path}`,
      effect: () => {
        this.#append(bytes, checksum, tear);
      },
      failed: () => tear(bytes.byteLength),
      torn: () => tear(Math.min(bytes.byteLength, this.#machinery.storage.freeBytes)),
      error: (failure) => diskError(failure, "append to", this.path),
    });
    this.#appending = true;
    try {
      await append;
    } finally {
      this.#appending = false;
    }
  }

  async read(position: number, into: Uint8Array): Promise<number> {
    this.#check("read", false);
    return operate(this.#machinery, {
      kind: "read",
      label: `read ${into.byteLength} bytes at ${position} of ${this.path}`,
      effect: () => this.#inode.cache.read(position, into),
      torn: () => {},
      error: (failure) => diskError(failure, "read", this.path),
    });
  }

  async sync(): Promise<void> {
    this.#check("sync", false);
    // What is appended while the sync is under way is not covered by it.
    const end = this.#inode.cache.sizeBytes;
    const { generator } = this.#machinery;
    return operate(this.#machinery, {
      kind: "sync",
      label: `sync ${this.path}`,
      effect: () => this.#inode.sync(end),
      failed: () => {
        if (generator.chance(0.5)) this.#inode.forgetUnsynced(end, generator);
      },
      error: (failure) => diskError(failure, "sync", this.path),
    });
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#check("truncate", true);
    if (this.#machinery.incarnation.alive) checkTruncation(this, sizeBytes);
    return operate(this.#machinery, {
      kind: "truncate",
      label: `truncate ${this.path} to ${sizeBytes} bytes`,
      effect: () => this.#inode.truncate(sizeBytes),
      error: (failure) => diskError(failure, "truncate", this.path),
    });
  }

  async rewrite(position: number, bytes: Uint8Array): Promise<void> {
    this.#check("rewrite", true);
    if (this.#machinery.incarnation.alive) checkRewrite(this, position, bytes);
    return operate(this.#machinery, {
      kind: "rewrite",
      label: `rewrite ${bytes.byteLength} bytes at ${position} of ${this.path}`,
      effect: () => {
        const there = this.#inode.cache.slice(position, position + bytes.byteLength);
        if (!equal(there, bytes))
          throw new Error(`rewrite ${this.path}: the bytes are others than those that are there`);
        this.#inode.rewrite(position);
      },
      error: (failure) => diskError(failure, "rewrite", this.path),
    });
  }

  close(): Promise<void> {
    const first = !this.#closed;
    this.#closed = true;
    const { incarnation, storage } = this.#machinery;
    return incarnation.call({
      label: `close ${this.path}`,
      delayMs: latencyMs(this.#machinery),
      effect: () => {
        if (first) storage.removeHandle(this.#inode);
      },
    });
  }

  #append(bytes: Uint8Array, checksum: number, tear: (limit: number) => void): void {
    if (crc32(bytes) !== checksum) throw new Error(`append to ${this.path}: the bytes changed before it settled`);
    const { freeBytes } = this.#machinery.storage;
    if (bytes.byteLength > freeBytes) {
      tear(freeBytes);
      throw diskError("full", "append to", this.path);
    }
    this.#inode.append(bytes);
  }

  #check(operation: string, writes: boolean): void {
    // A dead process hears nothing, not even of its own mistakes; its call is going to hang.
    if (!this.#machinery.incarnation.alive) return;
    if (this.#closed) throw closedFile(operation, this.path);
    if (writes && !this.#writable)
      throw diskError("denied", operation, this.path, new Error("it was opened for reading"));
    if (writes && this.#appending) throw new Error(`${operation} ${this.path}: an append is under way`);
  }
}

function equal(one: Uint8Array, other: Uint8Array): boolean {
  return one.byteLength === other.byteLength && one.every((byte, index) => byte === other[index]);
}
