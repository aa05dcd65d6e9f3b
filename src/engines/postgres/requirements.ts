import { TenonError } from "../../contracts/errors.ts";
import type { DatabaseConnection } from "../relational/connection.ts";
import {
  checkStated,
  connectionsOf,
  type Requirement,
  type ServerState,
  type Survives,
} from "../relational/requirements.ts";
import { command } from "../relational/sql.ts";

const versionMin = 130_000;

const names = [
  "server_version_num",
  "server_version",
  "fsync",
  "full_page_writes",
  "synchronous_commit",
  "synchronous_standby_names",
  "server_encoding",
  "transaction_isolation",
  "max_connections",
  "superuser_reserved_connections",
] as const;

type Settings = Readonly<Record<(typeof names)[number], string>>;

/** Reads what the server is and how it keeps its data; refuses one on which the engine's promises cannot be kept. */
export async function readRequirements(
  connection: DatabaseConnection,
  connectionsMax: number,
  stated: Survives | undefined,
): Promise<ServerState> {
  const text = `SELECT ${names.map((name) => `current_setting('${name}') AS ${name}`).join(", ")}, pg_is_in_recovery() AS standby`;
  const [row] = await connection.read("reading settings", command("tenon_settings", text));
  const settings = row as unknown as Settings & { readonly standby: number };
  if (settings.standby === 1) {
    throw new TenonError("unavailable", "The server is a standby and takes no changes. Connect to the primary.");
  }
  const survives = survivalOf(settings);
  const requirements = [
    versionOf(settings),
    syncOf(settings),
    pagesOf(settings),
    commitOf(settings),
    standbysOf(settings),
    encodingOf(settings),
    isolationOf(settings),
    connectionsOf(
      settings.max_connections,
      Number(settings.max_connections) - Number(settings.superuser_reserved_connections),
      connectionsMax,
    ),
  ];
  checkStated(
    stated,
    survives,
    `what this server confirms survives ${survives === "process" ? "only its process' crash: set fsync on" : "a crash of the machine, not its loss: set synchronous_standby_names"}`,
  );
  return { requirements, survives: stated ?? survives };
}

function survivalOf({
  fsync,
  full_page_writes: pages,
  synchronous_standby_names: standbys,
  synchronous_commit: commit,
}: Settings): Survives {
  if (fsync !== "on" || pages !== "on") return "process";
  return standbys !== "" && (commit === "on" || commit === "remote_apply") ? "replicas" : "machine";
}

function versionOf({ server_version_num: number, server_version: value }: Settings): Requirement {
  if (Number(number) >= versionMin) return { setting: "server_version", value, ok: true, meaning: "It is new enough." };
  throw new TenonError("unsupported", `The server is PostgreSQL ${value}; this engine needs 13 or later.`, {
    fields: { version: value },
  });
}

function syncOf({ fsync: value }: Settings): Requirement {
  const ok = value === "on";
  const meaning = ok
    ? "A change is confirmed when it is on the disk."
    : "A crash of the machine loses what was confirmed, and may corrupt the database. Set fsync on.";
  return { setting: "fsync", value, ok, meaning };
}

function pagesOf({ full_page_writes: value }: Settings): Requirement {
  const ok = value === "on";
  const meaning = ok
    ? "A torn page is mended."
    : "A crash of the machine may tear pages. Set full_page_writes on, unless the disk cannot tear them.";
  return { setting: "full_page_writes", value, ok, meaning };
}

function commitOf({ synchronous_commit: value }: Settings): Requirement {
  const ok = value !== "off" && value !== "local";
  const meaning = ok
    ? "Commits wait for the disk."
    : "It would confirm changes before they are on the disk; the engine turns it on in its own sessions.";
  return { setting: "synchronous_commit", value, ok, meaning };
}

function standbysOf({ synchronous_standby_names: value }: Settings): Requirement {
  const ok = value !== "";
  const meaning = ok
    ? "Commits wait for a standby too, so that the loss of the primary loses nothing that was confirmed."
    : "A failover to a standby loses what had not reached it. Without standbys it does not matter; with them name those to wait for.";
  return { setting: "synchronous_standby_names", value, ok, meaning };
}

function encodingOf({ server_encoding: value }: Settings): Requirement {
  const meaning = "Names, keys and ids are stored as bytes, so it has no say.";
  return { setting: "server_encoding", value, ok: true, meaning };
}

function isolationOf({ transaction_isolation: value }: Settings): Requirement {
  const ok = value === "read committed";
  const meaning = ok
    ? "A statement sees what was committed before it."
    : "The engine sets read committed in its own sessions.";
  return { setting: "transaction_isolation", value, ok, meaning };
}
