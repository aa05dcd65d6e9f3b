import type { KeyValueEntry } from "../../../contracts/key-value.ts";
import type { Row } from "../sql.ts";

export function entryOf(key: string, { value, version, expires_at: expiresAt }: Row): KeyValueEntry {
  return {
    key,
    value: value as Uint8Array,
    version: BigInt(version as number),
    expiresAt: (expiresAt as number | null) ?? undefined,
  };
}
