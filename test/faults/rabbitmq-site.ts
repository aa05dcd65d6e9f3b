/**
 * The shared RabbitMQ server as a run sees it: it cannot be ended, so nobody gets in for a while. It carries messages only; the rest of a run is on
 * a memory that all of its engines share.
 */
import { connect } from "amqplib";
import { type EmbeddedEngine, memory } from "tenon/embedded";
import { rabbitmq } from "tenon/rabbitmq";
import { removeAll, testPrefix } from "../rabbitmq-host.ts";
import type { EngineSettings, RunEngine, RunSite } from "./run.ts";
import type { StormServer } from "./storm.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

/** For one run: its queues go with its server. `closesRest`: the memory is closed with the engine, of which there is one only then. */
export function rabbitmqSite(url: string, { closesRest = false } = {}): RunSite {
  const prefix = testPrefix();
  const rest = new SharedMemory(closesRest);
  return {
    startServer: () => startServer(url, prefix),
    open: (port, settings) => open(through(url, port), prefix, rest, settings),
  };
}

function through(url: string, port: number): string {
  const road = new URL(url);
  road.hostname = "127.0.0.1";
  road.port = String(port);
  // As short as it goes: what a process holds that was cut off without a word passes on when it is missed.
  road.searchParams.set("heartbeat", "1");
  return road.href;
}

async function open(url: string, prefix: string, rest: SharedMemory, settings: EngineSettings): Promise<RunEngine> {
  const engine = await rabbitmq({ ...settings, connect: () => connect(url), prefix, queues: "make" });
  const { keyValue, leases } = await rest.engine;
  let closing: Promise<void> | undefined;
  return {
    messages: engine.messages,
    world: engine.world,
    keyValue,
    leases,
    close() {
      closing ??= Promise.all([engine.close(), rest.close()]).then(() => undefined);
      return closing;
    },
  };
}

class SharedMemory {
  readonly engine: Promise<EmbeddedEngine> = memory();
  readonly #closes: boolean;

  constructor(closes: boolean) {
    this.#closes = closes;
  }

  async close(): Promise<void> {
    if (this.#closes) await (await this.engine).close();
  }
}

async function startServer(url: string, prefix: string): Promise<StormServer> {
  const door = await startTcpProxy({ serverPort: Number(new URL(url).port || 5672) });
  const each = (act: "stall" | "resume") => {
    for (const connection of door.connections) {
      connection[act]("request");
      connection[act]("reply");
    }
  };
  return {
    port: door.port,
    async stop() {
      await door.refuse();
      door.cutAll();
    },
    start: () => door.accept(),
    pause: () => each("stall"),
    resume: () => each("resume"),
    async dispose() {
      await door[Symbol.asyncDispose]();
      await removeAll(url, prefix).catch((error: unknown) => {
        // Nobody came as far as making them.
        if (!String(error).includes("are not there")) throw error;
      });
    },
  };
}
