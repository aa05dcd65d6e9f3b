import { TenonError } from "../../../contracts/errors.ts";
import type { LeaseCapabilities, LeaseEngine } from "../../../contracts/leases.ts";
import { systemWorld } from "../../../world/system/system-world.ts";
import type { World } from "../../../world/world.ts";
import type { RedisClient } from "../clients.ts";
import type { Survives } from "../requirements.ts";
import { driftMs } from "./drift.ts";
import { QuorumLeases } from "./quorum-leases.ts";
import { QuorumServer } from "./quorum-server.ts";
import { majorityOf, QuorumServers } from "./quorum-servers.ts";

export interface RedisQuorumOptions {
  /** One for each server, answering a new client whenever it is called. Three servers or more, an odd number; five are usual. */
  readonly connect: readonly (() => RedisClient)[];
  /** What every key begins with; `"tenon"` if left out. */
  readonly prefix?: string | undefined;
  /**
   * The longest time to live; 1,200,000 ms if left out. A server that may have lost leases has no vote for so long. The same in all processes.
   */
  readonly ttlMsMax?: number | undefined;
  /** How long one server's answer is waited for, which is to be much less than any lease's time to live; 500 ms if left out. */
  readonly serverTimeoutMs?: number | undefined;
  /** How long the first connections may take; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** What a server's confirmed change survives, for servers that do not say (`CONFIG GET` is forbidden). */
  readonly survives?: Survives | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/** Independent Redis servers that carry leases together; see docs/coordination.md. */
export interface RedisQuorum extends AsyncDisposable {
  readonly name: "redis-quorum";
  readonly world: World;
  readonly leases: LeaseEngine;
  /** Aborts when it was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Closes the connections; what is held stays held. Idempotent. */
  close(): Promise<void>;
}

interface Settings {
  readonly connect: readonly (() => RedisClient)[];
  readonly prefix: string;
  readonly ttlMsMax: number;
  readonly serverTimeoutMs: number;
  readonly connectTimeoutMs: number;
  readonly survives: Survives | undefined;
  readonly world: World;
}

/** Once a majority is there, the rest is waited for so long. */
const stragglersMs = 250;

/**
 * Connects to a majority of the servers, and goes on trying to reach the others. `unavailable` when no majority can be reached, `invalid` when a server's settings
 * do not do or two of them are the same.
 */
export async function redisQuorum(options: RedisQuorumOptions): Promise<RedisQuorum> {
  const settings = settingsOf(options);
  const servers = serversOf(settings);
  try {
    await opened(servers, majorityOf(servers.length), settings);
    return new ConnectedQuorum(settings, servers);
  } catch (error) {
    await Promise.all(servers.map((server) => server.close()));
    throw error;
  }
}

/**
 * Once in the life of a quorum, before it is used for the first time: says that its empty servers are new, and have not lost anything, so that they
 * vote at once. `conflict` when one of them has voted before: then nothing is changed. All of them must be there.
 */
export async function foundRedisQuorum(options: RedisQuorumOptions): Promise<void> {
  const settings = settingsOf(options);
  const servers = serversOf(settings);
  try {
    await opened(servers, servers.length, settings);
    for (const server of servers) {
      if (await server.isKnown()) {
        const message = `A server of the quorum ${settings.prefix} has voted before, so the quorum is not new. A server that came back empty votes again after ttlMsMax.`;
        throw new TenonError("conflict", message);
      }
    }
    for (const server of servers) await server.found();
  } finally {
    await Promise.all(servers.map((server) => server.close()));
  }
}

class ConnectedQuorum implements RedisQuorum {
  readonly name = "redis-quorum";
  readonly world: World;
  readonly leases: QuorumLeases;
  readonly #servers: QuorumServers;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  constructor({ world, prefix, ttlMsMax }: Settings, servers: readonly QuorumServer[]) {
    this.world = world;
    this.#servers = new QuorumServers(servers);
    this.leases = new QuorumLeases(this.#servers, { world, prefix, ttlMsMax, survives: survivalOf(servers) });
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const reason = new TenonError("closed", "the quorum was closed");
    const leases = this.leases.close(reason);
    this.#ended.abort(reason);
    await leases;
    await this.#servers.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A minority may be lost in any case; when all lose their power, they keep what the weakest of them keeps. */
function survivalOf(servers: readonly QuorumServer[]): LeaseCapabilities["survives"] {
  const reached = servers.map(({ survives }) => survives).filter((each) => each !== undefined);
  if (reached.includes("nothing")) return "nothing";
  return reached.includes("process") ? "process" : "replicas";
}

function serversOf(settings: Settings): readonly QuorumServer[] {
  const { connect, ttlMsMax, ...rest } = settings;
  // What it has lost was kept for the drift longer than its time to live, by clocks of which this server's may be the fastest.
  const awayMs = Math.ceil(ttlMsMax + 3 * driftMs(ttlMsMax));
  return connect.map((each) => new QuorumServer({ ...rest, connect: each, awayMs }));
}

/** At least so many of them, and a moment later all that can be reached. */
async function opened(servers: readonly QuorumServer[], least: number, { world, connectTimeoutMs }: Settings) {
  const enough = Promise.withResolvers<void>();
  const all = Promise.all(
    servers.map(async (server) => {
      await server.opened;
      if (servers.filter(({ isOpen }) => isOpen).length >= least) enough.resolve();
    }),
  );
  all.catch(enough.reject);
  const cancel = world.timers.schedule(connectTimeoutMs, () => enough.reject(unreached(servers, least)));
  try {
    await enough.promise;
  } finally {
    cancel();
  }
  await Promise.race([all, world.timers.sleep(stragglersMs)]);
  const runs = servers.map(({ run }) => run).filter((run) => run !== undefined);
  if (new Set(runs).size === runs.length) return;
  throw new TenonError("invalid", "Two of the quorum's servers are the same one; each connect must lead to its own.");
}

function unreached(servers: readonly QuorumServer[], least: number): TenonError {
  const reached = servers.filter(({ isOpen }) => isOpen).length;
  const message = `Of the ${servers.length} servers of the quorum ${reached} could be reached, and ${least} are needed. Try again when more are up.`;
  return new TenonError("unavailable", message, { fields: { servers: servers.length, reached, needed: least } });
}

function settingsOf(options: RedisQuorumOptions): Settings {
  const { connect, prefix = "tenon", survives, world = systemWorld() } = options ?? {};
  const { ttlMsMax = 1_200_000, serverTimeoutMs = 500, connectTimeoutMs = 10_000 } = options ?? {};
  if (!Array.isArray(connect) || connect.length < 3 || connect.length % 2 === 0 || !connect.every(isFunction)) {
    throw new TenonError("invalid", "connect must list three functions or more, an odd number, one for each server");
  }
  for (const [name, value] of Object.entries({ ttlMsMax, serverTimeoutMs, connectTimeoutMs })) {
    if (typeof value === "number" && value >= 1 && value < 2 ** 31) continue;
    throw new TenonError("invalid", `${name} must be a number of milliseconds from 1, not ${value}`);
  }
  if (serverTimeoutMs > ttlMsMax / 2) {
    throw new TenonError(
      "invalid",
      `serverTimeoutMs, ${serverTimeoutMs}, must be much less than ttlMsMax, ${ttlMsMax}`,
    );
  }
  if (typeof prefix !== "string" || prefix === "" || /[{}]/.test(prefix)) {
    throw new TenonError("invalid", `prefix must be text without braces, not ${JSON.stringify(prefix)}`);
  }
  return { connect, prefix, survives, world, ttlMsMax, serverTimeoutMs, connectTimeoutMs };
}

function isFunction(each: unknown): boolean {
  return typeof each === "function";
}
