import { ChunkedBytes } from "../../world/chunked-bytes.ts";
import type { SeededGenerator } from "../seeded-generator.ts";

const SECTOR_BYTES = 512;

/** What a machine's crash leaves of what was not synced. */
export type CrashMode = "lost" | "kept" | "prefix" | "sectors";

/**
 * A file's content twice: as the operating system shows it (its cache), and as it stands on the medium. They are equal before
 * `#dirtyFrom`, but for what a failed sync left out. The medium changes by `sync` and by a crash alone; that the cache may be written back at any time is
 * covered, because a crash may keep any sector of it.
 */
export class SimulatedInode {
  readonly cache = new ChunkedBytes();
  readonly #medium = new ChunkedBytes();
  #dirtyFrom = 0;
  /** What the medium has from `#dirtyFrom` up to here is being written again: it stays where the new is lost. */
  #rewrittenUntil = 0;
  /** Where the appends that were acknowledged end; a failed append leaves more in the cache. */
  sizeBytes = 0;
  handles = 0;
  linked = true;

  append(bytes: Uint8Array): void {
    this.cache.append(bytes);
    this.sizeBytes = this.cache.sizeBytes;
  }

  /** Leaves only the first `countBytes` bytes of what should have been appended. */
  appendTorn(bytes: Uint8Array, countBytes: number): void {
    this.cache.append(bytes.subarray(0, countBytes));
  }

  truncate(sizeBytes: number): void {
    this.cache.truncate(sizeBytes);
    this.sizeBytes = sizeBytes;
    this.#dirtyFrom = Math.min(this.#dirtyFrom, sizeBytes);
    this.#rewrittenUntil = Math.min(this.#rewrittenUntil, sizeBytes);
  }

  /** What stands from here on is to be written by the next sync, also where one before it failed. */
  rewrite(position: number): void {
    if (position >= this.#dirtyFrom) return;
    this.#rewrittenUntil = Math.max(this.#rewrittenUntil, this.#dirtyFrom);
    this.#dirtyFrom = position;
  }

  /** Makes what the cache holds before `end` durable. */
  sync(end: number): void {
    const until = Math.min(end, this.cache.sizeBytes);
    if (until < this.#dirtyFrom) return;
    this.#replaceMedium(this.cache.slice(this.#dirtyFrom, until));
  }

  /** After it the cache takes everything before `end` for written, and no later sync writes it again. */
  forgetUnsynced(end: number, generator: SeededGenerator): void {
    const until = Math.min(end, this.cache.sizeBytes);
    if (until < this.#dirtyFrom) return;
    this.#replaceMedium(this.#harmed(until, this.#sectorFate("sectors", generator), generator));
  }

  /** What the machine finds when it comes back. */
  crash(mode: CrashMode, generator: SeededGenerator): void {
    const truncationLost = this.#dirtyFrom < this.#medium.sizeBytes && generator.chance(0.5);
    if (mode === "kept") this.sync(this.cache.sizeBytes);
    else if (mode !== "lost" && !truncationLost) this.#crashPartly(mode, generator);
    this.#readBack();
  }

  /** Changes what is stored, behind everybody's back. */
  overwrite(content: Uint8Array): void {
    this.#medium.truncate(0);
    this.#medium.append(content);
    this.#readBack();
  }

  #crashPartly(mode: "prefix" | "sectors", generator: SeededGenerator): void {
    const least = Math.max(this.#dirtyFrom, this.#rewrittenUntil);
    const sizeBytes = generator.chance(0.5) ? this.cache.sizeBytes : generator.integer(least, this.cache.sizeBytes);
    this.#replaceMedium(this.#harmed(sizeBytes, this.#sectorFate(mode, generator), generator));
  }

  #replaceMedium(bytes: Uint8Array): void {
    this.#medium.truncate(this.#dirtyFrom);
    this.#medium.append(bytes);
    this.#dirtyFrom = this.#medium.sizeBytes;
    this.#rewrittenUntil = 0;
  }

  #readBack(): void {
    this.cache.truncate(0);
    this.cache.append(this.#medium.slice());
    this.sizeBytes = this.cache.sizeBytes;
    this.#dirtyFrom = this.sizeBytes;
    this.#rewrittenUntil = 0;
  }

  #sectorFate(mode: "prefix" | "sectors", generator: SeededGenerator): (sector: number) => SectorFate {
    if (mode === "sectors") return () => generator.pick(["kept", "kept", "lost", "half", "garbage"]);
    const first = Math.floor(this.#dirtyFrom / SECTOR_BYTES);
    const torn = generator.integer(first, Math.floor(this.cache.sizeBytes / SECTOR_BYTES));
    const fate = generator.pick<SectorFate>(["kept", "lost", "half", "garbage"]);
    return (sector) => (sector === torn ? fate : sector < torn ? "kept" : "lost");
  }

  /** The dirty bytes up to `end`, each sector's part of them as fate has it. Synced bytes of a shared sector stay. */
  #harmed(end: number, fateOf: (sector: number) => SectorFate, generator: SeededGenerator): Uint8Array {
    const start = this.#dirtyFrom;
    const bytes = this.cache.slice(start, end);
    const old = this.#medium.slice(start, Math.max(start, this.#rewrittenUntil));
    for (let from = start; from < end; ) {
      const sector = Math.floor(from / SECTOR_BYTES);
      const until = Math.min(end, (sector + 1) * SECTOR_BYTES);
      const part = bytes.subarray(from - start, until - start);
      const harmedFrom = harm(part, fateOf(sector), generator);
      const stays = old.subarray(from - start + harmedFrom, until - start);
      part.set(stays, harmedFrom);
      from = until;
    }
    return bytes;
  }
}

type SectorFate = "kept" | "lost" | "half" | "garbage";

/** Answers from where on the part is not what should have been written. */
function harm(part: Uint8Array, fate: SectorFate, generator: SeededGenerator): number {
  if (fate === "kept") return part.byteLength;
  const from = fate === "lost" ? 0 : generator.integer(0, part.byteLength);
  if (fate === "garbage") generator.fill(part.subarray(from));
  else part.fill(0, from);
  return from;
}
