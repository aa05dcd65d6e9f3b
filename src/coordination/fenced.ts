import { TenonError } from "../contracts/errors.ts";
import type { CommitResult, Condition, KeyValueChange, KeyValueEngine, KeyValueEntry } from "../contracts/key-value.ts";
import { putText, requireSeveralKeys, textOf } from "./key-state.ts";
import { stateKey } from "./names.ts";

/**
 * A commit that takes effect only if no greater fencing token has been seen for the resource, and that records this one along with it; `lost`, with
 * `outcome: "not-applied"`, when a greater one has. So whoever was paused, or cut off, until its lock passed on cannot write any more, once the new holder has. The
 * answer is that of a commit of the `changes` alone. Nothing is retried: after `outcome: "unknown"` it may have happened.
 */
export async function fenced(
  keyValue: KeyValueEngine,
  resource: string,
  token: bigint,
  changes: readonly KeyValueChange[],
): Promise<CommitResult> {
  checkKeyValues(keyValue);
  checkToken(resource, token);
  if (changes.length > 0) requireSeveralKeys(keyValue, `the fence of "${resource}"`);
  const key = fenceKey(keyValue, resource);
  for (;;) {
    const [seen] = await keyValue.get([key]);
    const fence = fenceChange(key, resource, token, seen);
    const result = await keyValue.commit([fence, ...changes]);
    if (result.committed) return { ...result, counters: result.counters.slice(1) };
    // Somebody recorded a token in between, so that it has to be looked at again. Tokens only grow: this ends.
    if (result.failed > 0) return { ...result, failed: result.failed - 1 };
  }
}

/** Everything else is given the engine itself. */
function checkKeyValues(given: unknown): void {
  if (typeof (given as Partial<KeyValueEngine> | undefined | null)?.commit === "function") return;
  throw new TenonError(
    "invalid",
    "fenced() needs the key-values of an engine as its first argument, such as `engine.keyValue`, and not the engine",
  );
}

function fenceKey({ capabilities }: KeyValueEngine, resource: string): string {
  return `${stateKey("fence", resource, capabilities.keyBytesMax)}token`;
}

export function checkToken(resource: string, token: bigint): void {
  if (typeof token === "bigint" && token >= 1n && token < 2n ** 63n) return;
  throw new TenonError(
    "invalid",
    `The fencing token for "${resource}" is not a bigint from 1 to 2^63 - 1. Pass the token of the lock, or the term of the leadership.`,
    { fields: { resource } },
  );
}

export function stale(resource: string, token: bigint, seen?: bigint): TenonError {
  return new TenonError(
    "lost",
    `The write to "${resource}" under the fencing token ${token} was refused, because a greater one was seen. The lock has passed on: stop what it protects.`,
    { fields: { resource, token, ...(seen === undefined ? {} : { seen }) } },
  );
}

function fenceChange(key: string, resource: string, token: bigint, seen: KeyValueEntry | undefined): KeyValueChange {
  if (seen === undefined) return putText(key, String(token), { condition: { ifAbsent: true } });
  const condition: Condition = { ifVersion: seen.version };
  const greatest = tokenOf(seen);
  if (greatest > token) throw stale(resource, token, greatest);
  if (greatest === token) return { type: "check", key, condition };
  return putText(key, String(token), { condition });
}

function tokenOf(entry: KeyValueEntry): bigint {
  const digits = textOf(entry);
  if (/^\d{1,19}$/.test(digits)) return BigInt(digits);
  throw new TenonError("corrupt", `The key "${entry.key}" does not hold a fencing token. Keep other writers off it.`, {
    fields: { key: entry.key, version: entry.version },
  });
}
