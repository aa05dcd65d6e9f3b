import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { redisCommand } from "../scripts/engines/redis-protocol.ts";
import { redisServerMissing, startRedis } from "./redis-server.ts";

const skip = redisServerMissing;

test("a killed server comes back on its port with what it had acknowledged", { skip }, async () => {
  await using server = await startRedis();
  const { url } = server;
  await redisCommand(url, "SET", "order", "42");
  await server.stop("SIGKILL");
  assert.equal(server.pid, undefined);
  await assert.rejects(redisCommand(url, "PING"), /ECONNREFUSED/);
  await server.start();
  assert.equal(await redisCommand(url, "GET", "order"), "42");
});

test("a server whose port another one has taken does not take that one for itself", { skip }, async () => {
  await using server = await startRedis();
  await server.stop();
  const settings = ["--port", String(server.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  const other = spawn("redis-server", settings, { stdio: "ignore" });
  const ended = once(other, "exit");
  try {
    while (!(await redisCommand(server.url, "PING").catch(() => false))) await setImmediate();
    await assert.rejects(server.start(), /Address already in use/);
    assert.equal(server.pid, undefined);
  } finally {
    other.kill("SIGKILL");
    await ended;
  }
});

test("without an append-only file a killed server comes back empty", { skip }, async () => {
  await using server = await startRedis({ appendfsync: "nothing" });
  await redisCommand(server.url, "SET", "order", "42");
  await server.stop("SIGKILL");
  await server.start();
  assert.equal(await redisCommand(server.url, "GET", "order"), null);
});

test("a paused server is stopped where it is and answers after it was resumed", {
  skip: skip || (process.platform !== "linux" && "there is no /proc"),
}, async () => {
  await using server = await startRedis();
  server.pause();
  while (!readFileSync(`/proc/${server.pid}/stat`, "utf8").includes(") T ")) await setImmediate();
  const reply = redisCommand(server.url, "PING");
  server.resume();
  assert.equal(await reply, "PONG");
});

test("a disposed server is gone with its folder", { skip }, async () => {
  const server = await startRedis({ settings: ["--appenddirname", "kept"] });
  const directory = (await redisCommand(server.url, "CONFIG", "GET", "dir")) as readonly string[];
  assert.ok(existsSync(`${directory[1]}/kept`));
  await server.dispose();
  assert.ok(!existsSync(directory[1]!));
  assert.equal(server.pid, undefined);
  await assert.rejects(redisCommand(server.url, "PING"), /ECONNREFUSED/);
});

test("a setting that Redis refuses is in the error", { skip }, async () => {
  await assert.rejects(startRedis({ settings: ["--appendfsync", "sometimes"] }), /does not serve/);
});
