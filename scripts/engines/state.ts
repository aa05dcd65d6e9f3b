/** What `npm run engines` has started, kept in `state.json`: ports, data folders and processes. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type EngineName, writeWhole } from "./addresses.ts";
import type { OwnedProcess } from "./ownership.ts";

export interface EngineRecord {
  /** The data folder. */
  readonly directory: string;
  readonly ports: Record<string, number>;
  readonly processes: Record<string, OwnedProcess>;
}

export type EngineRecords = Partial<Record<EngineName, EngineRecord>>;

export class State {
  readonly #file: string;
  readonly #records: EngineRecords;

  constructor(directory: string) {
    this.#file = join(directory, "state.json");
    this.#records = readRecords(this.#file);
  }

  get(name: EngineName): EngineRecord | undefined {
    return this.#records[name];
  }

  set(name: EngineName, record: EngineRecord | undefined): void {
    if (record === undefined) delete this.#records[name];
    else this.#records[name] = record;
    this.save();
  }

  save(): void {
    writeWhole(this.#file, `${JSON.stringify(this.#records, undefined, 2)}\n`);
  }

  portsInUse(): Set<number> {
    return new Set(Object.values(this.#records).flatMap((record) => Object.values(record?.ports ?? {})));
  }
}

function readRecords(file: string): EngineRecords {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw new Error(`${file} cannot be read; it says which processes are ours. Stop them by hand and delete it.`, {
      cause: error,
    });
  }
}

/** One process at a time works on the folder. The operating system gives the lock back when its holder ends, however it does. */
export async function withLock<T>(directory: string, waitMs: number, work: () => Promise<T>): Promise<T> {
  mkdirSync(directory, { recursive: true });
  const database = new DatabaseSync(join(directory, "lock.db"), { timeout: waitMs });
  try {
    try {
      database.exec("BEGIN EXCLUSIVE");
    } catch (error) {
      throw new Error(`Another \`npm run engines\` has been at work in ${directory} for ${waitMs / 1000} s.`, {
        cause: error,
      });
    }
    return await work();
  } finally {
    database.close();
  }
}
