/** A Kafka broker of a test's own, on free ports and with a folder of its own, to be killed, paused and started again. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { askVersions, clusterId, jarsFolder, javaParameters, propertiesOf } from "./kafka.ts";

export interface KafkaServer {
  readonly port: number;
  /** SIGKILL, as a crash. Resolves when it has ended. */
  stop(): Promise<void>;
  /** On the same port, with what its folder holds. Resolves when it answers. */
  start(): Promise<void>;
  /** Stops the process where it is, without closing its connections, until `resume`. */
  pause(): void;
  resume(): void;
  /** Stops it and removes its folder. */
  dispose(): Promise<void>;
}

const jars = fileURLToPath(new URL(`../../.engines/data/kafka/${jarsFolder}`, import.meta.url));

/** For the options of `test`: false, or why no broker can be started here. */
export const kafkaServerMissing: string | false = existsSync(jars)
  ? false
  : "Kafka's jars are not here; `npm run engines -- up kafka` fetches them";

const readyMs = 120_000;

export async function startKafkaServer(): Promise<KafkaServer> {
  const directory = await mkdtemp(join(tmpdir(), "tenon-kafka-"));
  const [port, controllerPort] = [await freePort(), await freePort()];
  const file = join(directory, "server.properties");
  writeFileSync(file, propertiesOf(join(directory, "data"), port, controllerPort));
  const format = ["format", "--cluster-id", clusterId, "--config", file];
  await promisify(execFile)("java", [...javaParameters(jars), "kafka.tools.StorageTool", ...format]);
  const server = new ThrowawayKafka(port, directory, file);
  try {
    await server.start();
    return server;
  } catch (error) {
    await server.dispose();
    throw error;
  }
}

class ThrowawayKafka implements KafkaServer {
  readonly port: number;
  readonly #directory: string;
  readonly #file: string;
  #process: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();

  constructor(port: number, directory: string, file: string) {
    this.port = port;
    this.#directory = directory;
    this.#file = file;
  }

  async start(): Promise<void> {
    if (this.#process !== undefined) return;
    const parameters = ["-Xms128m", "-Xmx512m", ...javaParameters(jars), "kafka.Kafka", this.#file];
    const child = spawn("java", parameters, { stdio: "ignore" });
    this.#process = child;
    // Who ends early leaves no broker behind.
    process.once("exit", this.#killNow);
    this.#ended = once(child, "exit").finally(() => {
      process.removeListener("exit", this.#killNow);
      if (this.#process === child) this.#process = undefined;
    });
    this.#ended.catch(() => {});
    const end = performance.now() + readyMs;
    for (;;) {
      try {
        await askVersions(`kafka://127.0.0.1:${this.port}`);
        return;
      } catch (error) {
        if (this.#process !== child || performance.now() >= end)
          throw new Error(`the broker does not serve on port ${this.port}`, { cause: error });
      }
      await sleep(50);
    }
  }

  async stop(): Promise<void> {
    this.#process?.kill("SIGKILL");
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
    await rm(this.#directory, { recursive: true, force: true });
  }

  readonly #killNow = (): void => {
    this.#process?.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true, force: true });
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
