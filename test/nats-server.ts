/** A NATS server of a test's own, on a free port and with a folder of its own, to be killed and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { askJetStream } from "../scripts/engines/nats.ts";
import { isInstalled } from "../scripts/engines/packages.ts";

/** For the options of `test`: false, or why no server can be started here. */
export const natsServerMissing: string | false = isInstalled({ package: "nats-server", program: "nats-server" })
  ? false
  : "nats-server is not installed";

const readyMs = 20_000;
const authorization = "authorization { user: tenon, password: tenon }";

export class NatsServer {
  readonly url: string;
  readonly port: number;
  readonly #directory = mkdtempSync(join(tmpdir(), "tenon-nats-"));
  readonly #settings: readonly string[];
  #process: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  /** `settings`: more lines of its configuration, and other users where they hold an `authorization`. */
  static async start(settings: readonly string[] = []): Promise<NatsServer> {
    // Another process may take the port between its choice and its use; then it is another port's turn.
    for (let attempts = 1; ; attempts++) {
      const server = new NatsServer(await freePort(), settings);
      try {
        await server.start();
        return server;
      } catch (error) {
        await server.dispose();
        if (attempts === 5 || !String(error).includes("address already in use")) throw error;
      }
    }
  }

  private constructor(port: number, settings: readonly string[]) {
    this.port = port;
    this.#settings = settings;
    this.url = `nats://tenon:tenon@127.0.0.1:${port}`;
  }

  /** On the same port, with what its folder holds. Resolves when JetStream answers. */
  async start(): Promise<void> {
    if (this.#process !== undefined) return;
    const configuration = join(this.#directory, "nats.conf");
    const lines = [
      `listen: "127.0.0.1:${this.port}"`,
      `jetstream { store_dir: ${JSON.stringify(join(this.#directory, "data"))} }`,
      ...(this.#settings.some((line) => line.startsWith("authorization")) ? [] : [authorization]),
      `log_file: ${JSON.stringify(join(this.#directory, "nats.log"))}`,
      ...this.#settings,
    ];
    writeFileSync(configuration, `${lines.join("\n")}\n`);
    const child = spawn("nats-server", ["--config", configuration], { stdio: "ignore" });
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
        await askJetStream(this.url);
        return;
      } catch (error) {
        if (this.#process !== child || performance.now() >= end)
          throw new Error(`nats-server does not serve on port ${this.port}:\n${this.#log()}`, { cause: error });
      }
      await sleep(10);
    }
  }

  /** SIGKILL by default, as a crash. Resolves when it has ended. */
  async stop(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    this.#process?.kill(signal);
    await this.#ended.catch(() => {});
  }

  /** Stops the process where it is, without closing its connections, until `resume`. */
  pause(): void {
    this.#process?.kill("SIGSTOP");
  }

  resume(): void {
    this.#process?.kill("SIGCONT");
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  readonly #killNow = (): void => {
    this.#process?.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true });
  };

  #log(): string {
    try {
      return readFileSync(join(this.#directory, "nats.log"), "utf8").trimEnd().split("\n").slice(-15).join("\n");
    } catch {
      return "";
    }
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
