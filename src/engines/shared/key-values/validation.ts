import { TenonError } from "../../../contracts/errors.ts";
import type { KeyValueCapabilities, KeyValueChange } from "../../../contracts/key-value.ts";

export function validateCommit(
  changes: readonly KeyValueChange[],
  capabilities: KeyValueCapabilities,
  commitBytesMax: number,
): void {
  const { changesMax } = capabilities;
  if (changes.length > changesMax) {
    throw new TenonError(
      "invalid",
      `a commit of ${changes.length} changes exceeds the limit of ${changesMax}; split it`,
    );
  }
  let bytes = 0;
  for (let index = 0; index < changes.length; index++) bytes += validateChange(changes[index]!, index, capabilities);
  refuseRepeatedKeys(changes);
  if (bytes > commitBytesMax) {
    throw new TenonError("invalid", `a commit of ${bytes} bytes exceeds the limit of ${commitBytesMax}; split it`);
  }
}

/** Answers how many bytes of key and value it has. */
function validateChange(change: KeyValueChange, index: number, capabilities: KeyValueCapabilities): number {
  let bytes = validateKey(change.key, `change ${index}`, capabilities.keyBytesMax);
  const { condition } = change;
  if (condition !== undefined && "ifVersion" in condition && typeof condition.ifVersion !== "bigint") {
    throw new TenonError("invalid", `ifVersion of change ${index} must be the bigint that an entry has as its version`);
  }
  switch (change.type) {
    case "put":
      bytes += validateValue(change.value, capabilities.valueBytesMax);
      break;
    case "add":
      validateAdd(change);
      break;
    case "delete":
      break;
    case "check":
      if (condition === undefined) throw new TenonError("invalid", `the check of change ${index} has no condition`);
      break;
    default:
      throw new TenonError("invalid", `change ${index} is neither put, delete, add nor check`);
  }
  if ("ttlMs" in change && change.ttlMs !== undefined && !(change.ttlMs > 0)) {
    throw new TenonError("invalid", `ttlMs must be greater than 0, not ${change.ttlMs}`);
  }
  return bytes;
}

export function validateKey(key: string, of: string, keyBytesMax: number): number {
  if (typeof key !== "string")
    throw new TenonError("invalid", `the key of ${of} is no string but of type ${typeof key}`);
  const keyBytes = key.length === 0 ? 0 : Buffer.byteLength(key);
  if (keyBytes === 0 || keyBytes > keyBytesMax) {
    throw new TenonError("invalid", `a key of ${keyBytes} bytes is not within 1 to ${keyBytesMax}`);
  }
  // Every engine holds keys that can be given back as Unicode text.
  if (!key.isWellFormed()) {
    throw new TenonError("invalid", `the key of ${of} is not well-formed Unicode; encode it first`);
  }
  return keyBytes;
}

function validateValue(value: Uint8Array, valueBytesMax: number): number {
  if (!(value instanceof Uint8Array)) throw new TenonError("invalid", "a value is no Uint8Array; encode it first");
  if (value.length > valueBytesMax) {
    throw new TenonError("invalid", `a value of ${value.length} bytes exceeds the limit of ${valueBytesMax}`);
  }
  return value.length;
}

function validateAdd({ key, by, min, max }: Extract<KeyValueChange, { type: "add" }>): void {
  for (const figure of [by, min ?? 0, max ?? 0]) {
    if (Number.isSafeInteger(figure)) continue;
    throw new TenonError("invalid", `${figure} for the counter ${key} is no safe integer`);
  }
}

/** A few keys are compared pair by pair, which is faster than hashing them; many are hashed. */
export function refuseRepeatedKeys(changes: readonly KeyValueChange[]): void {
  if (changes.length > 8) {
    if (new Set(changes.map(({ key }) => key)).size === changes.length) return;
    throw new TenonError("invalid", "two changes of one commit are for the same key; merge them");
  }
  for (let index = 1; index < changes.length; index++) {
    for (let other = 0; other < index; other++) {
      if (changes[other]!.key !== changes[index]!.key) continue;
      throw new TenonError("invalid", `changes ${other} and ${index} of one commit are for the same key; merge them`);
    }
  }
}
