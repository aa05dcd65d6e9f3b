import { isCode, TenonError } from "../../contracts/errors.ts";
import type { Requirement, Survives as Shared } from "../shared/requirements.ts";
import type { EtcdConnection } from "./connection.ts";
import { base64, type LeaseReply } from "./wire.ts";

export type { Requirement } from "../shared/requirements.ts";

/** It keeps everything on disk. */
export type Survives = Exclude<Shared, "nothing">;

export interface ServerState {
  readonly requirements: readonly Requirement[];
  readonly survives: Survives;
  /** The shortest lease that etcd grants, in milliseconds. */
  readonly leaseMsMin: number;
}

export interface Expected {
  readonly prefix: string;
  readonly operationsMax: number;
  readonly requestBytesMax: number;
  readonly survives: Survives | undefined;
}

const levels: readonly Survives[] = ["process", "machine", "replicas"];

/** Reads what the server is; refuses one on which the engine's promises cannot be kept. */
export async function readRequirements(connection: EtcdConnection, expected: Expected): Promise<ServerState> {
  const version = await versionOf(connection);
  await readOnce(connection, expected);
  const { requirement: members, survives } = await membersOf(connection, expected.survives);
  const { requirement: shortest, leaseMsMin } = await shortestLeaseOf(connection);
  const requirements = [
    version,
    members,
    shortest,
    await operationsOf(connection, expected),
    requestBytesOf(expected),
    await alarmsOf(connection),
  ];
  return { requirements, survives, leaseMsMin };
}

async function versionOf(connection: EtcdConnection): Promise<Requirement> {
  const { version = "" } = await connection.read<{ version?: string }>("reading the version", "maintenance/status", {});
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > 3 || (major === 3 && minor >= 4)) {
    return { setting: "version", value: version, ok: true, meaning: "It is new enough." };
  }
  throw new TenonError("unsupported", `The server is etcd ${version}; this engine needs 3.4 or later.`, {
    fields: { version },
  });
}

/** A read that nothing can be wrong with, unless nobody in particular may read. */
async function readOnce(connection: EtcdConnection, { prefix }: Expected): Promise<void> {
  try {
    await connection.read("reading the prefix", "kv/range", { key: base64(`${prefix}/`), count_only: true });
  } catch (error) {
    if (!isCode(error, "invalid")) throw error;
    const text = "etcd asks who is there: give the option credentials, and its user a role for the prefix.";
    throw new TenonError("denied", text, { cause: error });
  }
}

/** The members that vote. etcd confirms what most of them have on their disks. */
async function membersOf(
  connection: EtcdConnection,
  stated: Survives | undefined,
): Promise<{ readonly requirement: Requirement; readonly survives: Survives }> {
  const reply = await connection.read<{ members?: readonly { isLearner?: boolean }[] }>(
    "reading the members",
    "cluster/member/list",
    {},
  );
  const count = (reply.members ?? []).filter(({ isLearner }) => isLearner !== true).length;
  const survives: Survives = count > 1 ? "replicas" : "machine";
  if (stated !== undefined && levels.indexOf(stated) > levels.indexOf(survives)) {
    const text = `survives is "${stated}", but this etcd has one member: what it confirms survives a crash of the machine, not its loss. Add members, or leave survives out.`;
    throw new TenonError("invalid", text, { fields: { stated, survives } });
  }
  const meaning =
    count >= 3
      ? "What is confirmed is on the disks of most of them; it serves as long as most of them do."
      : count === 2
        ? "What is confirmed is on both disks, and it serves only while both do. Add a third one."
        : "What is confirmed is on its disk, and it serves only while this member does. In production run three.";
  return {
    requirement: { setting: "members", value: String(count), ok: count >= 3, meaning },
    survives: stated ?? survives,
  };
}

async function shortestLeaseOf(
  connection: EtcdConnection,
): Promise<{ readonly requirement: Requirement; readonly leaseMsMin: number }> {
  const { ID, TTL } = await connection.read<LeaseReply>("granting a lease", "lease/grant", { TTL: "1" });
  await connection.read("revoking a lease", "lease/revoke", { ID }).catch(() => undefined);
  const seconds = Number(TTL);
  const ok = seconds <= 2;
  const meaning = ok
    ? "Leases end at most three seconds late."
    : `A lease keeps others from its name for at least ${seconds} s, as etcd takes none that is shorter. A shorter --election-timeout lowers it.`;
  return {
    requirement: { setting: "shortest lease", value: `${seconds} s`, ok, meaning },
    leaseMsMin: seconds * 1_000,
  };
}

async function operationsOf(connection: EtcdConnection, { prefix, operationsMax }: Expected): Promise<Requirement> {
  const key = base64(`${prefix}/`);
  const success = Array.from({ length: operationsMax }, () => ({ request_range: { key, count_only: true } }));
  try {
    await connection.look("trying the largest transaction", { success });
  } catch (error) {
    if (!isCode(error, "invalid")) throw error;
    const text = `This etcd takes fewer than ${operationsMax} operations in a transaction. Say in the option txnOperationsMax what its --max-txn-ops says, or raise that.`;
    throw new TenonError("invalid", text, { fields: { txnOperationsMax: operationsMax }, cause: error });
  }
  const meaning = "So many changes fit into a commit.";
  return { setting: "max-txn-ops", value: String(operationsMax), ok: true, meaning };
}

function requestBytesOf({ requestBytesMax }: Expected): Requirement {
  const meaning =
    "etcd does not say it; where it takes less, the largest commits will be refused. Set the option requestBytesMax.";
  return { setting: "max-request-bytes", value: String(requestBytesMax), ok: true, meaning };
}

async function alarmsOf(connection: EtcdConnection): Promise<Requirement> {
  const reply = await connection.read<{ alarms?: readonly { alarm?: string }[] }>(
    "reading alarms",
    "maintenance/alarm",
    {
      action: "GET",
    },
  );
  const value = (reply.alarms ?? []).map(({ alarm }) => alarm ?? "NONE").join(", ");
  const ok = value === "";
  const meaning = ok
    ? "There is room, and nothing is corrupt."
    : "NOSPACE: changes are refused until it is compacted, defragmented and the alarm disarmed. CORRUPT: members differ.";
  return { setting: "alarms", value: value || "none", ok, meaning };
}
