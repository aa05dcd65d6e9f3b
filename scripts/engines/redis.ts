/** Redis 7: one server, a cluster, a primary under sentinels, and a quorum of independent primaries. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { primaryNameDefault, urlsAt, wellKnown } from "./addresses.ts";
import type { Engine } from "./engine.ts";
import { type Reply, redisCommand } from "./redis-protocol.ts";
import type { Site } from "./site.ts";

const packages = [{ package: "redis-server", program: "redis-server" }];
const version = "7.0";
const readyMs = 20_000;

export const redis: Engine = {
  name: "redis",
  version,
  packages,
  ports: numbered("redis", wellKnown.redis.ports),
  published: ["redis-1"],
  async start(site) {
    startServer(site, "redis-1", []);
    await untilPong(site, "redis-1");
  },
};

export const redisQuorum: Engine = {
  name: "redis-quorum",
  version,
  packages,
  ports: numbered("redis", wellKnown["redis-quorum"].ports),
  published: servers("redis", 5),
  async start(site) {
    await startAll(site, this.published, () => []);
  },
};

export const redisCluster: Engine = {
  name: "redis-cluster",
  version,
  packages,
  ports: { ...numbered("redis", wellKnown["redis-cluster"].ports), ...numbered("bus", [17_000, 17_001, 17_002]) },
  published: servers("redis", 3),
  async start(site) {
    await startAll(site, this.published, (_, index) => [
      "--cluster-enabled yes",
      `--cluster-port ${site.port(`bus-${index + 1}`)}`,
      "--cluster-node-timeout 2000",
      "--cluster-announce-ip 127.0.0.1",
    ]);
    await formCluster(site, this.published);
  },
};

export const redisSentinel: Engine = {
  name: "redis-sentinel",
  version,
  packages,
  ports: { ...numbered("sentinel", wellKnown["redis-sentinel"].ports), ...numbered("redis", [6390, 6391]) },
  published: servers("sentinel", 3),
  async start(site) {
    const data = servers("redis", 2);
    const primary = formerPrimary(site);
    for (const server of data) {
      if (site.runs(server)) continue;
      const replication = server === primary ? [] : [`--replicaof 127.0.0.1 ${site.port(primary)}`];
      startServer(site, server, replication);
    }
    for (const server of data) await untilPong(site, server);
    for (const sentinel of this.published) startSentinel(site, sentinel, primary);
    for (const sentinel of this.published) await untilWatching(site, sentinel);
  },
};

/** A folder of its own, and an append-only file that is synced before every answer. */
function startServer(site: Site, server: string, options: readonly string[]): void {
  const directory = site.path(server);
  mkdirSync(directory, { recursive: true });
  const settings = [
    `--port ${site.port(server)}`,
    "--bind 127.0.0.1",
    `--dir ${directory}`,
    "--daemonize no",
    "--appendonly yes",
    "--appendfsync always",
    "--maxmemory-policy noeviction",
    ...options,
  ].flatMap(splitOption);
  site.start(server, { command: "redis-server", parameters: [...settings, "--save", ""] });
}

/** At the first space only: a folder's name may hold others. */
function splitOption(option: string): string[] {
  const space = option.indexOf(" ");
  const name = option.slice(0, space);
  const value = option.slice(space + 1);
  return name === "--replicaof" ? [name, ...value.split(" ")] : [name, value];
}

async function startAll(
  site: Site,
  names: readonly string[],
  options: (server: string, index: number) => readonly string[],
): Promise<void> {
  for (const [index, server] of names.entries()) startServer(site, server, options(server, index));
  for (const server of names) await untilPong(site, server);
}

async function untilPong(site: Site, server: string): Promise<void> {
  const url = urlOf(site, server);
  await site.untilReady(server, async () => expectReply(await redisCommand(url, "PING"), "PONG"), readyMs);
}

