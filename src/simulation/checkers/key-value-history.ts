import type {
  CommitResult,
  KeyValueChange,
  KeyValueEngine,
  KeyValueEntry,
  ScanOptions,
} from "../../contracts/key-value.ts";
import { type Operation, OperationHistory } from "./operation-history.ts";

export type KeyValueInput =
  | { readonly type: "get"; readonly keys: readonly string[] }
  | { readonly type: "scan"; readonly prefix: string; readonly after: string | undefined; readonly limit: number }
  | { readonly type: "commit"; readonly changes: readonly KeyValueChange[] };

export type KeyValueOutput =
  | { readonly type: "entries"; readonly entries: readonly (KeyValueEntry | undefined)[] }
  | { readonly type: "result"; readonly result: CommitResult };

export type KeyValueOperation = Operation<KeyValueInput, KeyValueOutput>;
export type KeyValueHistory = OperationHistory<KeyValueInput, KeyValueOutput>;

/** `now`: virtual ms. */
export function keyValueHistory(now: () => number): KeyValueHistory {
  return new OperationHistory(now);
}

/** The same key-values, with every call in the history. Watches pass unseen; `WatchRecord` records those. */
export function recordKeyValues(keyValue: KeyValueEngine, history: KeyValueHistory, client: string): KeyValueEngine {
  return {
    capabilities: keyValue.capabilities,
    get: async (keys) => {
      const call = async () => entriesOutput(await keyValue.get(keys));
      return entriesOf(await history.record(client, { type: "get", keys }, call));
    },
    scan: async (prefix: string, options: ScanOptions = {}) => {
      const input = { type: "scan", prefix, after: options.after, limit: options.limit ?? 1_000 } as const;
      const call = async () => entriesOutput(await keyValue.scan(prefix, options));
      return entriesOf(await history.record(client, input, call)) as readonly KeyValueEntry[];
    },
    commit: async (changes) => {
      const call = async (): Promise<KeyValueOutput> => ({ type: "result", result: await keyValue.commit(changes) });
      const output = await history.record(client, { type: "commit", changes }, call);
      return (output as Extract<KeyValueOutput, { type: "result" }>).result;
    },
    watch: (prefix, options) => keyValue.watch(prefix, options),
  };
}

function entriesOutput(entries: readonly (KeyValueEntry | undefined)[]): KeyValueOutput {
  return { type: "entries", entries };
}

function entriesOf(output: KeyValueOutput): readonly (KeyValueEntry | undefined)[] {
  return output.type === "entries" ? output.entries : [];
}

/** An entry as a sentence tells it. */
export function tellEntry(entry: KeyValueEntry | undefined): string {
  if (entry === undefined) return "nothing";
  const { key, value, version, expiresAt } = entry;
  const end = expiresAt === undefined ? "" : ` until ${expiresAt}`;
  return `${JSON.stringify(key)} = ${tellValue(textOfValue(value))} in version ${version}${end}`;
}

export function tellValue(text: string): string {
  return text.length <= 24 ? JSON.stringify(text) : `${text.length} bytes`;
}

/** A value as a string, one character per byte, so that values can be compared and told. */
export function textOfValue(value: Uint8Array): string {
  return Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString("latin1");
}
