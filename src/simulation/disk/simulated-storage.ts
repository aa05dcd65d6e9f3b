import { FileTree, parentOf, resolvePath } from "../../world/file-tree.ts";
import type { SeededGenerator } from "../seeded-generator.ts";
import { type CrashMode, SimulatedInode } from "./simulated-inode.ts";

/** One change of names that its directory has not been synced after. */
interface NameChange {
  readonly entries: readonly (readonly [path: string, inode: SimulatedInode | undefined])[];
}

const CRASH_MODES: readonly CrashMode[] = ["lost", "kept", "prefix", "sectors", "sectors"];

/** What a machine's disk holds, apart from the processes that use it. */
export class SimulatedStorage {
  readonly tree = new FileTree<SimulatedInode>();
  readonly locks = new Map<string, string>();
  readonly capacityBytes: number;
  readonly #open = new Set<SimulatedInode>();
  #durableNames = new Map<string, SimulatedInode>();
  #unsynced: NameChange[] = [];

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  get freeBytes(): number {
    let used = 0;
    for (const inode of this.tree.files.values()) used += inode.cache.sizeBytes;
    for (const inode of this.#open) if (!inode.linked) used += inode.cache.sizeBytes;
    return Math.max(0, this.capacityBytes - used);
  }

  create(path: string): SimulatedInode {
    const inode = new SimulatedInode();
    this.tree.add(path, inode);
    this.#unsynced.push({ entries: [[resolvePath(path), inode]] });
    return inode;
  }

  open(path: string): SimulatedInode {
    const inode = this.tree.find("open", path);
    if (inode.handles === 0) inode.sizeBytes = inode.cache.sizeBytes;
    return inode;
  }

  addHandle(inode: SimulatedInode): void {
    inode.handles += 1;
    this.#open.add(inode);
  }

  removeHandle(inode: SimulatedInode): void {
    inode.handles -= 1;
    if (inode.handles === 0) this.#open.delete(inode);
  }

  rename(from: string, to: string): void {
    const inode = this.tree.find("rename", from);
    const replaced = this.tree.get(to);
    this.tree.rename(from, to);
    if (replaced === inode) return;
    if (replaced !== undefined) replaced.linked = false;
    this.#unsynced.push({
      entries: [
        [resolvePath(from), undefined],
        [resolvePath(to), inode],
      ],
    });
  }

  remove(path: string): void {
    const inode = this.tree.find("remove", path);
    this.tree.remove(path);
    inode.linked = false;
    this.#unsynced.push({ entries: [[resolvePath(path), undefined]] });
  }

  /** The changes of names that a sync of the directory, called now, is going to cover. */
  namesToSync(directory: string): readonly unknown[] {
    const resolved = resolvePath(directory);
    return this.#unsynced.filter((change) => change.entries.some(([path]) => parentOf(path) === resolved));
  }

  /** A rename between two directories becomes durable with either of them, as a journaling file system has it. */
  syncNames(changes: readonly unknown[]): void {
    const covered = new Set(changes);
    for (const change of this.#unsynced) if (covered.has(change)) apply(change, this.#durableNames);
    this.#unsynced = this.#unsynced.filter((change) => !covered.has(change));
  }

  /** The process is gone, the machine goes on: what was written is there, and no more durable than before. */
  endProcess(): void {
    this.locks.clear();
    for (const inode of this.#open) inode.handles = 0;
    this.#open.clear();
  }

  /** The machine is gone and comes back. `mode` left out: drawn for the names and for each file. */
  crash(mode: CrashMode | undefined, generator: SeededGenerator): void {
    this.endProcess();
    this.#crashNames(mode ?? generator.pick(CRASH_MODES), generator);
    for (const inode of this.#durableNames.values()) inode.crash(mode ?? generator.pick(CRASH_MODES), generator);
  }

  /** Stores a file durably at once, with its directory, and makes every change of names so far durable. */
  put(path: string, content: Uint8Array): void {
    this.tree.makeDirectory(parentOf(path));
    const inode = this.tree.get(path) ?? this.create(path);
    inode.overwrite(content);
    this.syncNames(this.#unsynced);
  }

  /** A change of a name whose earlier change was lost is lost too: no file system has the later one without the other. */
  #crashNames(mode: CrashMode, generator: SeededGenerator): void {
    const lostPaths = new Set<string>();
    const keptCount = generator.integer(0, this.#unsynced.length);
    for (const [index, change] of this.#unsynced.entries()) {
      const depends = change.entries.some(([path]) => lostPaths.has(path));
      if (!depends && survives(mode, index < keptCount, generator)) apply(change, this.#durableNames);
      else for (const [path] of change.entries) lostPaths.add(path);
    }
    this.#unsynced = [];
    this.tree.files.clear();
    for (const [path, inode] of this.#durableNames) {
      inode.linked = true;
      this.tree.files.set(path, inode);
    }
  }
}

function survives(mode: CrashMode, withinPrefix: boolean, generator: SeededGenerator): boolean {
  if (mode === "prefix") return withinPrefix;
  return mode === "sectors" ? generator.chance(0.5) : mode === "kept";
}

function apply(change: NameChange, names: Map<string, SimulatedInode>): void {
  for (const [path, inode] of change.entries) {
    if (inode === undefined) names.delete(path);
    else names.set(path, inode);
  }
}
