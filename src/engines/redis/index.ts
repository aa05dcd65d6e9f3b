import { TenonError } from "../../contracts/errors.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import { checkMs } from "../shared/options.ts";
import type { RedisClient } from "./clients.ts";
import { ConnectedEngine, type RedisEngine } from "./redis-engine.ts";
import type { Survives } from "./requirements.ts";

export type {
  IoredisClient,
  IoredisCluster,
  IoredisNode,
  NodeRedisClient,
  NodeRedisCluster,
  NodeRedisOptions,
  RedisClient,
} from "./clients.ts";
export {
  foundRedisQuorum,
  type RedisQuorum,
  type RedisQuorumOptions,
  redisQuorum,
} from "./quorum/redis-quorum.ts";
export type { RedisEngine } from "./redis-engine.ts";
export type { Requirement, Survives } from "./requirements.ts";

export interface RedisOptions {
  /**
   * Answers a new client whenever it is called: ioredis' `Redis` or `Cluster`, node-redis' `createClient()` or `createCluster()`. The engine calls it for commands,
   * for subscriptions, and again after a connection was lost; it closes what it was given.
   */
  readonly connect: () => RedisClient;
  /** What every key begins with; `"tenon"` if left out. Engines that share a prefix share everything. */
  readonly prefix?: string | undefined;
  /** The hash tag of the key-values, so the slot that holds them; `"kv"` if left out. */
  readonly keyValueTag?: string | undefined;
  /**
   * What a confirmed change survives, for servers that do not say (`CONFIG GET` is forbidden). Where they do, one that survives less is
   * refused.
   */
  readonly survives?: Survives | undefined;
  /** Whether publishing and consuming create a topic that is missing; `"ifMissing"` if left out. In production say `"never"` and create topics on purpose. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** How long a command waits to be sent, and then for its answer; 5,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long the first connection may take; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/**
 * Connects to Redis 7 or later and looks at its settings.
 *
 * `unavailable` when it cannot be reached, `denied` when it refuses the credentials, `invalid` when the client repeats commands by itself or the server throws
 * data away, `unsupported` when it is too old.
 */
export async function redis(options: RedisOptions): Promise<RedisEngine> {
  if (typeof options?.connect !== "function") {
    throw new TenonError("invalid", "redis() needs options with connect, a function that answers a new client");
  }
  const { connect, survives, prefix = "tenon", keyValueTag = "kv", world = systemWorld() } = options;
  const { commandTimeoutMs = 5_000, connectTimeoutMs = 10_000 } = options;
  checkMs({ commandTimeoutMs, connectTimeoutMs });
  for (const [name, value] of Object.entries({ prefix, keyValueTag })) {
    if (typeof value === "string" && value !== "" && !/[{}]/.test(value)) continue;
    throw new TenonError("invalid", `${name} must be text without braces, not ${JSON.stringify(value)}`);
  }
  if (survives !== undefined && !["nothing", "process", "machine"].includes(survives)) {
    throw new TenonError("invalid", `survives is "nothing", "process" or "machine", not ${JSON.stringify(survives)}`);
  }
  const { topicCreation = "ifMissing" } = options;
  if (topicCreation !== "ifMissing" && topicCreation !== "never") {
    throw new TenonError("invalid", `topicCreation is "ifMissing" or "never", not ${JSON.stringify(topicCreation)}`);
  }
  return ConnectedEngine.open({
    world,
    connect,
    prefix,
    keyValueTag,
    survives,
    topicCreation,
    commandTimeoutMs,
    connectTimeoutMs,
  });
}