/** Introduces the nodes to each other, also after they got other ports, and gives each a third of the slots when they have none. */
async function formCluster(site: Site, names: readonly string[]): Promise<void> {
  const [first] = names;
  for (const [index] of names.entries()) {
    await redisCommand(
      urlOf(site, first!),
      "CLUSTER",
      "MEET",
      "127.0.0.1",
      site.port(`redis-${index + 1}`),
      site.port(`bus-${index + 1}`),
    );
  }
  const slots = 16_384;
  for (const [index, server] of names.entries()) {
    const from = Math.floor((index * slots) / names.length);
    const to = Math.floor(((index + 1) * slots) / names.length) - 1;
    const nodes = String(await redisCommand(urlOf(site, server), "CLUSTER", "NODES"));
    const mine = nodes.split("\n").find((line) => line.includes("myself")) ?? "";
    if (mine.split(" ")[8] === undefined) await redisCommand(urlOf(site, server), "CLUSTER", "ADDSLOTSRANGE", from, to);
  }
  for (const server of names) {
    await site.untilReady(server, () => clusterIsWhole(urlOf(site, server), names.length), readyMs);
  }
}

/** Throws until every slot is served and every node is known. */
export async function clusterIsWhole(url: string, nodes = 1): Promise<void> {
  const info = String(await redisCommand(url, "CLUSTER", "INFO"));
  const size = Number(/cluster_size:(\d+)/.exec(info)?.[1]);
  if (!info.includes("cluster_state:ok") || size < nodes) throw new Error("the cluster does not serve all slots yet");
}

/** Which of the two was the primary when they last ran: a failover may have swapped them. */
function formerPrimary(site: Site): string {
  for (const sentinel of servers("sentinel", 3)) {
    const file = site.path(sentinel, "sentinel.conf");
    if (!existsSync(file)) continue;
    const port = /^sentinel monitor \S+ \S+ (\d+)/m.exec(readFileSync(file, "utf8"))?.[1];
    const server = servers("redis", 2).find((name) => String(site.port(name)) === port);
    if (server !== undefined) return server;
  }
  return "redis-1";
}

function startSentinel(site: Site, sentinel: string, primary: string): void {
  if (site.runs(sentinel)) return;
  const directory = site.path(sentinel);
  mkdirSync(directory, { recursive: true });
  const file = site.path(sentinel, "sentinel.conf");
  // Sentinels keep their state in this file and write it anew themselves; it is ours again at every start.
  const settings = [
    `port ${site.port(sentinel)}`,
    "bind 127.0.0.1",
    `dir "${directory}"`,
    "daemonize no",
    `sentinel monitor ${primaryNameDefault} 127.0.0.1 ${site.port(primary)} 2`,
    `sentinel down-after-milliseconds ${primaryNameDefault} 1500`,
    `sentinel failover-timeout ${primaryNameDefault} 6000`,
    `sentinel parallel-syncs ${primaryNameDefault} 1`,
  ];
  writeFileSync(file, `${settings.join("\n")}\n`);
  site.start(sentinel, { command: "redis-server", parameters: [file, "--sentinel"] });
}

/** It knows the primary, the replica that follows it, and the two other sentinels: it could decide a failover. */
async function untilWatching(site: Site, sentinel: string): Promise<void> {
  const url = urlOf(site, sentinel);
  const ask = async (): Promise<void> => {
    const primary = fieldsOf(await redisCommand(url, "SENTINEL", "MASTER", primaryNameDefault));
    if (primary.flags !== "master" || primary["num-slaves"] !== "1" || primary["num-other-sentinels"] !== "2")
      throw new Error("it does not know the replica and the other sentinels yet");
    const replicas = (await redisCommand(url, "SENTINEL", "REPLICAS", primaryNameDefault)) as readonly Reply[];
    const link = fieldsOf(replicas[0] ?? [])["master-link-status"];
    if (link !== "ok") throw new Error("the replica does not follow the primary yet");
  };
  // Sentinels ask servers for what they know every ten seconds.
  await site.untilReady(sentinel, ask, 40_000);
}

function fieldsOf(reply: Reply): Record<string, string> {
  const flat = Array.isArray(reply) ? reply : [];
  const fields: Record<string, string> = {};
  for (let index = 0; index + 1 < flat.length; index += 2) fields[String(flat[index])] = String(flat[index + 1]);
  return fields;
}

function expectReply(reply: Reply, wanted: string): void {
  if (reply !== wanted) throw new Error(`it answered ${String(reply)} instead of ${wanted}`);
}

function urlOf(site: Site, server: string): string {
  return urlsAt("redis", [site.port(server)])[0]!;
}

function servers(kind: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${kind}-${index + 1}`);
}

function numbered(kind: string, ports: readonly number[]): Record<string, number> {
  return Object.fromEntries(ports.map((port, index) => [`${kind}-${index + 1}`, port]));
}
