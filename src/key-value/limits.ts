import { TenonError } from "../contracts/errors.ts";
import type { KeyValueCapabilities } from "../contracts/key-value.ts";

export function checkKey({ keyBytesMax }: KeyValueCapabilities, key: string): void {
  if (key === "")
    throw new TenonError("invalid", "A key is empty. Give it at least one character, or the key space a prefix.");
  // Two texts that differ in their lone surrogates only would become one key in UTF-8.
  if (!key.isWellFormed()) {
    throw new TenonError(
      "invalid",
      "A key holds a lone surrogate, which UTF-8 cannot carry. Call toWellFormed() on it.",
    );
  }
  // Each UTF-16 code unit becomes three bytes at most, so most keys need no counting.
  if (key.length * 3 <= keyBytesMax) return;
  const sizeBytes = Buffer.byteLength(key);
  if (sizeBytes <= keyBytesMax) return;
  throw new TenonError(
    "invalid",
    `A key has ${sizeBytes} bytes, prefix included, and this engine takes ${keyBytesMax}. Shorten it, or use its hash.`,
    {
      fields: { sizeBytes, keyBytesMax },
    },
  );
}

export function checkValue({ valueBytesMax }: KeyValueCapabilities, key: string, value: Uint8Array): void {
  const sizeBytes = value.byteLength;
  if (sizeBytes <= valueBytesMax) return;
  throw new TenonError(
    "invalid",
    `The value for "${key}" has ${sizeBytes} bytes, and this engine takes ${valueBytesMax}. Split it, or store it elsewhere and its address here.`,
    {
      fields: { key, sizeBytes, valueBytesMax },
    },
  );
}

export function checkChangeCount({ multipleKeys, changesMax }: KeyValueCapabilities, count: number): void {
  if (count > 1 && !multipleKeys) {
    throw new TenonError(
      "unsupported",
      `This engine commits one key at a time, and the commit has ${count}. Use an engine that commits several keys, or a saga.`,
      {
        fields: { count },
      },
    );
  }
  if (count > changesMax) {
    throw new TenonError(
      "invalid",
      `A commit has ${count} changes, and this engine takes ${changesMax}. Split it where the parts may happen apart.`,
      {
        fields: { count, changesMax },
      },
    );
  }
}

export function checkTtl(key: string, ttlMs: number | undefined): void {
  if (ttlMs === undefined || (Number.isSafeInteger(ttlMs) && ttlMs > 0)) return;
  throw new TenonError(
    "invalid",
    `The ttlMs of "${key}" is ${ttlMs}. Give whole milliseconds above 0, or leave it out to keep the key for ever.`,
    {
      fields: { key, ttlMs },
    },
  );
}
