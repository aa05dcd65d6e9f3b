/** A shared server as a run sees it: it cannot be ended, so its sessions are, and nobody gets in for a while. */
import { setTimeout as sleep } from "node:timers/promises";
import type { StormServer } from "./storm.ts";
import { startTcpProxy } from "./tcp-proxy.ts";

export interface SharedServer {
  readonly port: number;
  /** Ends the sessions of the run. */
  endSessions(): Promise<void>;
  /** Removes what the run has left. */
  clear(): Promise<void>;
}

export async function openSharedServer({ port, endSessions, clear }: SharedServer): Promise<StormServer> {
  const door = await startTcpProxy({ serverPort: port });
  const stalled = new Set<"request" | "reply">(["request", "reply"]);
  const each = (act: "stall" | "resume") => {
    for (const connection of door.connections) for (const direction of stalled) connection[act](direction);
  };
  return {
    port: door.port,
    async stop() {
      await door.refuse();
      await endSessions();
      door.cutAll();
    },
    start: () => door.accept(),
    pause: () => each("stall"),
    resume: () => each("resume"),
    async dispose() {
      await door[Symbol.asyncDispose]();
      // What was cut off in the midst of something is over before its tables go.
      await endSessions();
      await sleep(100);
      await clear();
    },
  };
}

/** The same address by way of a port on loopback. */
export function throughPort(url: string, port: number): URL {
  const through = new URL(url);
  through.hostname = "127.0.0.1";
  through.port = String(port);
  return through;
}
