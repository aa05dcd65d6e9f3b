/** Redis servers that belong together, of one test's own: a primary with its replica under a sentinel, and a cluster. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { redisCommand } from "../scripts/engines/redis-protocol.ts";
import { type RedisServer, startRedis } from "./redis-server.ts";

export interface Replicated {
  readonly primary: RedisServer;
  readonly replica: RedisServer;
  readonly sentinelPort: number;
  /** As the sentinel calls it. */
  readonly name: string;
}

/** The replica is in step when it resolves. */
export async function startReplicated(t: TestContext, settings: readonly string[] = []): Promise<Replicated> {
  const primary = await startRedis({ settings });
  t.after(() => primary.dispose());
  const replicaOf = ["--replicaof", `127.0.0.1 ${primary.port}`];
  const replica = await startRedis({ settings: [...settings, ...replicaOf] });
  t.after(() => {
    replica.resume();
    return replica.dispose();
  });
  await inStep(replica);
  const name = "tenon";
  return { primary, replica, sentinelPort: await startSentinel(t, name, primary.port), name };
}

/** Its link to its primary stands. */
export async function inStep(replica: RedisServer): Promise<void> {
  await until(async () =>
    String(await redisCommand(replica.url, "INFO", "replication")).includes("master_link_status:up"),
  );
}

/** Watches the primary, alone, and makes its replica the primary when it is gone. Answers its port. */
async function startSentinel(t: TestContext, name: string, primaryPort: number): Promise<number> {
  const port = await freePort();
  const directory = await mkdtemp(join(tmpdir(), "tenon-sentinel-"));
  const configuration = join(directory, "sentinel.conf");
  await writeFile(
    configuration,
    [
      `port ${port}`,
      `dir ${directory}`,
      `sentinel monitor ${name} 127.0.0.1 ${primaryPort} 1`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`,
      "",
    ].join("\n"),
  );
  const sentinel = spawn("redis-server", [configuration, "--sentinel"], { stdio: "ignore" });
  t.after(async () => {
    sentinel.kill("SIGKILL");
    if (sentinel.exitCode === null && sentinel.signalCode === null) await once(sentinel, "exit");
    await rm(directory, { recursive: true, force: true });
  });
  await until(async () => String(await redisCommand(`redis://127.0.0.1:${port}`, "SENTINEL", "REPLICAS", name)) !== "");
  return port;
}

/** Three primaries without replicas, which know each other and serve all slots. */
export async function startCluster(t: TestContext): Promise<readonly RedisServer[]> {
  const nodes: RedisServer[] = [];
  for (let index = 0; index < 3; index++) {
    const busPort = ["--cluster-port", String(await freePort())];
    const settings = [
      "--cluster-enabled",
      "yes",
      "--cluster-announce-ip",
      "127.0.0.1",
      "--cluster-node-timeout",
      "1500",
    ];
    const node = await startRedis({ settings: [...settings, ...busPort] });
    t.after(() => node.dispose());
    nodes.push(node);
    const first = Math.ceil((16_384 / 3) * index);
    const last = Math.ceil((16_384 / 3) * (index + 1)) - 1;
    await redisCommand(node.url, "CLUSTER", "ADDSLOTSRANGE", String(first), String(last));
    await redisCommand(node.url, "CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
    const meet = ["CLUSTER", "MEET", "127.0.0.1", String(nodes[0]!.port), await busPortOf(nodes[0]!)];
    if (index > 0) await redisCommand(node.url, ...meet);
  }
  await clusterServes(nodes);
  return nodes;
}

async function busPortOf({ url }: RedisServer): Promise<string> {
  return String(((await redisCommand(url, "CONFIG", "GET", "cluster-port")) as readonly string[])[1]);
}

/** Every node says that all slots are served. */
export async function clusterServes(nodes: readonly RedisServer[]): Promise<void> {
  for (const { url } of nodes) {
    await until(async () => {
      const info = String(await redisCommand(url, "CLUSTER", "INFO"));
      return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${nodes.length}`);
    });
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition().catch(() => false)); tries++) {
    assert.ok(tries < 1_500, `it did not come true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
