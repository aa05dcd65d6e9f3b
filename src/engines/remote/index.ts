import { TenonError } from "../../contracts/errors.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { Address, World } from "../../world/world.ts";
import { ConnectedEngine, type RemoteEngine } from "./client/remote-engine.ts";
import { type EngineServer, ListeningServer } from "./server/engine-server.ts";
import type { ServedEngine } from "./server/handlers.ts";

export type { RemoteEngine } from "./client/remote-engine.ts";
export type { EngineServer } from "./server/engine-server.ts";
export type { ServedEngine } from "./server/handlers.ts";

export interface ServeOptions {
  /** 0 asks for any free one; the server's `address` says which. */
  readonly port: number;
  /** `"127.0.0.1"` if left out: only this machine. There is no authentication and no encryption, so let nobody in whom you do not trust. */
  readonly host?: string | undefined;
  /** The engine's if left out. */
  readonly world?: World | undefined;
}

/**
 * Serves an engine to other processes, until it is closed or the engine ends. The engine stays the caller's.
 *
 * `unavailable` when it cannot listen there.
 */
export async function serve(engine: ServedEngine, options: ServeOptions): Promise<EngineServer> {
  const { port, host = "127.0.0.1", world = engine?.world } = options ?? {};
  if (!(Number.isInteger(port) && port! >= 0 && port! <= 65_535)) {
    throw new TenonError("invalid", `serve() needs a port from 0 to 65,535, not ${port}`);
  }
  if (typeof host !== "string" || host === "") {
    throw new TenonError("invalid", "host is the name or address to listen at, such as 127.0.0.1");
  }
  return ListeningServer.open(engine, world, { host, port: port! });
}

export interface RemoteOptions {
  /** How long the first connection may take; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** How long a request waits to be sent, and then for its answer; 5,000 ms if left out. */
  readonly requestTimeoutMs?: number | undefined;
  /** How often the connection is tried when nothing else happens; 2,000 ms if left out. Members with shorter sessions try it more often. */
  readonly heartbeatMs?: number | undefined;
  /** Whether publishing and consuming create a topic that is missing; as the served engine has it if left out. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/**
 * Connects to an engine that another process serves, at `"host:port"`.
 *
 * `unavailable` when it cannot be reached, `unsupported` when it speaks another version of the protocol.
 */
export async function remote(address: string | Address, options: RemoteOptions = {}): Promise<RemoteEngine> {
  const { connectTimeoutMs = 10_000, requestTimeoutMs = 5_000, heartbeatMs = 2_000, topicCreation } = options;
  for (const [name, value] of Object.entries({ connectTimeoutMs, requestTimeoutMs, heartbeatMs })) {
    if (typeof value === "number" && value > 0 && value < 2 ** 31) continue;
    throw new TenonError("invalid", `${name} must be a number of milliseconds above 0, not ${value}`);
  }
  if (topicCreation !== undefined && topicCreation !== "ifMissing" && topicCreation !== "never") {
    throw new TenonError("invalid", `topicCreation is "ifMissing" or "never", not ${JSON.stringify(topicCreation)}`);
  }
  return ConnectedEngine.open({
    world: options.world ?? systemWorld(),
    address: typeof address === "string" ? parsedAddress(address) : checkedAddress(address),
    connectTimeoutMs,
    requestTimeoutMs,
    heartbeatMs,
    topicCreation,
  });
}

/** `host:port`, with an IPv6 address in brackets. */
function parsedAddress(text: string): Address {
  const found = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  if (found === null) throw noAddress(JSON.stringify(text));
  return checkedAddress({ host: (found[1] ?? found[2])!, port: Number(found[3]) });
}

function checkedAddress(address: Address): Address {
  const { host, port } = address ?? {};
  if (typeof host !== "string" || host === "") throw noAddress("one without a host");
  if (!(Number.isInteger(port) && port >= 1 && port <= 65_535)) throw noAddress(`one with port ${port}`);
  return { host, port };
}

function noAddress(given: string): TenonError {
  return new TenonError("invalid", `remote() needs an address such as "127.0.0.1:7070" or "[::1]:7070", not ${given}`);
}
