import { TenonError } from "../../contracts/errors.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { Address, Network, World } from "../../world/world.ts";
import { checkMs } from "../shared/options.ts";
import { everybody, type ZookeeperAcl } from "./protocol.ts";
import type { Survives } from "./requirements.ts";
import type { Credentials } from "./session.ts";
import { ConnectedEngine, type ZookeeperEngine } from "./zookeeper-engine.ts";

export interface ZookeeperOptions {
  /** The servers' client addresses, such as `["10.0.0.1:2181", "10.0.0.2:2181"]`. One of them is talked to, and the next one when that fails. */
  readonly servers: readonly string[];
  /** How a connection is made where it is not plain TCP: over TLS, say. The world's network if left out. */
  readonly connect?: Network["connect"] | undefined;
  /** What is told to the server with every session, such as `[{ scheme: "digest", value: "user:password" }]`. */
  readonly credentials?: readonly Credentials[] | undefined;
  /** When a server that is silent counts as lost, at two thirds of it, within the server's own limits; 10,000 ms if left out. No lease hangs on it. */
  readonly sessionTimeoutMs?: number | undefined;
  /** The node under which everything is; `"/tenon"` if left out. Engines that share a root share everything. */
  readonly root?: string | undefined;
  /** `"make"`: makes the nodes that are missing. `"expect"`, also when left out: they are there, by `"make"` at some time. */
  readonly nodes?: "make" | "expect" | undefined;
  /** Who may do what with the nodes that it makes; everybody everything if left out. */
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
  const { servers, root = "/tenon", nodes = "expect", acls = everybody, survives } = options ?? {};
  const { world = systemWorld(), credentials = [] } = options ?? {};
  const { commandTimeoutMs = 5_000, connectTimeoutMs = 10_000, sessionTimeoutMs = 10_000 } = options ?? {};
  const { connect = (...parameters: Parameters<Network["connect"]>) => world.network.connect(...parameters) } =
    options ?? {};
  if (!(Array.isArray(servers) && servers.length > 0)) {
    throw new TenonError("invalid", 'zookeeper() needs options with servers, such as ["127.0.0.1:2181"]');
  }
  const addresses = servers.map(addressOf);
  if (!(typeof root === "string" && /^(\/[\w-][\w.-]*){1,8}$/.test(root) && root.length <= 128)) {
    throw new TenonError("invalid", 'root must be the path of a node such as "/tenon", of letters, digits, _ . and -');
  }
  checkMs({ commandTimeoutMs, connectTimeoutMs, sessionTimeoutMs });
  if (nodes !== "make" && nodes !== "expect") {
    throw new TenonError("invalid", `nodes is "make" or "expect", not ${JSON.stringify(nodes)}`);
  }
  if (!(Array.isArray(acls) && acls.length > 0)) {
    throw new TenonError(
      "invalid",
      "acls must be a list of at least one ACL; leave it out to allow everybody everything",
    );
  }
  if (survives !== undefined && !["process", "machine", "replicas"].includes(survives)) {
    throw new TenonError("invalid", `survives is "process", "machine" or "replicas", not ${JSON.stringify(survives)}`);
  }
  const timeouts = { commandTimeoutMs, connectTimeoutMs, sessionTimeoutMs: Math.ceil(sessionTimeoutMs) };
  const connection = { world, connect, addresses, credentials, ...timeouts };
  return ConnectedEngine.open({ connection, root, nodes, acls, survives });
}

function addressOf(server: unknown): Address {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(String(server)) ?? [];
  if (host === undefined) {
    throw new TenonError("invalid", `servers are addresses such as "127.0.0.1:2181", not ${JSON.stringify(server)}`);
  }
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
}
