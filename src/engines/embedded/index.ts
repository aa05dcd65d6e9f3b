import { TenonError } from "../../contracts/errors.ts";
import { memoryDisk } from "../../world/memory-disk.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import { type EmbeddedEngine, JournaledEngine } from "./embedded-engine.ts";

export type { EmbeddedEngine } from "./embedded-engine.ts";

export interface EmbeddedOptions {
  /** Made when it is not there. Everything the engine keeps is in it; one process may have it open. */
  readonly directory: string;
  /**
   * `"sync"` (default): a change is confirmed after `fdatasync`, and survives the machine's crash. `"async"`: when the operating system
   * has it; it survives the process' crash, and the machine's after at most a second.
   */
  readonly durability?: "sync" | "async" | undefined;
  /** How long messages are kept after every group has settled them, where their topic does not say; 1 hour if left out. */
  readonly retentionMs?: number | undefined;
  /**
   * Whether using a topic creates it, where the topic does not say: `"ifMissing"` if left out. `"never"` is for production: there a misspelt name is
   * an error (`not-found`), and topics are made by `topicAdministration`.
   */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** The journal's size from which on growth is refused with `overloaded`; no limit but the disk's if left out. */
  readonly sizeBytesMax?: number | undefined;
  /** The size at which a segment of the journal is sealed; 64 MiB if left out. */
  readonly segmentBytes?: number | undefined;
  /** Disk space kept back for settling when the disk is full; 16 MiB if left out. */
  readonly reserveBytes?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/**
 * Opens a durable engine inside this process.
 *
 * `unavailable` when another process has the directory, `corrupt` when stored bytes are not what was written.
 */
export function embedded(options: EmbeddedOptions): Promise<EmbeddedEngine> {
  if (typeof options !== "object" || options === null) {
    return Promise.reject(
      new TenonError("invalid", "embedded() needs options with a directory to keep its journal in"),
    );
  }
  return open("embedded", options.world ?? systemWorld(), options.directory, options);
}

export type MemoryOptions = Omit<EmbeddedOptions, "directory" | "durability" | "reserveBytes">;

/** The same engine on a disk that forgets: for tests, and for what need not survive the process. */
export function memory(options: MemoryOptions = {}): Promise<EmbeddedEngine> {
  const world = { ...(options.world ?? systemWorld()), disk: memoryDisk() };
  return open("memory", world, "/memory", { ...options, reserveBytes: 0 });
}

function open(
  name: EmbeddedEngine["name"],
  world: World,
  directory: string,
  options: Omit<EmbeddedOptions, "directory" | "world">,
): Promise<EmbeddedEngine> {
  const { durability = "sync", retentionMs = 3_600_000, sizeBytesMax = Number.POSITIVE_INFINITY } = options;
  const reserve = options.reserveBytes ?? 0;
  for (const [option, value] of Object.entries({ retentionMs, sizeBytesMax, reserveBytes: reserve })) {
    if (typeof value === "number" && value >= 0) continue;
    return Promise.reject(new TenonError("invalid", `${option} must be a number ≥ 0, not ${value}`));
  }
  if (typeof directory !== "string" || directory === "" || directory.includes("\0")) {
    return Promise.reject(new TenonError("invalid", "embedded() needs a directory to keep its journal in"));
  }
  if (durability !== "sync" && durability !== "async") {
    return Promise.reject(
      new TenonError("invalid", `durability is "sync" or "async", not ${JSON.stringify(durability)}`),
    );
  }
  const { topicCreation = "ifMissing" } = options;
  if (topicCreation !== "ifMissing" && topicCreation !== "never") {
    return Promise.reject(
      new TenonError("invalid", `topicCreation is "ifMissing" or "never", not ${JSON.stringify(topicCreation)}`),
    );
  }
  const survives = name === "memory" ? "nothing" : durability === "sync" ? "machine" : "process";
  const { segmentBytes, reserveBytes } = options;
  return JournaledEngine.open({
    name,
    world,
    directory,
    durability,
    survives,
    retentionMs,
    topicCreation,
    sizeBytesMax,
    segmentBytes,
    reserveBytes,
  });
}
