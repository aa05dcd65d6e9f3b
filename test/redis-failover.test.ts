import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, type TestContext, test } from "node:test";
import { Redis } from "ioredis";
import { type KeyValueChange, type KeyValueEngine, TenonError } from "tenon/contracts";
import { redis } from "tenon/redis";
import { redisCommand } from "../scripts/engines/redis-protocol.ts";
import { redisServerMissing, startRedis } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

const put = (key: string, value: string): KeyValueChange => ({ type: "put", key, value: Buffer.from(value) });

/** Watches the primary, alone, and makes its replica the primary when it is gone. Answers its port. */
async function startSentinel(t: TestContext, primaryPort: number): Promise<number> {
  const port = await freePort();
  const directory = await mkdtemp(join(tmpdir(), "tenon-sentinel-"));
  const configuration = join(directory, "sentinel.conf");
  await writeFile(
    configuration,
    [
      `port ${port}`,
      `dir ${directory}`,
      `sentinel monitor tenon 127.0.0.1 ${primaryPort} 1`,
      "sentinel down-after-milliseconds tenon 500",
      "sentinel failover-timeout tenon 3000",
      "",
    ].join("\n"),
  );
  const sentinel = spawn("redis-server", [configuration, "--sentinel"], { stdio: "ignore" });
  t.after(async () => {
    sentinel.kill("SIGKILL");
    if (sentinel.exitCode === null && sentinel.signalCode === null) await once(sentinel, "exit");
    await rm(directory, { recursive: true, force: true });
  });
  await until(
    async () => String(await redisCommand(`redis://127.0.0.1:${port}`, "SENTINEL", "REPLICAS", "tenon")) !== "",
  );
  return port;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  assert.ok(typeof address === "object" && address !== null);
  return address.port;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; !(await condition().catch(() => false)); tries++) {
    assert.ok(tries < 1_500, `it did not come true: ${condition}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** During the failover commits fail; what is put here may be put twice. */
async function committed(keyValue: KeyValueEngine, change: KeyValueChange): Promise<bigint> {
  for (;;) {
    try {
      const result = await keyValue.commit([change]);
      assert.ok(result.committed);
      return result.version;
    } catch (error) {
      assert.ok(error instanceof TenonError && error.code === "unavailable", String(error));
    }
  }
}

test("an engine goes on with the new primary after a failover, and so does a watch", {
  skip: redisServerMissing,
}, async (t) => {
  const primary = await startRedis();
  t.after(() => primary.dispose());
  const replica = await startRedis({ settings: ["--replicaof", `127.0.0.1 ${primary.port}`] });
  t.after(() => replica.dispose());
  await until(async () =>
    String(await redisCommand(replica.url, "INFO", "replication")).includes("master_link_status:up"),
  );
  const port = await startSentinel(t, primary.port);
  const connect = () =>
    new Redis({ sentinels: [{ host: "127.0.0.1", port }], name: "tenon", autoResendUnfulfilledCommands: false });
  await using engine = await redis({ connect, commandTimeoutMs: 1_000 });

  const state = new Map<string, string>();
  let wake: (() => void) | undefined;
  const following = (async () => {
    for await (const event of engine.keyValue.watch("", { signal: engine.ended })) {
      if (event.type === "put") state.set(event.entry.key, Buffer.from(event.entry.value).toString());
      if (event.type === "delete") state.delete(event.key);
      wake?.();
    }
  })();
  const shows = async (key: string, value: string) => {
    while (state.get(key) !== value) await new Promise<void>((resolve) => (wake = resolve));
  };

  let version = await committed(engine.keyValue, put("k", "before"));
  await shows("k", "before");
  await primary.stop();
  const next = await committed(engine.keyValue, put("k", "after"));
  assert.ok(next > version, "versions go on");
  version = next;
  await shows("k", "after");
  assert.match(String(await redisCommand(replica.url, "ROLE")), /^master/);
  assert.ok((await committed(engine.keyValue, put("k2", "1"))) > version);
  await engine.close();
  await following;
});
