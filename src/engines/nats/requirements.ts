import { TenonError } from "../../contracts/errors.ts";
import { type Requirement, type ServerState, type Survives, survivalLevels } from "../shared/requirements.ts";
import type { NatsServerInfo } from "./clients.ts";
import type { StreamInfo } from "./jet-stream.ts";

export type { Requirement, ServerState, Survives } from "../shared/requirements.ts";

const payloadBytesMin = 64 * 1024;
const payloadBytesWanted = 1024 * 1024;

export function checkServer(info: NatsServerInfo): void {
  if (!isAtLeast(info.version, 2, 9)) {
    throw new TenonError("unsupported", `The server is NATS ${info.version}; this engine needs 2.9 or later.`, {
      fields: { version: info.version },
    });
  }
  if (info.headers === false) {
    throw new TenonError("unsupported", "The server does not support headers; remove no_header_support.");
  }
  if (info.jetstream === false) {
    throw new TenonError("unsupported", "JetStream is not enabled on this server; enable it in its configuration.");
  }
  if (info.max_payload >= payloadBytesMin) return;
  const text = `max_payload of the server is ${info.max_payload} bytes; this engine needs at least ${payloadBytesMin}.`;
  throw new TenonError("unsupported", text, { fields: { maxPayload: info.max_payload } });
}

/** What the server and the streams promise, and what may be stated beyond that, as it cannot be read. */
export function stateOf(
  info: NatsServerInfo,
  streams: readonly StreamInfo[],
  stated: Survives | undefined,
): ServerState {
  const replicas = Math.min(...streams.map(({ config }) => config.num_replicas ?? 1));
  const onDisk = streams.every(({ config }) => config.storage === "file");
  const requirements: Requirement[] = [
    { setting: "version", value: info.version, ok: true, meaning: "It is new enough." },
    payloadOf(info),
    storageOf(onDisk),
    replicasOf(replicas),
    syncOf(info, stated),
  ];
  const read: Survives = replicas > 1 ? "replicas" : onDisk ? "process" : "nothing";
  if (stated === undefined) return { requirements, survives: read };
  const mayBeStated: Survives = read === "process" && isAtLeast(info.version, 2, 10) ? "machine" : read;
  if (survivalLevels.indexOf(stated) > survivalLevels.indexOf(mayBeStated)) {
    const step =
      stated === "replicas"
        ? "keep the streams on several servers (num_replicas)"
        : "sync_interval: always is needed, which NATS has from 2.10 on";
    throw new TenonError(
      "invalid",
      `survives is "${stated}", but this server cannot promise that: ${step}; or leave survives out.`,
      {
        fields: { stated, survives: mayBeStated },
      },
    );
  }
  return { requirements, survives: stated };
}

function payloadOf({ max_payload: bytes }: NatsServerInfo): Requirement {
  const ok = bytes >= payloadBytesWanted;
  const meaning = ok
    ? "A batch of messages, and a value, is one message of the server and no larger than this."
    : "A batch of messages, and a value, is one message of the server; raise max_payload to 1 MiB or more for larger ones.";
  return { setting: "max_payload", value: String(bytes), ok, meaning };
}

function storageOf(onDisk: boolean): Requirement {
  const meaning = onDisk
    ? "What was confirmed was written to files."
    : "A stream is in memory: what was confirmed is gone when its servers stop. Make streams with storage: file.";
  return { setting: "storage", value: onDisk ? "file" : "memory", ok: onDisk, meaning };
}

function replicasOf(replicas: number): Requirement {
  const ok = replicas > 1;
  const meaning = ok
    ? "What was confirmed is on most of a stream's servers, so that the loss of one loses nothing."
    : "The streams are on one server, and its loss loses them. Where that must not be, run three or more, and make the streams with replicas: 3.";
  return { setting: "num_replicas", value: String(replicas), ok, meaning };
}

function syncOf({ version }: NatsServerInfo, stated: Survives | undefined): Requirement {
  const isStated = stated === "machine" || stated === "replicas";
  const meaning = isAtLeast(version, 2, 10)
    ? 'It cannot be read. With sync_interval: always what was confirmed is on the disk; then say survives: "machine". By default a server syncs every two minutes, and a crash of its machine loses what came since.'
    : "This version syncs every two minutes, and a crash of its machine loses what came since. From 2.10 on there is sync_interval: always.";
  return { setting: "sync_interval", value: isStated ? "as stated" : "unknown", ok: isStated, meaning };
}

function isAtLeast(version: string, major: number, minor: number): boolean {
  const [first = 0, second = 0] = version.split(".").map(Number);
  return first > major || (first === major && second >= minor);
}
