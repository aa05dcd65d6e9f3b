import { type ChildProcess, execFile, spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { endWithThisProcess } from "./children.ts";

const START_MS_MAX = 10_000;
const STOP_MS_MAX = 5_000;

/** A server that this process started on loopback. */
export interface Server {
  readonly port: number;
  readonly version: string;
  stop(): Promise<void>;
}

/** Why there is no such server here: the program is not on PATH, or too old. */
export class ServerMissing extends Error {
  override readonly name = "ServerMissing";
}

/** `"always"`: every write is in the append-only file and synced before it is answered; `"none"`: nothing is stored. */
export async function startRedis(directory: string, persistence: "always" | "none"): Promise<Server> {
  const version = await versionOf("redis-server", /v=([\d.]+)/);
  const stored = ["--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
  return start("redis-server", version, directory, (port) => [
    ...["--bind", "127.0.0.1", "--port", String(port), "--dir", directory, "--save", ""],
    ...["--loglevel", "warning"],
    ...(persistence === "always" ? stored : ["--appendonly", "no"]),
  ]);
}

/** `"default"`: synced every two minutes, as nats-server comes; `"always"`: before every answer, from version 2.10 on. */
export async function startNats(directory: string, sync: "default" | "always"): Promise<Server> {
  const version = await versionOf("nats-server", /v?([\d.]+)/);
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (sync === "always" && (major < 2 || (major === 2 && minor < 10))) {
    throw new ServerMissing(`nats-server ${version} has no sync_interval: always; 2.10 or later has`);
  }
  await mkdir(directory, { recursive: true });
  const configuration = join(directory, "nats.conf");
  const interval = sync === "always" ? "sync_interval: always" : "";
  await writeFile(configuration, `jetstream { store_dir: ${JSON.stringify(join(directory, "store"))}\n${interval} }\n`);
  return start("nats-server", version, directory, (port) => [
    "-c",
    configuration,
    "-a",
    "127.0.0.1",
    "-p",
    String(port),
  ]);
}

async function versionOf(program: string, pattern: RegExp): Promise<string> {
  try {
    const { stdout, stderr } = await promisify(execFile)(program, ["--version"]);
    return pattern.exec(stdout + stderr)?.[1] ?? "unknown";
  } catch (error) {
    throw new ServerMissing(`${program} is not on PATH (Debian: apt-get install ${program})`, { cause: error });
  }
}

async function start(
  program: string,
  version: string,
  directory: string,
  argumentsFor: (port: number) => string[],
): Promise<Server> {
  await mkdir(directory, { recursive: true });
  const port = await freePort();
  const child = endWithThisProcess(spawn(program, argumentsFor(port), { stdio: "ignore" }));
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const stop = async () => {
    child.kill("SIGTERM");
    await Promise.race([ended, sleep(STOP_MS_MAX, undefined, { ref: false })]);
    child.kill("SIGKILL");
    await ended;
  };
  try {
    await untilListening(program, port, child);
  } catch (error) {
    await stop();
    throw error;
  }
  return { port, version, stop };
}

async function untilListening(program: string, port: number, child: ChildProcess): Promise<void> {
  const until = performance.now() + START_MS_MAX;
  while (!(await canConnect(port))) {
    if (child.exitCode !== null) throw new Error(`${program} ended with exit code ${child.exitCode} at its start`);
    if (performance.now() > until)
      throw new Error(`${program} did not listen on port ${port} within ${START_MS_MAX} ms`);
    await sleep(20);
  }
}

function canConnect(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const answer = (reachable: boolean) => {
      socket.destroy();
      resolve(reachable);
    };
    socket.once("connect", () => answer(true));
    socket.once("error", () => answer(false));
  });
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port")),
      );
    });
  });
}
