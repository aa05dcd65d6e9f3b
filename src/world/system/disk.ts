import * as fs from "node:fs";
import { dirname, resolve } from "node:path";
import { diskError } from "../disk-error.ts";
import type { Disk, DiskFile, DiskLock } from "../world.ts";
import { SystemFile } from "./file.ts";
import { lockFile } from "./lock.ts";
import { settle, settleWith, systemDiskError } from "./system-call.ts";

const FLAGS = { create: "wx+", append: "r+", read: "r" } as const;

export class SystemDisk implements Disk {
  async open(path: string, mode: "create" | "append" | "read"): Promise<DiskFile> {
    const fd = await settleWith<number>("open", path, (done) => fs.open(path, FLAGS[mode], done));
    const stat = await settleWith<fs.Stats>("open", path, (done) => fs.fstat(fd, done));
    if (stat.isFile()) return new SystemFile(path, fd, mode !== "read", stat.size);
    await settle("close", path, (done) => fs.close(fd, done));
    throw diskError("io", "open", path, new Error("it is not a file"));
  }

  rename(from: string, to: string): Promise<void> {
    return settle("rename", from, (done) => fs.rename(from, to, done));
  }

  remove(path: string): Promise<void> {
    return settle("remove", path, (done) => fs.unlink(path, done));
  }

  async list(directory: string): Promise<readonly string[]> {
    const names = await settleWith<string[]>("list", directory, (done) => fs.readdir(directory, done));
    return names.sort();
  }

  stat(path: string): Promise<{ readonly sizeBytes: number; readonly directory: boolean } | undefined> {
    return new Promise((resolve, reject) => {
      fs.stat(path, (error, stat) => {
        if (error === null) return resolve({ sizeBytes: stat.size, directory: stat.isDirectory() });
        const failure = systemDiskError("look at", path, error);
        if (failure.failure === "missing") resolve(undefined);
        else reject(failure);
      });
    });
  }

  /** One level at a time: `mkdir` with `recursive` never returns where a directory vanishes as it is made, as in `/proc`. */
  async makeDirectory(path: string): Promise<void> {
    const wanted = resolve(path);
    const missing: string[] = [];
    for (let each = wanted; (await this.stat(each)) === undefined && each !== dirname(each); each = dirname(each)) {
      missing.push(each);
    }
    for (const each of missing.reverse()) {
      try {
        await settle("make directory", each, (done) => fs.mkdir(each, done));
      } catch (error) {
        // Somebody else may have made it at the same time.
        if (!(await this.stat(each))?.directory) throw error;
      }
      await this.syncDirectory(dirname(each));
    }
    if (!(await this.stat(wanted))?.directory) {
      throw diskError("exists", "make directory", wanted, new Error("it is there and no directory"));
    }
  }

  async syncDirectory(path: string): Promise<void> {
    // Windows cannot open a directory; its file systems keep their own journal of names.
    if (process.platform === "win32") return;
    const fd = await settleWith<number>("sync", path, (done) => fs.open(path, "r", done));
    try {
      await settle("sync", path, (done) => fs.fsync(fd, done));
    } finally {
      await settle("close", path, (done) => fs.close(fd, done));
    }
  }

  async freeSpace(path: string): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    const space = await settleWith<fs.StatsFs>("ask for the free space of", path, (done) => fs.statfs(path, done));
    return { freeBytes: space.bavail * space.bsize, totalBytes: space.blocks * space.bsize };
  }

  lock(path: string, owner: string): Promise<DiskLock | { readonly heldBy: string }> {
    return lockFile(path, owner);
  }
}
