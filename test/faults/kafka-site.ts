/** Kafka as a run sees it. It carries messages; what else a run does, it does in one memory that its processes share. */
import * as client from "@platformatic/kafka";
import { type EmbeddedEngine, memory } from "tenon/embedded";
import { kafka } from "tenon/kafka";
import { startKafkaServer } from "../../scripts/engines/kafka-server.ts";
import { deleteTopics, detouredTo, type Server, testPrefix } from "../kafka-host.ts";
import type { EngineSettings, RunSite } from "./run.ts";
import type { StormServer } from "./storm.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

/** The shared broker: it cannot be ended, so nobody gets in for a while. */
export function kafkaSite(server: Server): RunSite {
  const prefix = testPrefix();
  return siteOf(prefix, () => startDoor(server, prefix));
}

/** A broker of the run's own, which is killed and paused. */
export function ownKafkaSite(): RunSite {
  return siteOf("tenon", startKafkaServer);
}

function siteOf(prefix: string, startServer: () => Promise<StormServer>): RunSite {
  let rest: Promise<EmbeddedEngine> | undefined;
  const open = new Set<object>();
  return {
    startServer,
    async open(port, settings) {
      const engine = await openThrough(port, prefix, settings);
      open.add(engine);
      rest ??= memory();
      const { keyValue, leases } = await rest;
      const { world, messages } = engine;
      const close = async () => {
        await engine.close();
        // It ends with the last one.
        if (open.delete(engine) && open.size === 0) await (await rest)?.close();
      };
      return { world, messages, keyValue, leases, close };
    },
  };
}

function openThrough(port: number, prefix: string, settings: EngineSettings) {
  return kafka({ ...settings, ...detouredTo(port), client, prefix, journal: "make" });
}

async function startDoor(server: Server, prefix: string): Promise<StormServer> {
  const door = await startTcpProxy({ serverPort: server.port });
  const each = (act: "stall" | "resume") => {
    for (const connection of door.connections) for (const way of ["request", "reply"] as const) connection[act](way);
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
      await deleteTopics(server, prefix);
    },
  };
}
