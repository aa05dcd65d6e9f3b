import { TenonError } from "../../contracts/errors.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import { checkMs, checkWord } from "../shared/options.ts";
import { survivalLevels } from "../shared/requirements.ts";
import type { Survives } from "./requirements.ts";
import { type Tables, tablesOf } from "./tables.ts";

/** What engines in tables have in common. */
export interface RelationalOptions {
  /** What the names of its tables begin with; `"tenon"` if left out. Engines that share a database and a prefix share everything. */
  readonly prefix?: string | undefined;
  /** `"make"`: makes the tables that are missing, and brings those of an earlier release up to date. `"expect"`, also when left out: they are there, by `"make"` at some time or by your own tool. */
  readonly tables?: "make" | "expect" | undefined;
  /** How many connections are open at most, beside the one that listens; 8 if left out. */
  readonly connectionsMax?: number | undefined;
  /** What a confirmed change survives, at least; a server that promises less is refused. What it promises if left out. */
  readonly survives?: Survives | undefined;
  /** Whether publishing and consuming create a topic that is missing; `"ifMissing"` if left out. In production say `"never"` and create topics on purpose. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** How long an operation waits for a connection or a lock, and then for each answer; 5,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long the first connection may take; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

export interface RelationalSettings {
  readonly world: World;
  readonly tables: Tables;
  readonly makeTables: boolean;
  readonly connectionsMax: number;
  readonly survives: Survives | undefined;
  readonly topicCreation: "ifMissing" | "never";
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** Throws `invalid` when an option makes no sense. */
export function settingsOf(options: RelationalOptions): RelationalSettings {
  const { prefix = "tenon", tables = "expect", survives, world = systemWorld() } = options;
  const {
    connectionsMax = 8,
    commandTimeoutMs = 5_000,
    connectTimeoutMs = 10_000,
    topicCreation = "ifMissing",
  } = options;
  checkMs({ commandTimeoutMs, connectTimeoutMs });
  if (!(Number.isInteger(connectionsMax) && connectionsMax >= 1)) {
    throw new TenonError("invalid", `connectionsMax must be a whole number of at least 1, not ${connectionsMax}`);
  }
  checkWord("tables", tables, ["make", "expect"]);
  checkWord("topicCreation", topicCreation, ["ifMissing", "never"]);
  if (survives !== undefined) checkWord("survives", survives, survivalLevels);
  return {
    world,
    tables: tablesOf(prefix),
    makeTables: tables === "make",
    connectionsMax,
    survives,
    topicCreation,
    commandTimeoutMs: Math.ceil(commandTimeoutMs),
    connectTimeoutMs,
  };
}
