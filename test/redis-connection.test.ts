import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { after, describe, type TestContext, test } from "node:test";
import { Cluster, Redis } from "ioredis";
import { createClient, createCluster } from "redis";
import { type ErrorCode, type Outcome, TenonError } from "tenon";
import type { RedisClient } from "tenon/redis";
import { systemWorld } from "tenon/world";
import { redisCommand } from "../scripts/engines/redis-protocol.ts";
import { RedisConnection } from "../src/engines/redis/redis-connection.ts";
import type { Script } from "../src/engines/redis/script.ts";
import { type RedisServer, type RedisServerOptions, redisServerMissing, startRedis } from "./redis-server.ts";

// The timers of an engine do not keep the process alive while a test waits for one.
const keepAlive = setInterval(() => undefined, 60_000);
after(() => clearInterval(keepAlive));

interface Flavour {
  readonly name: string;
  readonly connect: (server: RedisServer) => RedisClient;
  readonly cluster: boolean;
}

const flavours: readonly Flavour[] = [
  {
    name: "ioredis",
    connect: ({ url }) => new Redis(url, { autoResendUnfulfilledCommands: false }),
    cluster: false,
  },
  { name: "node-redis", connect: ({ url }) => createClient({ url }), cluster: false },
  { name: "node-redis with RESP2", connect: ({ url }) => createClient({ url, RESP: 2 }), cluster: false },
  { name: "ioredis' Cluster", connect: ({ url }) => new Cluster([url], { retryDelayOnFailover: 0 }), cluster: true },
  { name: "node-redis' cluster", connect: ({ url }) => createCluster({ rootNodes: [{ url }] }), cluster: true },
];

const source = "redis.call('RPUSH', KEYS[1], ARGV[1])\nreturn {ARGV[1], 7, false, {KEYS[1]}}\n";
const push = scriptOf("push", source);
const pushLast = scriptOf("push-last", "return redis.call('RPUSH', KEYS[#KEYS], ARGV[1])");

function scriptOf(name: string, source: string): Script {
  return { name, source, sha: createHash("sha1").update(source).digest("hex") };
}

async function start(t: TestContext, { cluster }: Flavour, options: RedisServerOptions = {}): Promise<RedisServer> {
  const settings = cluster ? ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"] : [];
  const server = await startRedis({ ...options, settings: [...settings, ...(options.settings ?? [])] });
  t.after(() => {
    server.resume();
    return server.dispose();
  });
  if (cluster) {
    await redisCommand(server.url, "CLUSTER", "ADDSLOTSRANGE", "0", "16383");
    while (!String(await redisCommand(server.url, "CLUSTER", "INFO")).includes("cluster_state:ok"));
  }
  return server;
}

async function open(t: TestContext, flavour: Flavour, server: RedisServer, commandTimeoutMs = 20_000) {
  const connection = await RedisConnection.open({
    world: systemWorld(),
    connect: () => flavour.connect(server),
    commandTimeoutMs,
    connectTimeoutMs: 20_000,
  });
  t.after(() => connection.close());
  return connection;
}

async function fails(promise: Promise<unknown>, code: ErrorCode, outcomes: readonly Outcome[]): Promise<TenonError> {
  const error = await promise.then(
    () => assert.fail("it was answered"),
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof TenonError, String(error));
  assert.equal(error.code, code, error.message);
  assert.ok(outcomes.includes(error.outcome), `${error.outcome}: ${error.message}`);
  return error;
}

/** Tried again until it is answered, as after an outage. */
async function answered(ask: () => Promise<unknown>): Promise<unknown> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      assert.ok(error instanceof TenonError && error.code === "unavailable", String(error));
    }
  }
}

