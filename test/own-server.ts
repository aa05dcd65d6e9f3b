/** A server of a test's own, on free ports and with a folder of its own, to be killed, paused and started again. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface OwnServerKind {
  readonly name: string;
  readonly portsCount: number;
  /** Called before each start. */
  command(directory: string, ports: readonly number[]): readonly [command: string, ...parameters: string[]];
  /** Rejects for as long as it does not serve. */
  probe(port: number): Promise<unknown>;
}

const readyMs = 30_000;

export async function startOwnServer(kind: OwnServerKind): Promise<OwnServer> {
  const directory = await mkdtemp(join(tmpdir(), `tenon-${kind.name}-`));
  const ports = await freePorts(kind.portsCount);
  const server = new OwnServer(kind, directory, ports);
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

export class OwnServer {
  readonly port: number;
  readonly #kind: OwnServerKind;
  readonly #directory: string;
  readonly #ports: readonly number[];
  #process: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(kind: OwnServerKind, directory: string, ports: readonly number[]) {
    this.#kind = kind;
    this.#directory = directory;
    this.#ports = ports;
    this.port = ports[0]!;
  }

  async start(): Promise<void> {
    if (this.#process !== undefined) return;
    const [command, ...parameters] = this.#kind.command(this.#directory, this.#ports);
    const child = spawn(command, parameters, { stdio: "ignore" });
    this.#process = child;
    // Who ends early leaves no server behind.
    process.once("exit", this.#killNow);
    this.#ended = once(child, "exit").finally(() => {
      process.removeListener("exit", this.#killNow);
      if (this.#process === child) this.#process = undefined;
    });
    this.#ended.catch(() => undefined);
    const end = performance.now() + readyMs;
    for (;;) {
      try {
        await this.#kind.probe(this.port);
        return;
      } catch (error) {
        if (this.#process === child && performance.now() < end) await sleep(20);
        else throw new Error(`${this.#kind.name} does not serve on port ${this.port}`, { cause: error });
      }
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

/** Held together, so that they differ. */
async function freePorts(count: number): Promise<readonly number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, "127.0.0.1");
      await once(server, "listening");
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(
    servers.map(async (server) => {
      server.close();
      await once(server, "close");
    }),
  );
  return ports;
}
