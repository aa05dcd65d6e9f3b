/** The state as of a place in the journal, in records of the journal: whoever comes new need not read what is older. */

/** A part of a snapshot. */
export interface SnapshotPart {
  readonly snapshot: string;
  /** All records below this offset are in it. */
  readonly asOf: number;
  readonly index: number;
  readonly count: number;
  readonly bytes: Buffer;
}

const partBytes = 512 * 1024;

export function partsOf(snapshot: string, asOf: number, state: Buffer): readonly SnapshotPart[] {
  const count = Math.ceil(state.length / partBytes);
  return Array.from({ length: count }, (_, index) => {
    return { snapshot, asOf, index, count, bytes: state.subarray(index * partBytes, (index + 1) * partBytes) };
  });
}

const keyStart = '{"snapshot":';

export function keyOf({ snapshot, asOf, index, count }: SnapshotPart): Buffer {
  return Buffer.from(JSON.stringify({ snapshot, asOf, index, count }));
}

/** `undefined`: the record is no part of a snapshot. */
export function partFrom(key: Buffer | null, bytes: Buffer | null): SnapshotPart | undefined {
  if (key === null || bytes === null) return undefined;
  const text = key.toString("utf8");
  if (!text.startsWith(keyStart)) return undefined;
  try {
    const { snapshot, asOf, index, count } = JSON.parse(text) as Omit<SnapshotPart, "bytes">;
    return { snapshot, asOf, index, count, bytes };
  } catch {
    return undefined;
  }
}

/** Gathers the parts of snapshots as they come. */
export class SnapshotParts {
  readonly #parts = new Map<string, SnapshotPart[]>();

  /** Answers the whole snapshot with its last part. */
  add(part: SnapshotPart): { readonly snapshot: string; readonly asOf: number; readonly state: Buffer } | undefined {
    const { snapshot, asOf, index, count } = part;
    const before = this.#parts.get(snapshot) ?? [];
    // A part that was written twice, or is missing, makes no snapshot.
    if (index !== before.length) return undefined;
    const parts = [...before, part];
    this.#parts.delete(snapshot);
    if (parts.length === count) return { snapshot, asOf, state: Buffer.concat(parts.map(({ bytes }) => bytes)) };
    this.#parts.set(snapshot, parts);
    // One whose writer died is never complete.
    for (const old of this.#parts.keys()) if (this.#parts.size > 16) this.#parts.delete(old);
    return undefined;
  }
}