for (const flavour of flavours) {
  describe(`a connection through ${flavour.name}`, { skip: redisServerMissing, concurrency: 4 }, () => {
    test("carries bytes both ways, and answers in one form", async (t) => {
      const connection = await open(t, flavour, await start(t, flavour));
      assert.equal(connection.isCluster, flavour.cluster);
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
      assert.deepEqual(await connection.command("k", ["SET", "k", bytes]), Buffer.from("OK"));
      assert.deepEqual(await connection.command("k", ["GET", "k"]), Buffer.from(bytes));
      assert.equal(await connection.command("none", ["GET", "none"]), null);
      assert.equal(await connection.command("n", ["INCRBY", "n", 41]), 41);
      assert.deepEqual(await connection.run(push, ["list"], [bytes]), [
        Buffer.from(bytes),
        7,
        null,
        [Buffer.from("list")],
      ]);
    });

    test("hears published messages, and hears of it when it may have missed some", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server, 2_000);
      const heard: (string | undefined)[] = [];
      let wake: (() => void) | undefined;
      const leave = await connection.listen("news", (payload) => {
        heard.push(payload?.toString());
        wake?.();
      });
      const until = async (condition: () => boolean) => {
        while (!condition()) await new Promise<void>((resolve) => (wake = resolve));
      };
      // It resolved before the first session, so it hears when that one stands.
      await until(() => heard.includes(undefined));
      await answered(() => connection.command("k", ["PUBLISH", "news", "one"]));
      await until(() => heard.includes("one"));
      heard.length = 0;
      await server.stop();
      await server.start();
      await until(() => heard.includes(undefined));
      await answered(() => connection.command("k", ["PUBLISH", "news", "two"]));
      await until(() => heard.includes("two"));
      await leave();
      heard.length = 0;
      await answered(() => connection.command("k", ["PUBLISH", "news", "three"]));
      const again = await connection.listen("news", (payload) => {
        heard.push(payload?.toString());
        wake?.();
      });
      await answered(() => connection.command("k", ["PUBLISH", "news", "four"]));
      await until(() => heard.includes("four"));
      assert.ok(!heard.includes("three"), "who has left hears nothing");
      await again();
    });

    test("is made anew after the server was killed and started again, scripts included", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server);
      await connection.run(push, ["list"], ["1"]);
      await server.stop();
      await server.start();
      await answered(() => connection.run(push, ["list"], ["2"]));
      const list = (await connection.command("list", ["LRANGE", "list", 0, -1])) as Buffer[];
      assert.equal(String(list[0]), "1");
      assert.equal(String(list.at(-1)), "2");
    });

    test("what was under way when the server stalled fails as unknown, is sent no second time, and the next is answered", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server, 400);
      await connection.command("n", ["SET", "n", 0]);
      server.pause();
      await fails(connection.command("n", ["INCR", "n"]), "unavailable", ["unknown"]);
      await fails(connection.command("n", ["GET", "n"]), "unavailable", ["unknown", "not-applied"]);
      server.resume();
      await answered(() => connection.command("k", ["PING"]));
      const count = Number(await answered(() => connection.command("n", ["GET", "n"])));
      assert.ok(count === 0 || count === 1, `it was carried out ${count} times`);
    });

    test("what was under way when the server was killed fails as unknown, without waiting for its time to be over", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server, 600_000);
      await connection.command("n", ["SET", "n", 0]);
      server.pause();
      const cut = fails(connection.command("n", ["INCR", "n"]), "unavailable", ["unknown"]);
      await server.stop();
      await cut;
      await server.start();
      assert.equal(await answered(() => connection.command("n", ["SET", "n", 1])).then(String), "OK");
    });

    test("a command waits for the end of an outage, but not for ever", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server, 600);
      await server.stop();
      // What a cluster's client does with a command, only it knows.
      const outcomes: Outcome[] = flavour.cluster ? ["unknown", "not-applied"] : ["not-applied"];
      // The first ones may meet the connection before anybody has noticed.
      await connection.command("k", ["PING"]).catch(() => undefined);
      await fails(connection.command("k", ["SET", "k", "late"]), "unavailable", outcomes);
      await server.start();
      assert.equal(await answered(() => connection.command("k", ["GET", "k"])), null);
    });

    test("closing during an outage, or with a stalled server, does not wait for it", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server);
      const stalled = await open(t, flavour, server);
      await stalled.listen("news", () => undefined);
      server.pause();
      const cut = fails(stalled.command("k", ["GET", "k"]), "closed", ["unknown"]);
      await stalled.close();
      await cut;
      server.resume();
      await server.stop();
      const waiting = connection.command("k", ["GET", "k"]).catch((error: unknown) => error);
      await connection.close();
      assert.ok((await waiting) instanceof TenonError);
      await fails(connection.command("k", ["GET", "k"]), "closed", ["not-applied"]);
      await fails(connection.run(push, ["k"], [""]), "closed", ["not-applied"]);
      await fails(
        connection.listen("news", () => undefined),
        "closed",
        ["not-applied"],
      );
    });

    test("replies that refuse are told apart", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server);
      await connection.command("text", ["SET", "text", "1"]);
      await fails(connection.run(push, ["text"], ["1"]), "conflict", ["unknown"]);
      await fails(connection.command("k", ["NOSUCHCOMMAND", "secret"]), "unsupported", ["not-applied"]);
      await redisCommand(server.url, "CONFIG", "SET", "maxmemory", "1");
      await fails(connection.run(push, ["list"], ["1"]), "overloaded", ["not-applied"]);
      await redisCommand(server.url, "CONFIG", "SET", "maxmemory", "0");
      await redisCommand(server.url, "CONFIG", "SET", "min-replicas-to-write", "1");
      const few = await fails(connection.run(push, ["list"], ["1"]), "unavailable", ["not-applied"]);
      assert.equal(few.fields.reply, "NOREPLICAS");
      if (flavour.cluster) return;
      await redisCommand(server.url, "REPLICAOF", "127.0.0.1", "1");
      await fails(connection.run(push, ["list"], ["1"]), "unavailable", ["not-applied"]);
    });

    test("neither payloads nor credentials are in errors", async (t) => {
      const server = await start(t, flavour);
      const connection = await open(t, flavour, server);
      for (const args of [
        ["NOSUCHCOMMAND", "secret"],
        ["SET", "k", "secret", "secret"],
        ["EVAL", "error(ARGV[1])", "1", "k", "secret\nsecret"],
      ]) {
        const error = await connection.command("k", args).catch((reason: unknown) => reason);
        assert.ok(error instanceof TenonError);
        const cause = error.cause instanceof Error ? { ...error.cause, text: String(error.cause) } : undefined;
        if (args[0] !== "EVAL")
          assert.ok(!`${error.message} ${JSON.stringify(cause)}`.includes("secret"), error.message);
        assert.ok(!JSON.stringify({ ...error, cause }).includes("secret"));
      }
    });

    test("scripts that the server has forgotten are given to it again, in the order of the calls", async (t) => {
      const connection = await open(t, flavour, await start(t, flavour));
      const pushed: Promise<unknown>[] = [];
      for (let number = 0; number < 200; number++) {
        if (number % 20 === 10) void connection.command("list", ["SCRIPT", "FLUSH"]);
        pushed.push(connection.run(push, ["list"], [number]));
        if (number % 50 === 0) await pushed.at(-1);
      }
      await Promise.all(pushed);
      const list = (await connection.command("list", ["LRANGE", "list", 0, -1])) as Buffer[];
      assert.deepEqual(
        list.map(Number),
        Array.from({ length: 200 }, (_, number) => number),
      );
    });

    test("a server that others give the same scripts refuses none of the first calls", async (t) => {
      const connection = await open(t, flavour, await start(t, flavour));
      const first = connection.run(push, ["list"], ["1"]);
      void connection.command("list", ["SCRIPT", "LOAD", push.source]);
      const second = connection.run(push, ["list"], ["2"]);
      await Promise.all([first, second]);
      const list = (await connection.command("list", ["LRANGE", "list", 0, -1])) as Buffer[];
      assert.deepEqual(list.map(String), ["1", "2"]);
    });

    test("a script is not sent again behind a later call for its key that somebody else's loading let through", async (t) => {
      const connection = await open(t, flavour, await start(t, flavour));
      await connection.run(push, ["list"], ["0"]);
      void connection.command("list", ["SCRIPT", "FLUSH"]);
      const first = connection.run(push, ["list"], ["1"]);
      void connection.command("list", ["SCRIPT", "LOAD", push.source]);
      const second = connection.run(push, ["list"], ["2"]);
      await fails(first, "unavailable", ["not-applied"]);
      await second;
      await connection.run(push, ["list"], ["3"]);
      const list = (await connection.command("list", ["LRANGE", "list", 0, -1])) as Buffer[];
      assert.deepEqual(list.map(String), ["0", "2", "3"]);
    });

    test("nor is one of several keys, whichever of them the later call was for", async (t) => {
      const connection = await open(t, flavour, await start(t, flavour));
      const [list, one, other] = ["{k}list", "{k}one", "{k}other"] as const;
      await connection.run(pushLast, [one, list], ["0"]);
      void connection.command(list, ["SCRIPT", "FLUSH"]);
      const first = connection.run(pushLast, [one, list], ["1"]);
      void connection.command(list, ["SCRIPT", "LOAD", pushLast.source]);
      const second = connection.run(pushLast, [other, list], ["2"]);
      await fails(first, "unavailable", ["not-applied"]);
      await second;
      const pushed = (await connection.command(list, ["LRANGE", list, 0, -1])) as Buffer[];
      assert.deepEqual(pushed.map(String), ["0", "2"]);
    });
  });
}

