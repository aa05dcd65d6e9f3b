/**
 * The one seam between Tenon and everything that is not deterministic: time, chance, disk, network.
 * Only `world/system/` touches the real ones; everything else receives a `World` and asks it.
 */
export interface World {
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly log: Logger;
}

export interface Clock {
  /** Milliseconds since the Unix epoch. May jump in both directions when the machine's clock is set. */
  now(): number;
  /** Milliseconds from an arbitrary start. Never goes back; stands still while the machine sleeps. */
  monotonic(): number;
}

/** Withdraws a scheduled call. Harmless when the call has already happened. */
export type Cancel = () => void;

export interface Timers {
  /** Resolves after `ms` milliseconds; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<void>;
  /** Calls `fn` once, after `ms` milliseconds. Does not keep the process alive by itself, unless `keepsAlive` says so. */
  schedule(ms: number, fn: () => void, options?: { readonly keepsAlive?: boolean | undefined }): Cancel;
}

export interface Random {
  /** Uniform in [0, 1). */
  float(): number;
  bytes(count: number): Uint8Array;
  /** A random UUID (version 4) in its canonical form. */
  uuid(): string;
}

/**
 * An append-only view of a file system. What `append` wrote is durable after `sync` of the file; what `open("create")`,
 * `rename` and `remove` did to a directory is durable after `syncDirectory` of it.
 * Failures are `DiskError`s.
 */
export interface Disk {
  /** `"create"` makes a new file and fails with `exists` when there is one; `"append"` and `"read"` fail with `missing`. */
  open(path: string, mode: "create" | "append" | "read"): Promise<DiskFile>;
  /** Replaces the target, as POSIX does. */
  rename(from: string, to: string): Promise<void>;
  remove(path: string): Promise<void>;
  /** The names in a directory, sorted. */
  list(directory: string): Promise<readonly string[]>;
  stat(path: string): Promise<{ readonly sizeBytes: number; readonly directory: boolean } | undefined>;
  /** Makes the directory and its parents, durably; does nothing when it is there. */
  makeDirectory(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
  freeSpace(path: string): Promise<{ readonly freeBytes: number; readonly totalBytes: number }>;
  /**
   * Takes an exclusive lock at `path`, which the operating system frees when the process dies, however it dies.
   * When it is taken, by this process too, the answer is what its owner said of itself, with the process id where there
   * is one. The disk may put its own files beside `path`; nobody else may open any of them.
   */
  lock(path: string, owner: string): Promise<DiskLock | { readonly heldBy: string }>;
}

export interface DiskFile {
  readonly path: string;
  /** The size in bytes, counting every append that resolved. */
  readonly sizeBytes: number;
  /**
   * Adds the bytes at the end. One call at a time. When it rejects, any part of the bytes may have been written;
   * `truncate` back to the former size before trying again. The bytes must not change until it settles.
   */
  append(bytes: Uint8Array): Promise<void>;
  /** Fills `into` from `position`; resolves with how many bytes there were. May run concurrently with everything. */
  read(position: number, into: Uint8Array): Promise<number>;
  /** Makes the content and the size durable (`fdatasync`). After a failure nothing is known about unsynced bytes. */
  sync(): Promise<void>;
  truncate(sizeBytes: number): Promise<void>;
  /**
   * Writes bytes once more that stand there already, so that the next sync covers them: after a sync that failed, the operating system may take
   * them for written although they are not on the disk, and show them for as long as it runs. Interrupted, it harms nothing that was durable.
   */
  rewrite(position: number, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

export interface DiskLock {
  release(): Promise<void>;
}

/** Why a disk call failed; `full` covers ENOSPC and EDQUOT. */
export type DiskFailure = "full" | "missing" | "exists" | "denied" | "io";

export class DiskError extends Error {
  override readonly name = "DiskError";
  readonly failure: DiskFailure;
  readonly path: string;
  constructor(failure: DiskFailure, path: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
    this.path = path;
  }
}

/** Ordered byte streams that can break. Failures are `NetworkError`s. */
export interface Network {
  /** Port 0 asks for any free one; the listener's address says which. */
  listen(address: Address, accept: (connection: Connection) => void): Promise<Listener>;
  connect(address: Address, options?: { readonly signal?: AbortSignal | undefined }): Promise<Connection>;
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Listener {
  readonly address: Address;
  /** Accepts no more; connections that were accepted stay. */
  close(): Promise<void>;
}

export interface Connection {
  readonly remote: Address;
  /**
   * Resolves when the bytes were handed on; how many can wait is bounded, so awaiting it is the back-pressure.
   * The bytes must not change until it settles.
   */
  write(bytes: Uint8Array): Promise<void>;
  /** The next bytes; `undefined` when the other side ended the stream. Rejects when the connection broke. One call at a time. */
  read(): Promise<Uint8Array | undefined>;
  /** Ends our stream after what was written. Reading goes on until the other side ends too; then nothing is left open. */
  close(): Promise<void>;
  /** Breaks the connection at once. */
  destroy(): void;
}

/** Why a network call failed: nobody listens, no way there, the port is taken, not allowed, the stream broke. */
export type NetworkFailure = "refused" | "unreachable" | "occupied" | "denied" | "broken";

export class NetworkError extends Error {
  override readonly name = "NetworkError";
  readonly failure: NetworkFailure;
  readonly address: Address;
  constructor(failure: NetworkFailure, address: Address, message: string, options?: ErrorOptions) {
    super(message, options);
    this.failure = failure;
    this.address = address;
  }
}

/** Structured logging. `fields` never hold payloads or credentials. The default discards everything. */
export interface Logger {
  log(level: "debug" | "info" | "warn" | "error", message: string, fields?: Readonly<Record<string, unknown>>): void;
}
