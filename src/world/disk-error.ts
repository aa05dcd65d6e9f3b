import { DiskError, type DiskFailure, type DiskFile } from "./world.ts";

const MEANINGS: Readonly<Record<DiskFailure, string>> = {
  full: "the disk or the quota is full; free some space",
  missing: "there is no such file or directory",
  exists: "it is there already",
  denied: "it is not allowed; check the owner and the permissions",
  io: "the disk reported an input/output error",
};

/** `operation` is the verb with its preposition: `"append to"`, `"rename"`. */
export function diskError(failure: DiskFailure, operation: string, path: string, cause?: unknown): DiskError {
  const reason = cause instanceof Error ? ` (${cause.message})` : "";
  const message = `cannot ${operation} ${path}: ${MEANINGS[failure]}${reason}`;
  return new DiskError(failure, path, message, cause === undefined ? undefined : { cause });
}

/** Truncating only ever shortens: a file is what was appended to it. */
export function checkTruncation(file: DiskFile, sizeBytes: number): void {
  if (Number.isSafeInteger(sizeBytes) && sizeBytes >= 0 && sizeBytes <= file.sizeBytes) return;
  throw new RangeError(`cannot truncate ${file.path} to ${sizeBytes} bytes: it has ${file.sizeBytes}`);
}

/** Only what is there can be written once more. */
export function checkRewrite(file: DiskFile, position: number, bytes: Uint8Array): void {
  if (Number.isSafeInteger(position) && position >= 0 && position + bytes.byteLength <= file.sizeBytes) return;
  const what = `${bytes.byteLength} bytes at ${position}`;
  throw new RangeError(`cannot rewrite ${what} of ${file.path}: it has ${file.sizeBytes}`);
}

export function closedFile(operation: string, path: string): Error {
  return diskError("io", operation, path, new Error("the file was closed before"));
}