describe("opening a connection", { skip: redisServerMissing }, () => {
  const settings = { world: systemWorld(), commandTimeoutMs: 2_000, connectTimeoutMs: 400 };

  test("fails when nobody answers, and leaves nothing that goes on trying", () => {
    const program = `
      import { Redis } from "ioredis";
      import { createClient } from "redis";
      import { redis } from "tenon/redis";
      const url = "redis://127.0.0.1:1";
      for (const connect of [() => new Redis(url, { autoResendUnfulfilledCommands: false }), () => createClient({ url })]) {
        await redis({ connect, connectTimeoutMs: 300 }).catch((error) => console.log(error.code, error.outcome));
      }
    `;
    assert.equal(outputOf(program), "unavailable not-applied\nunavailable not-applied\n");
  });

  test("an engine that was closed during an outage lets the process end", async (t) => {
    const server = await startRedis();
    t.after(() => server.dispose());
    const program = `
      import { Redis } from "ioredis";
      import { createClient } from "redis";
      import { redis } from "tenon/redis";
      const url = ${JSON.stringify(server.url)};
      const connects = [() => new Redis(url, { autoResendUnfulfilledCommands: false }), () => createClient({ url })];
      const engines = await Promise.all(connects.map((connect) => redis({ connect, commandTimeoutMs: 500 })));
      for (const { keyValue } of engines) await keyValue.watch("")[Symbol.asyncIterator]().next();
      process.kill(${server.pid}, "SIGKILL");
      for (const { keyValue } of engines) await keyValue.get(["k"]).catch(() => {});
      for (const engine of engines) await engine.close();
      console.log("closed");
    `;
    assert.equal(outputOf(program), "closed\n");
  });

  test("an ioredis client that is destroyed while it looks at the server leaves no timer", async (t) => {
    const server = await startRedis();
    t.after(() => server.dispose());
    const program = `
      import { once } from "node:events";
      import { setImmediate } from "node:timers/promises";
      import { Redis } from "ioredis";
      import { ioredisSession } from ${JSON.stringify(new URL("../src/engines/redis/ioredis-client.ts", import.meta.url).href)};
      const client = new Redis(${JSON.stringify(server.url)}, { autoResendUnfulfilledCommands: false });
      const nothing = () => undefined;
      const session = ioredisSession(client, { ready: nothing, trouble: nothing, lost: nothing, message: nothing });
      const { info } = client;
      client.info = (...args) => {
        const asked = info.apply(client, args);
        session.destroy();
        return asked;
      };
      await once(client, "end");
      await setImmediate();
      console.log(process.getActiveResourcesInfo().includes("Timeout"));
    `;
    assert.equal(outputOf(program), "false\n");
  });

  test("is refused with clients that repeat commands or change keys, by the option to set", async () => {
    const connects: readonly (readonly [RegExp, () => RedisClient])[] = [
      [/autoResendUnfulfilledCommands: false/, () => new Redis({ lazyConnect: true })],
      [/prefix/, () => new Redis({ lazyConnect: true, autoResendUnfulfilledCommands: false, keyPrefix: "a" })],
      [
        /stringNumbers/,
        () => new Redis({ lazyConnect: true, autoResendUnfulfilledCommands: false, stringNumbers: true }),
      ],
      [/retryDelayOnFailover: 0/, () => new Cluster([{ port: 1 }], { lazyConnect: true })],
      [
        /scaleReads/,
        () => new Cluster([{ port: 1 }], { lazyConnect: true, retryDelayOnFailover: 0, scaleReads: "slave" }),
      ],
      [/connect must answer/, () => ({}) as RedisClient],
      [/connect must answer/, () => undefined as unknown as RedisClient],
    ];
    for (const [message, connect] of connects) {
      const error = await fails(RedisConnection.open({ ...settings, connect }), "invalid", ["not-applied"]);
      assert.match(error.message, message);
    }
  });

  test("is denied with a wrong password, at once", async (t) => {
    const server = await startRedis();
    t.after(() => server.dispose());
    await redisCommand(server.url, "CONFIG", "SET", "requirepass", "right");
    const url = `redis://:wrong@127.0.0.1:${server.port}`;
    for (const connect of [
      () => new Redis(url, { autoResendUnfulfilledCommands: false }),
      () => createClient({ url }),
    ]) {
      const error = await fails(RedisConnection.open({ ...settings, connectTimeoutMs: 30_000, connect }), "denied", [
        "not-applied",
      ]);
      assert.ok(!error.message.includes("wrong"));
    }
  });
});

/** What a process prints that ends by itself. */
function outputOf(program: string): string {
  const run = spawnSync(process.execPath, ["--conditions=source", "--input-type=module", "--eval", program], {
    encoding: "utf8",
    timeout: 60_000,
  });
  assert.equal(run.status, 0, run.error?.message ?? run.stderr);
  return run.stdout;
}
