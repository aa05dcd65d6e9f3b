/** A Redis server of a test's or a run's own, on a free port and with a folder of its own, to be killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { isInstalled } from "./packages.ts";
import { redisCommand } from "./redis-protocol.ts";

export interface RedisServerOptions {
  /** `"always"` (the default) syncs before every answer; `"nothing"` keeps no append-only file at all. */
  readonly appendfsync?: "always" | "everysec" | "no" | "nothing";
  /** More of the server's settings, such as `["--maxmemory", "10mb"]`. */
  readonly settings?: readonly string[];
  /** A folder that is there and stays; a temporary one that is removed with the server when left out. */
  readonly directory?: string;
}

export interface RedisServer {
  readonly url: string;
  readonly port: number;
  /** While it runs. */
  readonly pid: number | undefined;
  /** SIGKILL by default, as a crash; SIGTERM lets it end in good order. Resolves when it has ended. */
  stop(signal?: NodeJS.Signals): Promise<void>;
  /** Stops the process where it is, without closing its connections, until `resume`. */
  pause(): void;
  resume(): void;
  /** On the same port, with what its folder holds. Resolves when it has loaded that and answers. */
  start(): Promise<void>;
  /** Stops it and removes its folder, unless that was given. */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** For the options of `test`: false, or why no server can be started here. */
export const redisServerMissing: string | false = isInstalled({ package: "redis-server", program: "redis-server" })
  ? false
  : "redis-server is not installed";

const readyMs = 20_000;

export async function startRedis(options: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = options.directory ?? (await mkdtemp(join(tmpdir(), "tenon-redis-")));
  // Another process may take the port between its choice and its use; then it is another port's turn.
  for (let attempts = 1; ; attempts++) {
    const server = new ThrowawayRedis(await freePort(), directory, options);
    try {
      await server.start();
      return server;
    } catch (error) {
      await server.stop();
      if (attempts < 5 && String(error).includes("Address already in use")) continue;
      await server.dispose();
      throw error;
    }
  }
}

class ThrowawayRedis implements RedisServer {
  readonly port: number;
  readonly url: string;
  readonly #directory: string;
  readonly #options: RedisServerOptions;
  #process: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(port: number, directory: string, options: RedisServerOptions) {
    this.port = port;
    this.url = `redis://127.0.0.1:${port}`;
    this.#directory = directory;
    this.#options = options;
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  async start(): Promise<void> {
    if (this.#process !== undefined) return;
    const child = spawn("redis-server", this.#settings(), { stdio: "ignore" });
    this.#process = child;
    // Who ends early leaves no server behind.
    process.once("exit", this.#killNow);
    this.#ended = once(child, "exit").finally(() => {
      process.removeListener("exit", this.#killNow);
      if (this.#process === child) this.#process = undefined;
    });
    this.#ended.catch(() => {});
    const end = performance.now() + readyMs;
    for (;;) {
      try {
        // While it loads its data it answers with an error.
        await redisCommand(this.url, "PING");
        if (await this.#isServedBy(child)) return;
        // Another server has taken the port: this one ends, and says why.
        await this.#ended;
        throw new Error("another server answers there");
      } catch (error) {
        if (this.#process !== child || performance.now() >= end)
          throw new Error(`redis-server does not serve on port ${this.port}:\n${await this.#log()}`, { cause: error });
      }
      await sleep(10);
    }
  }

  async #isServedBy({ pid }: ChildProcess): Promise<boolean> {
    const information = String(await redisCommand(this.url, "INFO", "server"));
    return information.includes(`process_id:${pid}\r`);
  }

  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#process?.kill(signal);
    await this.#ended.catch(() => {});
  }

  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  async dispose(): Promise<void> {
    await this.stop();
    if (this.#options.directory === undefined) await rm(this.#directory, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  readonly #killNow = (): void => {
    this.#process?.kill("SIGKILL");
    if (this.#options.directory === undefined) rmSync(this.#directory, { recursive: true, force: true });
  };

  #settings(): string[] {
    const { appendfsync = "always", settings = [] } = this.#options;
    const durability =
      appendfsync === "nothing" ? ["--appendonly", "no"] : ["--appendonly", "yes", "--appendfsync", appendfsync];
    return [
      ...["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.#directory, "--daemonize", "no"],
      ...["--logfile", join(this.#directory, "redis.log"), "--maxmemory-policy", "noeviction"],
      ...durability,
      ...["--save", ""],
      ...settings,
    ];
  }

  async #log(): Promise<string> {
    const text = await readFile(join(this.#directory, "redis.log"), "utf8").catch(() => "");
    return text.trimEnd().split("\n").slice(-15).join("\n");
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
