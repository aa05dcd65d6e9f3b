import { isCode, TenonError } from "../../contracts/errors.ts";
import type { Requirement as Shared } from "../shared/requirements.ts";
import type { Connection } from "./connection.ts";

export type Survives = "nothing" | "process" | "machine";

/** A setting of the server that the engine's promises rest on. */
export interface Requirement extends Omit<Shared, "value"> {
  /** `undefined`: the engine may not read it. */
  readonly value: string | undefined;
}

export interface ServerState {
  readonly requirements: readonly Requirement[];
  readonly survives: Survives;
}

const versionMin = 7;
const levels: readonly Survives[] = ["nothing", "process", "machine"];

/**
 * Reads what the server is and how it keeps its data; refuses one on which the engine's promises cannot be kept. On a cluster one node speaks
 * for all.
 */
export async function readRequirements(connection: Connection, stated: Survives | undefined): Promise<ServerState> {
  const info = infoOf(await connection.command(undefined, ["INFO"]));
  const version = versionOf(info);
  const role = roleOf(info, connection.isCluster);
  const config = await readConfig(connection);
  const eviction = evictionOf(config.get("maxmemory-policy") ?? info.get("maxmemory_policy"));
  const appendonly = config.get("appendonly") ?? (info.get("aof_enabled") === "1" ? "yes" : "no");
  const appendfsync = config.get("appendfsync");
  const survives = survivalOf(appendonly, appendfsync, stated);
  const requirements = [
    version,
    role,
    eviction,
    persistenceOf(appendonly),
    syncOf(appendonly, appendfsync, survives),
    replicasOf(config.get("min-replicas-to-write")),
  ];
  return { requirements, survives };
}

/** INFO's lines, `name:value`. */
function infoOf(reply: unknown): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (const line of String(reply).split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1));
  }
  return fields;
}

async function readConfig(connection: Connection): Promise<ReadonlyMap<string, string>> {
  const names = ["appendonly", "appendfsync", "maxmemory-policy", "min-replicas-to-write"];
  try {
    const reply = (await connection.command(undefined, ["CONFIG", "GET", ...names])) as readonly Buffer[];
    const found = new Map<string, string>();
    for (let index = 0; index + 1 < reply.length; index += 2) found.set(String(reply[index]), String(reply[index + 1]));
    return found;
  } catch (error) {
    // Managed servers often forbid it.
    if (isCode(error, "denied", "unsupported")) return new Map();
    throw error;
  }
}

function versionOf(info: ReadonlyMap<string, string>): Requirement {
  const value = info.get("redis_version") ?? "";
  if (Number.parseInt(value, 10) >= versionMin) {
    return { setting: "redis_version", value, ok: true, meaning: "Scripts replicate their effects." };
  }
  throw new TenonError("unsupported", `The server is Redis ${value}; this engine needs Redis ${versionMin} or later.`, {
    fields: { version: value },
  });
}

function roleOf(info: ReadonlyMap<string, string>, isCluster: boolean): Requirement {
  const value = info.get("role");
  // Any node of a cluster may have answered; its client finds the primaries.
  if (isCluster) return { setting: "cluster_enabled", value: "1", ok: true, meaning: "It is a cluster." };
  if (value === "master" || value === undefined) {
    return { setting: "role", value, ok: true, meaning: "It is a primary, and takes changes." };
  }
  throw new TenonError(
    "unavailable",
    `The server is a ${value} and takes no changes. Connect to the primary, by Sentinel where there is one.`,
  );
}

function evictionOf(value: string | undefined): Requirement {
  const setting = "maxmemory-policy";
  if (value === "noeviction") {
    return { setting, value, ok: true, meaning: "At maxmemory changes are refused, and nothing is thrown away." };
  }
  if (value === undefined) {
    const meaning = "It cannot be read. It must be noeviction: every other policy throws away what was confirmed.";
    return { setting, value, ok: false, meaning };
  }
  throw new TenonError(
    "invalid",
    `maxmemory-policy of the server is ${value}: at maxmemory it would throw away what was confirmed. Set it to noeviction, or use a server of its own for caches.`,
    { fields: { policy: value } },
  );
}

function survivalOf(appendonly: string, appendfsync: string | undefined, stated: Survives | undefined): Survives {
  if (appendonly !== "yes") return limited("nothing", stated, "appendonly yes");
  if (appendfsync === "always") return "machine";
  if (appendfsync !== undefined) return limited("process", stated, "appendfsync always");
  return stated ?? "process";
}

/** Nobody is told more than is true. */
function limited(survives: Survives, stated: Survives | undefined, remedy: string): Survives {
  if (stated === undefined || levels.indexOf(stated) <= levels.indexOf(survives)) return survives;
  throw new TenonError(
    "invalid",
    `survives is "${stated}", but what this server confirms survives ${survives === "nothing" ? "nothing" : "only its process' crash"}. Set ${remedy}, or leave survives out.`,
    { fields: { stated, survives } },
  );
}

function persistenceOf(appendonly: string): Requirement {
  const meaning =
    appendonly === "yes"
      ? "Changes are in a log that is read when the server starts."
      : "Nothing survives a restart but the last snapshot, if there is one. Set appendonly yes.";
  return { setting: "appendonly", value: appendonly, ok: appendonly === "yes", meaning };
}

function syncOf(appendonly: string, appendfsync: string | undefined, survives: Survives): Requirement {
  const setting = "appendfsync";
  if (appendonly !== "yes") {
    return { setting, value: appendfsync, ok: false, meaning: "It does nothing while appendonly is no." };
  }
  if (appendfsync === undefined) {
    const meaning = `It cannot be read, and the engine counts what is confirmed as surviving a crash of the ${survives}. State it with the option survives.`;
    return { setting, value: undefined, ok: false, meaning };
  }
  const meanings: Readonly<Record<string, string>> = {
    always: "A change is confirmed when it is on the disk, and survives a crash of the machine.",
    everysec: "A change is confirmed before it is on the disk: a crash of the machine loses about the last second.",
    no: "The operating system decides when changes reach the disk: a crash of the machine loses some 30 seconds.",
  };
  return { setting, value: appendfsync, ok: appendfsync === "always", meaning: meanings[appendfsync] ?? "" };
}

function replicasOf(value: string | undefined): Requirement {
  const ok = value !== undefined && Number(value) > 0;
  const meaning = ok
    ? "A primary that has lost its replicas refuses changes, so a failover loses little. It is not none: replication is asynchronous."
    : "A primary that is cut off goes on confirming changes, which a failover to a replica loses. Without replicas it does not matter; with them set it to 1 or more.";
  return { setting: "min-replicas-to-write", value, ok, meaning };
}
