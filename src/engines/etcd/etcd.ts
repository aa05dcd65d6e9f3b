import { TenonError } from "../../contracts/errors.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import { checkMs } from "../shared/options.ts";
import type { EtcdFetch } from "./clients.ts";
import { ConnectedEngine, type EtcdEngine } from "./etcd-engine.ts";
import type { Survives } from "./requirements.ts";

export interface EtcdOptions {
  /** The members' client URLs, such as `["http://10.0.0.1:2379"]`. Requests go to one of them, and to the next one when that fails. */
  readonly endpoints: readonly string[];
  /** Node's own `fetch`, or undici's bound to a dispatcher that knows certificates or a proxy. */
  readonly fetch: EtcdFetch;
  /** Where etcd's authentication is on. */
  readonly credentials?: { readonly name: string; readonly password: string } | undefined;
  /** What every key begins with, followed by a slash; `"tenon"` if left out. Engines that share a prefix share everything. */
  readonly prefix?: string | undefined;
  /** What a confirmed change survives, at least; a cluster that promises less is refused. What it promises if left out. */
  readonly survives?: Survives | undefined;
  /** etcd's `--max-txn-ops`; 128, its default, if left out. At most 128. */
  readonly txnOperationsMax?: number | undefined;
  /** etcd's `--max-request-bytes`; 1,572,864, its default, if left out. */
  readonly requestBytesMax?: number | undefined;
  /** How long an operation waits for a server that can be reached, and then for its answer; 5,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long connecting may take altogether; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/**
 * Connects to etcd 3.4 or later and looks at its version, its members and its limits.
 *
 * `unavailable` when it cannot be reached, `denied` when it refuses the credentials, `unsupported` when it is too old or does not serve its JSON API, `invalid` when an option makes no sense
 * or says more than the server keeps.
 */
export async function etcd(options: EtcdOptions): Promise<EtcdEngine> {
  const { endpoints, fetch, prefix = "tenon", survives, world = systemWorld() } = options ?? {};
  const { txnOperationsMax = 128, requestBytesMax = 1_572_864, commandTimeoutMs = 5_000, credentials } = options ?? {};
  const { connectTimeoutMs = 10_000 } = options ?? {};
  if (typeof fetch !== "function") {
    throw new TenonError(
      "invalid",
      "etcd() needs options with fetch: Node's own, or one bound to a dispatcher of yours",
    );
  }
  if (!(Array.isArray(endpoints) && endpoints.length > 0 && endpoints.every(isUrl))) {
    throw new TenonError(
      "invalid",
      'endpoints must be URLs such as "http://127.0.0.1:2379", at least one, without credentials',
    );
  }
  if (!(typeof prefix === "string" && /^[\w.:/-]{1,64}$/.test(prefix) && !prefix.endsWith("/"))) {
    throw new TenonError(
      "invalid",
      "prefix must be 1 to 64 letters, digits, or any of _ . : - / without one at its end",
    );
  }
  whole("txnOperationsMax", txnOperationsMax, 8, 128);
  whole("requestBytesMax", requestBytesMax, 65_536, 2 ** 30);
  checkMs({ commandTimeoutMs, connectTimeoutMs });
  if (survives !== undefined && !["process", "machine", "replicas"].includes(survives)) {
    throw new TenonError("invalid", `survives is "process", "machine" or "replicas", not ${JSON.stringify(survives)}`);
  }
  return ConnectedEngine.open({
    connection: {
      world,
      fetch,
      endpoints: endpoints.map((url) => url.replace(/\/+$/, "")),
      credentials,
      commandTimeoutMs,
      connectTimeoutMs,
    },
    expected: { prefix, operationsMax: txnOperationsMax, requestBytesMax, survives },
  });
}

function isUrl(text: unknown): boolean {
  if (typeof text !== "string" || !URL.canParse(text)) return false;
  const { protocol, username, password } = new URL(text);
  return (protocol === "http:" || protocol === "https:") && username === "" && password === "";
}

function whole(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new TenonError("invalid", `${name} must be a whole number from ${least} to ${most}, not ${value}`);
}
