/** A RabbitMQ server of a test's own, on free ports and with a folder of its own, to be killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chownSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { logIn } from "./amqp.ts";
import { isInstalled } from "./packages.ts";
import { asUser } from "./site.ts";
import { systemUser } from "./system-users.ts";

export interface RabbitmqServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** SIGKILL, as a crash. Resolves when it has ended. */
  stop(): Promise<void>;
  /** Stops the process where it is, without closing its connections, until `resume`. */
  pause(): void;
  resume(): void;
  /** On the same port, with what its folder holds. Resolves when it takes logins. */
  start(): Promise<void>;
  /** Stops it and removes its folder. */
  dispose(): Promise<void>;
}

const program = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/** For the options of `test`: false, or why no server can be started here. */
export const rabbitmqServerMissing: string | false = isInstalled({ package: "rabbitmq-server", program })
  ? false
  : "rabbitmq-server is not installed";

const user = "rabbitmq";
const readyMs = 120_000;

/** `settings`: more lines of its configuration, such as `consumer_timeout = 5000`. */
export async function startRabbitmqServer(settings: readonly string[] = []): Promise<RabbitmqServer> {
  const directory = await mkdtemp(join(tmpdir(), "tenon-rabbitmq-"));
  const [amqp, names, distribution] = await freePorts(3);
  const server = new ThrowawayRabbitmq({ amqp: amqp!, names: names!, distribution: distribution! }, directory);
  server.configure(settings);
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

class ThrowawayRabbitmq implements RabbitmqServer {
  readonly port: number;
  readonly url: string;
  readonly #directory: string;
  readonly #ports: { readonly amqp: number; readonly names: number; readonly distribution: number };
  readonly #processes = new Map<string, ChildProcess>();

  constructor(ports: { readonly amqp: number; readonly names: number; readonly distribution: number }, folder: string) {
    this.#ports = ports;
    this.#directory = folder;
    this.port = ports.amqp;
    this.url = `amqp://tenon:tenon@127.0.0.1:${ports.amqp}`;
  }

  configure(settings: readonly string[]): void {
    const configuration = [
      `listeners.tcp.1 = 127.0.0.1:${this.port}`,
      ...["default_user = tenon", "default_pass = tenon", "loopback_users = none", "disk_free_limit.absolute = 50MB"],
      ...["log.console = true", "log.console.level = warning", "log.file = false"],
      ...settings,
    ];
    writeFileSync(this.#path("rabbitmq.conf"), `${configuration.join("\n")}\n`);
    writeFileSync(this.#path("enabled_plugins"), "[].\n");
    writeFileSync(this.#path("environment.conf"), "");
    for (const folder of ["data", "logs"]) mkdirSync(this.#path(folder));
    const owner = systemUser(user);
    if (owner === undefined) return;
    const all = [this.#directory, ...readdirSync(this.#directory).map((name) => this.#path(name))];
    for (const path of all) chownSync(path, owner.uid, owner.gid);
  }

  async start(): Promise<void> {
    const { names, distribution } = this.#ports;
    // Erlang's nodes find each other through this. One of our own, or RabbitMQ would leave one behind.
    if (!this.#processes.has("names")) {
      this.#spawn("names", ["epmd", "-port", String(names), "-address", "127.0.0.1"]);
      await sleep(200);
    }
    this.#spawn("rabbitmq", [program], {
      HOME: this.#directory,
      ERL_EPMD_PORT: String(names),
      ERL_EPMD_ADDRESS: "127.0.0.1",
      RABBITMQ_NODENAME: "tenon@localhost",
      RABBITMQ_CONFIG_FILE: this.#path("rabbitmq.conf"),
      RABBITMQ_CONF_ENV_FILE: this.#path("environment.conf"),
      RABBITMQ_ENABLED_PLUGINS_FILE: this.#path("enabled_plugins"),
      RABBITMQ_MNESIA_BASE: this.#path("data"),
      RABBITMQ_LOG_BASE: this.#path("logs"),
      RABBITMQ_DIST_PORT: String(distribution),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
    });
    const end = performance.now() + readyMs;
    for (;;) {
      try {
        await logIn(this.url);
        return;
      } catch (cause) {
        if (!this.#processes.has("rabbitmq") || performance.now() >= end) {
          throw new Error(`RabbitMQ does not serve on port ${this.port}:\n${await this.#log()}`, { cause });
        }
      }
      await sleep(100);
    }
  }

  async stop(): Promise<void> {
    await this.#end("rabbitmq");
  }

  pause(): void {
    this.#signal("rabbitmq", "SIGSTOP");
  }

  resume(): void {
    this.#signal("rabbitmq", "SIGCONT");
  }

  async dispose(): Promise<void> {
    await this.stop();
    await this.#end("names");
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5 });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #path(name: string): string {
    return join(this.#directory, name);
  }

  /** In a process group of its own: the server's program starts others, which end with it. */
  #spawn(name: string, command: readonly string[], environment: Readonly<Record<string, string>> = {}): void {
    const [first, ...rest] = asUser(user, command);
    const child = spawn(first!, rest, {
      cwd: this.#directory,
      detached: true,
      env: { ...process.env, ...environment },
      stdio: "ignore",
    });
    this.#processes.set(name, child);
    // Who ends early leaves no server behind.
    const killNow = () => {
      this.#signal(name, "SIGKILL");
      rmSync(this.#directory, { recursive: true, force: true });
    };
    process.once("exit", killNow);
    child.on("error", () => {});
    child.once("exit", () => {
      process.removeListener("exit", killNow);
      if (this.#processes.get(name) === child) this.#processes.delete(name);
    });
  }

  #signal(name: string, signal: NodeJS.Signals): void {
    const pid = this.#processes.get(name)?.pid;
    if (pid !== undefined) process.kill(-pid, signal);
  }

  async #end(name: string): Promise<void> {
    const child = this.#processes.get(name);
    if (child === undefined) return;
    const ended = once(child, "exit");
    this.#signal(name, "SIGKILL");
    await ended;
  }

  async #log(): Promise<string> {
    for (const name of readdirSync(this.#path("logs"))) {
      const text = await readFile(join(this.#path("logs"), name), "utf8").catch(() => "");
      if (text !== "") return text.trimEnd().split("\n").slice(-15).join("\n");
    }
    return "";
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      server.listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
