import { diskError } from "../disk-error.ts";
import type { DiskError, DiskFailure } from "../world.ts";

const FAILURES: Readonly<Record<string, DiskFailure>> = {
  ENOSPC: "full",
  EDQUOT: "full",
  ENOENT: "missing",
  ENOTDIR: "missing",
  EEXIST: "exists",
  EACCES: "denied",
  EPERM: "denied",
  EROFS: "denied",
};

/** What the operating system's refusal means; whatever has no name here is `io`. */
export function systemDiskError(operation: string, path: string, cause: unknown): DiskError {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return diskError(FAILURES[code] ?? "io", operation, path, cause);
}

type Done = (error: NodeJS.ErrnoException | null) => void;
type DoneWith<Result> = (error: NodeJS.ErrnoException | null, result?: Result) => void;

/** A promise around one of Node's calls with a callback; those are cheaper than `fs.promises` and its `FileHandle`. */
export function settle(operation: string, path: string, call: (done: Done) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    call((error) => (error ? reject(systemDiskError(operation, path, error)) : resolve()));
  });
}

export function settleWith<Result>(
  operation: string,
  path: string,
  call: (done: DoneWith<Result>) => void,
): Promise<Result> {
  return new Promise((resolve, reject) => {
    call((error, result) => (error ? reject(systemDiskError(operation, path, error)) : resolve(result as Result)));
  });
}
