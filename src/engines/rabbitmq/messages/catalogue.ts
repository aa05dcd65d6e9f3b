import { TenonError } from "../../../contracts/errors.ts";

/** A topic as the catalogue knows it. */
export interface CatalogueEntry {
  readonly id: number;
  readonly partitions: number;
  /** All that belongs to it is there, or only some: it is being made or removed, or who did that vanished. Groups are made when it is ready. */
  readonly stage: "making" | "ready" | "leaving";
}

/** Which topics there are; all administration is under its lock. Numbers are never given again. */
export interface Catalogue {
  readonly nextId: number;
  readonly topics: ReadonlyMap<string, CatalogueEntry>;
}

export const emptyCatalogue: Catalogue = { nextId: 1, topics: new Map() };

export function encodeCatalogue({ nextId, topics }: Catalogue): Buffer {
  return Buffer.from(JSON.stringify({ nextId, topics: [...topics] }));
}

export function decodeCatalogue(bytes: Buffer): Catalogue {
  const { nextId, topics } = parse(bytes) as { nextId: number; topics: [string, CatalogueEntry][] };
  return { nextId, topics: new Map(topics) };
}

export interface GroupEntry {
  readonly number: number;
  readonly ephemeral: boolean;
  readonly ready: boolean;
}

/** What is set of a topic as a whole, and which groups it has; what makes or removes a group is under its lock. */
export interface TopicRecord {
  readonly retentionMs: number;
  readonly countMax: number | undefined;
  readonly whenFull: "refuse" | "evict";
  readonly nextGroup: number;
  readonly groups: ReadonlyMap<string, GroupEntry>;
}

export function encodeTopic({ retentionMs, groups, ...rest }: TopicRecord): Buffer {
  // JSON has no infinity.
  const finite = Number.isFinite(retentionMs) ? retentionMs : null;
  return Buffer.from(JSON.stringify({ ...rest, retentionMs: finite, groups: [...groups] }));
}

export function decodeTopic(bytes: Buffer): TopicRecord {
  const { retentionMs, countMax, whenFull, nextGroup, groups } = parse(bytes) as {
    readonly retentionMs: number | null;
    readonly countMax?: number;
    readonly whenFull: "refuse" | "evict";
    readonly nextGroup: number;
    readonly groups: [string, GroupEntry][];
  };
  return {
    retentionMs: retentionMs ?? Number.POSITIVE_INFINITY,
    countMax,
    whenFull,
    nextGroup,
    groups: new Map(groups),
  };
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    throw new TenonError("corrupt", "a record of topics is not what was written; something else writes to its queue");
  }
}
