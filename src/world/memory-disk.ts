import { ChunkedBytes } from "./chunked-bytes.ts";
import { checkRewrite, checkTruncation, closedFile, diskError } from "./disk-error.ts";
import { FileTree, resolvePath } from "./file-tree.ts";
import type { Disk, DiskFile, DiskLock } from "./world.ts";

export interface MemoryDiskOptions {
  /** Appending beyond it fails with `full`. Without it only the memory itself is the limit. */
  readonly capacityBytes?: number | undefined;
}

/**
 * A disk that forgets: it lives as long as the object. Every call settles in a microtask; `sync` has nothing to do. Removing a
 * file frees its memory once its handles are closed.
 */
export function memoryDisk(options: MemoryDiskOptions = {}): Disk {
  return new MemoryDisk(options.capacityBytes ?? Number.MAX_SAFE_INTEGER);
}

interface Content {
  readonly bytes: ChunkedBytes;
  /** A removed file counts as used while it is open. */
  linked: boolean;
  handles: number;
}

class Space {
  readonly capacityBytes: number;
  usedBytes = 0;
  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  unlink(content: Content | undefined): void {
    if (content === undefined) return;
    content.linked = false;
    this.#reclaim(content);
  }

  close(content: Content): void {
    content.handles -= 1;
    this.#reclaim(content);
  }

  #reclaim(content: Content): void {
    if (content.linked || content.handles > 0) return;
    this.usedBytes -= content.bytes.sizeBytes;
    content.bytes.truncate(0);
  }
}

class MemoryDisk implements Disk {
  readonly #tree = new FileTree<Content>();
  readonly #locks = new Map<string, string>();
  readonly #space: Space;

  constructor(capacityBytes: number) {
    this.#space = new Space(capacityBytes);
  }

  async open(path: string, mode: "create" | "append" | "read"): Promise<DiskFile> {
    if (mode === "create") this.#tree.add(path, { bytes: new ChunkedBytes(), linked: true, handles: 0 });
    return new MemoryFile(path, this.#tree.find("open", path), mode !== "read", this.#space);
  }

  async rename(from: string, to: string): Promise<void> {
    const replaced = this.#tree.get(to);
    const moved = this.#tree.get(from);
    this.#tree.rename(from, to);
    if (replaced !== moved) this.#space.unlink(replaced);
  }

  async remove(path: string): Promise<void> {
    const content = this.#tree.get(path);
    this.#tree.remove(path);
    this.#space.unlink(content);
  }

  async list(directory: string): Promise<readonly string[]> {
    return this.#tree.list(directory);
  }

  async stat(path: string): Promise<{ readonly sizeBytes: number; readonly directory: boolean } | undefined> {
    const content = this.#tree.get(path);
    if (content !== undefined) return { sizeBytes: content.bytes.sizeBytes, directory: false };
    return this.#tree.directories.has(resolvePath(path)) ? { sizeBytes: 0, directory: true } : undefined;
  }

  async makeDirectory(path: string): Promise<void> {
    this.#tree.makeDirectory(path);
  }

  async syncDirectory(path: string): Promise<void> {
    this.#tree.directory("sync", path);
  }

  async freeSpace(_path: string): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    const { capacityBytes, usedBytes } = this.#space;
    return { freeBytes: capacityBytes - usedBytes, totalBytes: capacityBytes };
  }

  async lock(path: string, owner: string): Promise<DiskLock | { readonly heldBy: string }> {
    const resolved = resolvePath(path);
    this.#tree.checkParent("lock", path);
    const heldBy = this.#locks.get(resolved);
    if (heldBy !== undefined) return { heldBy };
    this.#locks.set(resolved, owner);
    let released = false;
    return {
      release: async () => {
        if (!released) this.#locks.delete(resolved);
        released = true;
      },
    };
  }
}

class MemoryFile implements DiskFile {
  readonly path: string;
  readonly #content: Content;
  readonly #writable: boolean;
  readonly #space: Space;
  #closed = false;

  constructor(path: string, content: Content, writable: boolean, space: Space) {
    this.path = path;
    this.#content = content;
    this.#writable = writable;
    this.#space = space;
    content.handles += 1;
  }

  get sizeBytes(): number {
    return this.#content.bytes.sizeBytes;
  }

  async append(bytes: Uint8Array): Promise<void> {
    this.#check("append to", true);
    if (this.#space.usedBytes + bytes.byteLength > this.#space.capacityBytes) {
      throw diskError("full", "append to", this.path);
    }
    this.#content.bytes.append(bytes);
    this.#space.usedBytes += bytes.byteLength;
  }

  async read(position: number, into: Uint8Array): Promise<number> {
    this.#check("read", false);
    return this.#content.bytes.read(position, into);
  }

  async sync(): Promise<void> {
    this.#check("sync", false);
  }

  async truncate(sizeBytes: number): Promise<void> {
    this.#check("truncate", true);
    checkTruncation(this, sizeBytes);
    this.#space.usedBytes -= this.sizeBytes - sizeBytes;
    this.#content.bytes.truncate(sizeBytes);
  }

  async rewrite(position: number, bytes: Uint8Array): Promise<void> {
    this.#check("rewrite", true);
    checkRewrite(this, position, bytes);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#space.close(this.#content);
  }

  #check(operation: string, writes: boolean): void {
    if (this.#closed) throw closedFile(operation, this.path);
    if (writes && !this.#writable)
      throw diskError("denied", operation, this.path, new Error("it was opened for reading"));
  }
}
