import { TenonError } from "../../contracts/errors.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import type { ZookeeperAcl, ZookeeperClient } from "./clients.ts";
import type { Survives } from "./requirements.ts";
import { ConnectedEngine, type ZookeeperEngine } from "./zookeeper-engine.ts";

export interface ZookeeperOptions {
  /**
   * Answers a new client whenever it is called, not yet connected: `() => createClient("10.0.0.1:2181,10.0.0.2:2181")` of the package node-zookeeper-client. The engine calls it again
   * after a session has ended or a server has fallen silent; it closes what it was given.
   */
  readonly connect: () => ZookeeperClient;
  /** The node under which everything is; `"/tenon"` if left out. Engines that share a root share everything. */
  readonly root?: string | undefined;
  /** `"make"`: makes the nodes that are missing. `"expect"`, also when left out: they are there, by `"make"` at some time. */
  readonly nodes?: "make" | "expect" | undefined;
  /** Who may do what with the nodes that it makes; everybody everything if left out. `ACL`s of the package. */
  readonly acls?: readonly ZookeeperAcl[] | undefined;
  /** What a confirmed change survives, at least; an ensemble that promises less is refused. What it promises if left out. */
  readonly survives?: Survives | undefined;
  /** How long an operation waits for a connection, and then for its answer; 5,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long connecting may take altogether; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/**
 * Connects to ZooKeeper 3.5 or later and looks at its servers and the nodes.
 *
 * `unavailable` when it cannot be reached, `denied` when it refuses the credentials, `not-found` when the nodes are not there and may not be made, `conflict` when they are another version's,
 * `unsupported` when it is too old.
 */
export async function zookeeper(options: ZookeeperOptions): Promise<ZookeeperEngine> {
  if (typeof options?.connect !== "function") {
    throw new TenonError("invalid", "zookeeper() needs options with connect, a function that answers a new client");
  }
  const { connect, root = "/tenon", nodes = "expect", acls, survives, world = systemWorld() } = options;
  const { commandTimeoutMs = 5_000, connectTimeoutMs = 10_000 } = options;
  if (!(typeof root === "string" && /^(\/[\w-][\w.-]*){1,8}$/.test(root) && root.length <= 128)) {
    throw new TenonError("invalid", 'root must be the path of a node such as "/tenon", of letters, digits, _ . and -');
  }
  for (const [name, value] of Object.entries({ commandTimeoutMs, connectTimeoutMs })) {
    if (typeof value === "number" && value > 0 && value < 2 ** 31) continue;
    throw new TenonError("invalid", `${name} must be a number of milliseconds above 0, not ${value}`);
  }
  if (nodes !== "make" && nodes !== "expect") {
    throw new TenonError("invalid", `nodes is "make" or "expect", not ${JSON.stringify(nodes)}`);
  }
  if (acls !== undefined && !(Array.isArray(acls) && acls.length > 0)) {
    throw new TenonError(
      "invalid",
      "acls must be a list of at least one ACL; leave it out to allow everybody everything",
    );
  }
  if (survives !== undefined && !["process", "machine", "replicas"].includes(survives)) {
    throw new TenonError("invalid", `survives is "process", "machine" or "replicas", not ${JSON.stringify(survives)}`);
  }
  return ConnectedEngine.open({ connection: { world, connect, commandTimeoutMs, connectTimeoutMs }, root, nodes, acls, survives });
}
