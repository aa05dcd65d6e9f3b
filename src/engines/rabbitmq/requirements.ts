import { TenonError } from "../../contracts/errors.ts";
import type { Requirement, ServerState, Survives } from "../shared/requirements.ts";
import type { RabbitmqClient } from "./clients.ts";

export type { Requirement, Survives } from "../shared/requirements.ts";

export interface RabbitmqState extends ServerState {
  /** The server's major version. */
  readonly major: number;
  /** Whether its classic queues sync before they confirm: those of the second version, in servers from 3.12 on, do not. */
  readonly classicQueuesSync: boolean;
}

const versionMin = [3, 10] as const;
const heartbeatSecondsMax = 60;

/** Looks at what the server says of itself; refuses one on which the engine's promises cannot be kept. */
export function readRequirements({ connection }: RabbitmqClient, stated: Survives | undefined): RabbitmqState {
  const properties = connection.serverProperties as Readonly<Record<string, unknown>>;
  const version = versionOf(properties);
  const capabilities = (properties.capabilities ?? {}) as Readonly<Record<string, unknown>>;
  for (const capability of ["publisher_confirms", "basic.nack", "consumer_cancel_notify"]) {
    if (capabilities[capability] === true) continue;
    const text = `The server does not offer ${capability}; this engine needs RabbitMQ 3.10 or later itself, not a proxy that speaks for it.`;
    throw new TenonError("unsupported", text, { fields: { capability } });
  }
  const requirements = [
    { setting: "version", value: version.text, ok: true, meaning: "It is new enough, and has quorum queues." },
    heartbeatOf(connection.heartbeat),
    survivalOf(stated),
  ];
  return { requirements, survives: stated ?? "machine", major: version.major, classicQueuesSync: version.isBefore312 };
}

interface Version {
  readonly major: number;
  readonly isBefore312: boolean;
  readonly text: string;
}

function versionOf({ product, version }: Readonly<Record<string, unknown>>): Version {
  const text = `${product} ${version}`;
  const [major = 0, minor = 0] = String(version).split(".").map(Number);
  const isOld = major < versionMin[0] || (major === versionMin[0] && minor < versionMin[1]);
  if (product === "RabbitMQ" && !isOld && Number.isInteger(major)) {
    return { major, isBefore312: major === 3 && minor < 12, text };
  }
  throw new TenonError("unsupported", `The server is ${text}; this engine needs RabbitMQ 3.10 or later.`, {
    fields: { version: String(version) },
  });
}

function heartbeatOf(seconds: number | undefined): Requirement {
  const setting = "heartbeat";
  if (seconds === undefined) {
    const meaning = "The client does not say. Without one a dead machine holds its lanes and locks until TCP gives up.";
    return { setting, value: "unknown", ok: false, meaning };
  }
  if (seconds === 0) {
    const text =
      "The connection has no heartbeat: a machine that dies would hold its lanes and locks for ever. Connect with one, such as ?heartbeat=10.";
    throw new TenonError("invalid", text);
  }
  const ok = seconds <= heartbeatSecondsMax;
  const passes = `What a process holds that stands still or is cut off passes on after ${2 * seconds} s or so`;
  return { setting, value: `${seconds} s`, ok, meaning: ok ? `${passes}.` : `${passes}; connect with a shorter one.` };
}

function survivalOf(stated: Survives | undefined): Requirement {
  const value = stated ?? "machine (not stated)";
  const meaning =
    stated === "replicas"
      ? "Stated, as it cannot be read: at least three nodes, so that a majority confirms."
      : "A quorum queue confirms when a majority of its nodes has written and synced; with one node that is a crash of the machine, not its loss.";
  return { setting: "survives", value, ok: true, meaning };
}
