import { TenonError } from "../../contracts/errors.ts";
import type { Requirement, Survives as Shared } from "../shared/requirements.ts";
import type { ZookeeperConnection } from "./connection.ts";
import { failureOf } from "./failures.ts";

export type { Requirement } from "../shared/requirements.ts";

/** It keeps everything on disk. */
export type Survives = Exclude<Shared, "nothing">;

export interface ServerState {
  readonly requirements: readonly Requirement[];
  readonly survives: Survives;
}

const levels: readonly Survives[] = ["process", "machine", "replicas"];
/** Where ZooKeeper 3.5 and later say which servers there are. */
const configurationPath = "/zookeeper/config";

/** Reads which servers there are; refuses one on which the engine's promises cannot be kept. */
export async function readRequirements(
  connection: ZookeeperConnection,
  stated: Survives | undefined,
): Promise<ServerState> {
  const configuration = await configurationOf(connection);
  const participants = configuration?.split("\n").filter((line) => /^server\.\d+=.*participant/.test(line)).length;
  const promised: Survives = participants !== undefined && participants > 1 ? "replicas" : "machine";
  if (stated !== undefined && configuration !== undefined && levels.indexOf(stated) > levels.indexOf(promised)) {
    const text = `survives is "${stated}", but this ZooKeeper is one server: what it confirms survives a crash of the machine, not its loss. Add servers, or leave survives out.`;
    throw new TenonError("invalid", text, { fields: { stated, survives: promised } });
  }
  return { requirements: [serversOf(participants)], survives: stated ?? promised };
}

/** `undefined` where reading it is forbidden. */
async function configurationOf(connection: ZookeeperConnection): Promise<string | undefined> {
  try {
    const node = await connection.run("reading the servers", "not-applied", (session) =>
      session.getData(configurationPath),
    );
    if (node !== undefined) return node.data.toString();
  } catch (error) {
    const failure = failureOf(error, "reading the servers", "not-applied");
    if (failure.code === "denied") return undefined;
    throw failure;
  }
  throw new TenonError("unsupported", "The server is older than ZooKeeper 3.5, which this engine needs.");
}

function serversOf(participants: number | undefined): Requirement {
  const setting = "servers";
  if (participants === undefined) {
    const meaning = `Reading ${configurationPath} is forbidden; say in the option survives what there is.`;
    return { setting, value: "unknown", ok: true, meaning };
  }
  const count = Math.max(1, participants);
  const ok = count >= 3;
  const meaning = ok
    ? "What is confirmed is on the disks of most of them; it serves as long as most of them do."
    : "It serves only while all of them do. In production run three.";
  return { setting, value: String(count), ok, meaning };
}
