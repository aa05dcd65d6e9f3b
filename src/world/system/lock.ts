import { readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import type { DatabaseSync } from "node:sqlite";
import { diskError } from "../disk-error.ts";
import type { DiskFailure, DiskLock } from "../world.ts";
import { systemDiskError } from "./system-call.ts";

/** Two processes that try at the same instant can see each other's attempt; within this time one of them gets it. */
const CONTENTION_MS = 50;

const SQLITE_BUSY = 5;
const FAILURES: Readonly<Record<number, DiskFailure>> = {
  3: "denied",
  8: "denied",
  13: "full",
  14: "missing",
  23: "denied",
};

/**
 * Node has no file locks, but SQLite has: an open exclusive transaction on an empty database holds one that the kernel
 * frees when the process dies, and SQLite itself refuses a second one within the process. Nothing is ever written in the
 * transaction, and its rollback journal would be in memory, so no file is left that could need recovery.
 * Who holds it stands in `<path>.owner`, for other processes and for people.
 */
export async function lockFile(path: string, owner: string): Promise<DiskLock | { readonly heldBy: string }> {
  const { DatabaseSync } = await import("node:sqlite");
  const ownerPath = `${path}.owner`;
  const database = acquire(path, DatabaseSync);
  if (database === undefined) return { heldBy: readOwner(ownerPath) };
  try {
    writeOwner(ownerPath, `${owner} (pid ${process.pid})`);
  } catch (error) {
    database.close();
    throw systemDiskError("write", ownerPath, error);
  }
  return {
    release: async () => {
      if (!database.isOpen) return;
      rmSync(ownerPath, { force: true });
      database.close();
    },
  };
}

function acquire(path: string, Database: typeof DatabaseSync): DatabaseSync | undefined {
  let database: DatabaseSync | undefined;
  try {
    database = new Database(path, { timeout: CONTENTION_MS });
    database.exec("PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    if (database?.isOpen) database.close();
    const code = error instanceof Error && "errcode" in error ? Number(error.errcode) & 0xff : 0;
    if (code === SQLITE_BUSY) return undefined;
    throw diskError(FAILURES[code] ?? "io", "lock", path, error);
  }
}

/** By rename, so that nobody reads half of it. */
function writeOwner(ownerPath: string, text: string): void {
  writeFileSync(`${ownerPath}.new`, `${text}\n`);
  renameSync(`${ownerPath}.new`, ownerPath);
}

/** The owner may just be about to write or to remove it. */
function readOwner(ownerPath: string): string {
  try {
    return readFileSync(ownerPath, "utf8").trimEnd();
  } catch {
    return "an unknown process";
  }
}
