import { TenonError } from "../../contracts/errors.ts";
import type { DatabaseConnection } from "../relational/connection.ts";
import {
  checkStated,
  connectionsOf,
  type Requirement,
  type ServerState,
  type Survives,
} from "../relational/requirements.ts";
import { rowsOf } from "./commands.ts";

/** SKIP LOCKED, and what is counted over other rows. */
const versionMin = { MariaDB: [10, 6], MySQL: [8, 0] } as const;
const packetBytesMin = 16 * 1024 * 1024;

const names = [
  "version",
  "innodb_flush_log_at_trx_commit",
  "innodb_doublewrite",
  "log_bin",
  "sync_binlog",
  "binlog_format",
  "max_allowed_packet",
  "max_connections",
  "read_only",
  "rpl_semi_sync_master_enabled",
  "rpl_semi_sync_source_enabled",
  "wsrep_on",
] as const;

type Settings = Readonly<Partial<Record<(typeof names)[number], string>>>;

/** Reads what the server is and how it keeps its data; refuses one on which the engine's promises cannot be kept. */
export async function readRequirements(
  connection: DatabaseConnection,
  connectionsMax: number,
  stated: Survives | undefined,
): Promise<ServerState> {
  const show = rowsOf("SHOW VARIABLES WHERE Variable_name IN ($1)");
  const rows = await connection.read("reading settings", show, [names]);
  const settings: Settings = Object.fromEntries(rows.map((row) => [String(row.Variable_name), String(row.Value)]));
  return stateOf(settings, connectionsMax, stated);
}

export function stateOf(settings: Settings, connectionsMax: number, stated: Survives | undefined): ServerState {
  if (settings.read_only === "ON") {
    throw new TenonError("unavailable", "The server is read-only and takes no changes. Connect to the primary.");
  }
  const survives = survivalOf(settings);
  const connections = settings.max_connections ?? "0";
  const requirements = [
    versionOf(settings),
    packetOf(settings),
    flushOf(settings),
    pagesOf(settings),
    ...binlogOf(settings),
    replicasOf(settings),
    connectionsOf(connections, Number(connections), connectionsMax),
  ];
  const most = survives === "machine" && hasReplicas(settings) ? "replicas" : survives;
  checkStated(stated, most, `what this server confirms survives ${saidOf(survives)}`);
  return { requirements, survives: stated ?? survives };
}

function survivalOf(settings: Settings): Survives {
  if (settings.innodb_flush_log_at_trx_commit === "0") return "nothing";
  return [flushOf(settings), pagesOf(settings), ...binlogOf(settings)].every(({ ok }) => ok) ? "machine" : "process";
}

function saidOf(survives: Survives): string {
  if (survives === "nothing") return "not even its process' crash: set innodb_flush_log_at_trx_commit to 1";
  if (survives === "machine") {
    return "a crash of the machine, not its loss: turn semi-synchronous replication on, or use a cluster";
  }
  return "only its process' crash: set innodb_flush_log_at_trx_commit and sync_binlog to 1, and innodb_doublewrite on";
}

function versionOf({ version: value = "" }: Settings): Requirement {
  const kind = value.includes("MariaDB") ? "MariaDB" : "MySQL";
  const [major = 0, minor = 0] = value.split(".").map(Number.parseFloat);
  const [majorMin, minorMin] = versionMin[kind];
  if (major > majorMin || (major === majorMin && minor >= minorMin)) {
    return { setting: "version", value, ok: true, meaning: "It is new enough." };
  }
  throw new TenonError(
    "unsupported",
    `The server is ${kind} ${value}; this engine needs MySQL 8.0 or MariaDB 10.6, or later.`,
    {
      fields: { version: value },
    },
  );
}

function packetOf({ max_allowed_packet: value = "0" }: Settings): Requirement {
  if (Number(value) >= packetBytesMin) {
    return { setting: "max_allowed_packet", value, ok: true, meaning: "The largest message goes with one request." };
  }
  const text = `max_allowed_packet is ${value}; this engine needs ${packetBytesMin} (16 MiB) or more, as a message's bytes take two digits each.`;
  throw new TenonError("unsupported", text, { fields: { maxAllowedPacket: Number(value), needed: packetBytesMin } });
}

function flushOf({ innodb_flush_log_at_trx_commit: value = "" }: Settings): Requirement {
  const ok = value === "1" || value === "3";
  const meanings: Readonly<Record<string, string>> = {
    0: "A crash of the server loses what was confirmed within the last second. Set innodb_flush_log_at_trx_commit to 1.",
    2: "A crash of the machine loses what was confirmed within the last second. Set innodb_flush_log_at_trx_commit to 1.",
  };
  const meaning = meanings[value] ?? "A change is confirmed when it is on the disk.";
  return { setting: "innodb_flush_log_at_trx_commit", value, ok, meaning };
}

function pagesOf({ innodb_doublewrite: value = "ON" }: Settings): Requirement {
  const ok = value !== "OFF" && value !== "DETECT_ONLY";
  const meaning = ok
    ? "A torn page is mended."
    : "A crash of the machine may tear pages. Set innodb_doublewrite on, unless the disk cannot tear them.";
  return { setting: "innodb_doublewrite", value, ok, meaning };
}

/** Without a binary log its settings do not matter. */
function binlogOf({ log_bin: log, sync_binlog: sync = "", binlog_format: format = "" }: Settings): Requirement[] {
  if (log !== "ON") return [];
  if (format === "STATEMENT") {
    const text =
      "binlog_format is STATEMENT, with which the server takes no changes under READ COMMITTED. Set it to ROW.";
    throw new TenonError("unsupported", text, { fields: { binlogFormat: format } });
  }
  const ok = sync === "1";
  const meaning = ok
    ? "A change is confirmed when it is in the binary log on the disk."
    : "A crash of the machine may lose what was confirmed and was not yet in the binary log on the disk. Set sync_binlog to 1.";
  return [
    { setting: "binlog_format", value: format, ok: true, meaning: "Changes are logged by their rows." },
    { setting: "sync_binlog", value: sync, ok, meaning },
  ];
}

function hasReplicas(settings: Settings): boolean {
  const { rpl_semi_sync_master_enabled: master, rpl_semi_sync_source_enabled: source, wsrep_on: cluster } = settings;
  return [master, source, cluster].includes("ON");
}

function replicasOf(settings: Settings): Requirement {
  const ok = hasReplicas(settings);
  const meaning = ok
    ? 'Commits are sent to others first. Whether they wait for that always is not to be seen here; say survives: "replicas" if they do.'
    : "A failover to a replica loses what had not reached it. Without replicas it does not matter; with them turn semi-synchronous replication on.";
  return { setting: "rpl_semi_sync_…_enabled, wsrep_on", value: ok ? "ON" : "OFF", ok, meaning };
}
