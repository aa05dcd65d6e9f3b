import { posix } from "node:path";
import { diskError } from "./disk-error.ts";

/** The names of a file system in memory: which path is which file, and which directories there are. */
export class FileTree<File> {
  readonly files = new Map<string, File>();
  readonly directories = new Set<string>(["/"]);

  get(path: string): File | undefined {
    return this.files.get(resolvePath(path));
  }

  /** `missing` when there is no such file. */
  find(operation: string, path: string): File {
    const resolved = resolvePath(path);
    const file = this.files.get(resolved);
    if (file !== undefined) return file;
    throw diskError(this.directories.has(resolved) ? "io" : "missing", operation, path);
  }

  add(path: string, file: File): void {
    const resolved = resolvePath(path);
    if (this.files.has(resolved) || this.directories.has(resolved)) throw diskError("exists", "create", path);
    this.checkParent("create", path);
    this.files.set(resolved, file);
  }

  rename(from: string, to: string): void {
    const file = this.find("rename", from);
    const target = resolvePath(to);
    if (this.directories.has(target)) throw diskError("io", "rename over", to);
    this.checkParent("rename to", to);
    this.files.delete(resolvePath(from));
    this.files.set(target, file);
  }

  remove(path: string): void {
    this.find("remove", path);
    this.files.delete(resolvePath(path));
  }

  /** Sorted by UTF-16 code unit. */
  list(directory: string): readonly string[] {
    const resolved = this.directory("list", directory);
    const names: string[] = [];
    for (const path of this.files.keys()) if (posix.dirname(path) === resolved) names.push(posix.basename(path));
    for (const path of this.directories) {
      if (path !== "/" && posix.dirname(path) === resolved) names.push(posix.basename(path));
    }
    return names.sort();
  }

  makeDirectory(path: string): void {
    for (let current = resolvePath(path); !this.directories.has(current); current = posix.dirname(current)) {
      if (this.files.has(current)) throw diskError("exists", "make directory", path);
      this.directories.add(current);
    }
  }

  /** `missing` when the directory that the path names a place in is not there. */
  checkParent(operation: string, path: string): void {
    if (!this.directories.has(parentOf(path))) throw diskError("missing", operation, path);
  }

  /** The resolved path; `missing` when there is no such directory. */
  directory(operation: string, path: string): string {
    const resolved = resolvePath(path);
    if (!this.directories.has(resolved)) throw diskError("missing", operation, path);
    return resolved;
  }
}

/** In memory every path starts at the root, so that nothing depends on a working directory. */
export function resolvePath(path: string): string {
  return posix.resolve("/", path);
}

export function parentOf(path: string): string {
  return posix.dirname(resolvePath(path));
}
