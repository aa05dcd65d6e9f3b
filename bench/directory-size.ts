import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";

export interface DirectorySize {
  readonly files: number;
  readonly sizeBytes: number;
}

export async function directorySize(directory: string): Promise<DirectorySize> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  let sizeBytes = 0;
  for (const { parentPath, name } of files) sizeBytes += (await stat(join(parentPath, name))).size;
  return { files: files.length, sizeBytes };
}
