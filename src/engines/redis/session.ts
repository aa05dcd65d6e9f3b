import { TenonError } from "../../contracts/errors.ts";
import type { IoredisClient, IoredisCluster, NodeRedisClient, NodeRedisCluster, RedisClient } from "./clients.ts";
import type { Argument } from "./connection.ts";
import { ioredisClusterSession, ioredisSession } from "./ioredis-client.ts";
import { nodeRedisClusterSession, nodeRedisSession } from "./node-redis-client.ts";

/** What a session tells its owner. Nothing is told any more after `destroy`. */
export interface SessionEvents {
  /** Commands can be sent. At most once. */
  ready(): void;
  /** Something failed; before `ready` the client goes on trying by itself. */
  trouble(error: unknown): void;
  /** The connection broke, or will never be made: commands that are under way are lost. At most once. */
  lost(error: unknown): void;
  message(channel: string, payload: Buffer): void;
}

/**
 * One client of the user's for as long as its connection holds. A client that lost its connection is thrown away, together with
 * whatever it might still have sent by itself; so a command that was given up is never sent later.
 */
export interface Session {
  readonly isCluster: boolean;
  /** `undefined` when it cannot be written now: then it surely was not sent. */
  send(key: string | undefined, args: readonly Argument[]): Promise<unknown> | undefined;
  /** What is sent from now on is held back until the end of the turn, and written at once then: writing costs more than most commands do. */
  gather?(): void;
  /** Writes what is held back. */
  flush?(): void;
  subscribe(channel: string): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  /** Of a cluster: a client of one node, not yet connected by us. Subscriptions have one to themselves, as it says when it is lost. */
  node?(): Promise<RedisClient>;
  destroy(): void;
}

/** Takes the client into service; `invalid` when it is none of ours or set to repeat commands by itself. */
export function openSession(client: RedisClient, events: SessionEvents): Session {
  if (typeof client === "object" && client !== null) {
    if ("callBuffer" in client) {
      return client.isCluster && "nodes" in client
        ? ioredisClusterSession(client as IoredisCluster, events)
        : ioredisSession(client as IoredisClient, events);
    }
    if ("sendCommand" in client) {
      if ("nodeClient" in client) return nodeRedisClusterSession(client as NodeRedisCluster, events);
      if ("duplicate" in client && !("getSentinelNode" in client)) {
        return nodeRedisSession(client as NodeRedisClient, events);
      }
    }
  }
  throw new TenonError(
    "invalid",
    "connect must answer a new client: Redis or Cluster of ioredis, createClient() or createCluster() of node-redis 5 or later. For Sentinels use ioredis.",
  );
}
