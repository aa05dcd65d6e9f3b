/** A MariaDB server of a test's own, on a free port and with a folder of its own, to be killed and started again. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { logInToMySql } from "../scripts/engines/mysql-protocol.ts";
import { extendPath, isInstalled } from "../scripts/engines/packages.ts";
import type { StormServer } from "./faults/storm.ts";

extendPath();

/** For the options of `test`: false, or why no server can be started here. */
export const mariadbMissing: string | false = isInstalled({ package: "mariadb-server", program: "mariadbd" })
  ? false
  : "mariadb-server is not installed";

const readyMs = 60_000;

const accounts = `CREATE DATABASE IF NOT EXISTS tenon;
CREATE USER IF NOT EXISTS 'tenon'@'%' IDENTIFIED BY 'tenon';
GRANT ALL PRIVILEGES ON tenon.* TO 'tenon'@'%';
`;

export async function startMariadb(): Promise<MariadbServer> {
  const directory = await mkdtemp(join(tmpdir(), "tenon-mariadb-"));
  const server = new MariadbServer(await freePort(), directory);
  try {
    await server.initialise();
    await server.start();
    return server;
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

export class MariadbServer implements StormServer {
  readonly port: number;
  readonly url: string;
  readonly #directory: string;
  #process: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(port: number, directory: string) {
    this.port = port;
    this.url = `mysql://tenon:tenon@127.0.0.1:${port}/tenon`;
    this.#directory = directory;
  }

  async initialise(): Promise<void> {
    writeFileSync(join(this.#directory, "accounts.sql"), accounts);
    const parameters = ["--auth-root-authentication-method=normal", "--skip-test-db", "--innodb-log-file-size=8M"];
    await promisify(execFile)("mariadb-install-db", [...this.#common(), ...parameters], { timeout: readyMs });
  }

  #common(): readonly string[] {
    return ["--no-defaults", `--datadir=${join(this.#directory, "data")}`, `--user=${userInfo().username}`];
  }

  async start(): Promise<void> {
    if (this.#process !== undefined) return;
    const parameters = [
      ...this.#common(),
      ...[`--port=${this.port}`, "--bind-address=127.0.0.1", "--skip-name-resolve", "--innodb-log-file-size=8M"],
      ...["--innodb-flush-log-at-trx-commit=1", "--character-set-server=utf8mb4"],
      ...["--log-bin=log", "--sync-binlog=1", "--binlog-format=ROW"],
      ...[`--socket=${join(this.#directory, "socket")}`, `--log-error=${join(this.#directory, "log")}`],
      `--init-file=${join(this.#directory, "accounts.sql")}`,
    ];
    const child = spawn("mariadbd", parameters, { stdio: "ignore" });
    this.#process = child;
    // Who ends early leaves no server behind.
    process.once("exit", this.#killNow);
    this.#ended = once(child, "exit").finally(() => {
      process.removeListener("exit", this.#killNow);
      if (this.#process === child) this.#process = undefined;
    });
    this.#ended.catch(() => undefined);
    await this.#untilReady(child);
  }

  async #untilReady(child: ChildProcess): Promise<void> {
    const end = performance.now() + readyMs;
    for (;;) {
      try {
        await logInToMySql(this.url);
        return;
      } catch (cause) {
        if (this.#process !== child || performance.now() >= end) {
          const log = await readFile(join(this.#directory, "log"), "utf8").catch(() => "");
          throw new Error(`mariadbd does not serve on port ${this.port}:\n${log.slice(-2_000)}`, { cause });
        }
      }
      await sleep(20);
    }
  }

  /** As a crash. */
  async stop(): Promise<void> {
    this.#process?.kill("SIGKILL");
    await this.#ended.catch(() => undefined);
  }

  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  async dispose(): Promise<void> {
    await this.stop();
    await rm(this.#directory, { recursive: true, force: true });
  }

  readonly #killNow = (): void => {
    this.#process?.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true });
  };
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
