/** Performs a plan on a server and on the proxies before it. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Fault, Step } from "./plan.ts";
import { type ProxiedConnection, startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

/** What a storm rages on. */
export interface StormServer {
  readonly port: number;
  /** Ends as by `kill -9`, and comes back on the same port. */
  stop(): Promise<unknown>;
  start(): Promise<unknown>;
  /** Stands still, and goes on. */
  pause(): unknown;
  resume(): unknown;
  dispose(): Promise<unknown>;
}

/** One process' way to the server. */
interface Road {
  readonly proxy: TcpProxy;
  /** How connections break that are being made now. */
  breakNew: ((connection: ProxiedConnection) => void) | undefined;
}

export class Storm {
  readonly server: StormServer;
  readonly #roads: readonly Road[];
  readonly #lasting = new Set<Promise<void>>();

  static async start(processes: number, startServer: () => Promise<StormServer>): Promise<Storm> {
    const server = await startServer();
    try {
      const roads = await Promise.all(Array.from({ length: processes }, () => startRoad(server.port)));
      return new Storm(server, roads);
    } catch (error) {
      await server.dispose();
      throw error;
    }
  }

  private constructor(server: StormServer, roads: readonly Road[]) {
    this.server = server;
    this.#roads = roads;
  }

  /** What the clients of each process connect to. */
  get ports(): readonly number[] {
    return this.#roads.map(({ proxy }) => proxy.port);
  }

  get #connections(): readonly ProxiedConnection[] {
    return this.#roads.flatMap(({ proxy }) => proxy.connections);
  }

  /** Ends when the last fault has ended that ends by itself; what was dropped or left half open stays so. */
  async perform(plan: readonly Step[]): Promise<void> {
    for (const { afterMs, fault } of plan) {
      await sleep(afterMs);
      await this.#inflict(fault);
    }
    await Promise.all(this.#lasting);
  }

  async #inflict(fault: Fault): Promise<void> {
    const { server } = this;
    switch (fault.type) {
      case "cutAll":
        for (const { proxy } of this.#roads) proxy.cutAll();
        break;
      case "loseReplies":
        for (const connection of this.#connections) connection.loseReply();
        break;
      case "refuse":
        await this.#refuse(fault.ms);
        break;
      case "isolate":
        this.#isolate(this.#roads[fault.pick % this.#roads.length]!, fault.ms);
        break;
      case "kill":
        await server.stop();
        await sleep(fault.ms);
        await server.start();
        break;
      case "pause":
        await server.pause();
        await sleep(fault.ms);
        await server.resume();
        break;
      case "resetNew":
        await this.#resetNew((connection) => connection.resetAfter(fault.direction, fault.bytes), fault.ms);
        break;
      default: {
        const connections = this.#connections;
        const connection = connections[fault.pick % connections.length];
        if (connection !== undefined) this.#breakOne(connection, fault);
      }
    }
  }

  async #refuse(ms: number): Promise<void> {
    for (const { proxy } of this.#roads) {
      await proxy.refuse();
      // What is open would go on, and nobody would notice.
      proxy.cutAll();
    }
    await sleep(ms);
    for (const { proxy } of this.#roads) await proxy.accept();
  }

  async #resetNew(breakNew: (connection: ProxiedConnection) => void, ms: number): Promise<void> {
    for (const road of this.#roads) {
      road.breakNew = breakNew;
      road.proxy.cutAll();
    }
    await sleep(ms);
    for (const road of this.#roads) road.breakNew = undefined;
  }

  /** What one process sends, also over new connections, comes late, all of it at once. */
  #isolate(road: Road, ms: number): void {
    const stalled: ProxiedConnection[] = [];
    const stall = (connection: ProxiedConnection) => {
      stalled.push(connection);
      connection.stall("request");
      connection.stall("reply");
    };
    for (const connection of road.proxy.connections) stall(connection);
    road.breakNew = stall;
    this.#later(ms, () => {
      if (road.breakNew === stall) road.breakNew = undefined;
      for (const connection of stalled) {
        connection.resume("request");
        connection.resume("reply");
      }
    });
  }

  #breakOne(connection: ProxiedConnection, fault: Fault & { readonly pick: number }): void {
    switch (fault.type) {
      case "cut":
        connection.cut();
        break;
      case "stall":
        connection.stall(fault.direction);
        this.#later(fault.ms, () => connection.resume(fault.direction));
        break;
      case "slow":
        connection.slow(fault.direction, fault.bytesPerSecond);
        this.#later(fault.ms, () => connection.slow(fault.direction, undefined));
        break;
      case "resetAfter":
        connection.resetAfter(fault.direction, fault.bytes);
        break;
      case "loseReply":
        connection.loseReply();
        break;
      case "drop":
        connection.drop(fault.direction);
        break;
      case "halfOpen":
        connection.halfOpen(fault.left);
        break;
    }
  }

  /** The next fault does not wait for the end of this one. */
  #later(ms: number, end: () => void): void {
    const lasting = sleep(ms).then(end);
    this.#lasting.add(lasting);
    void lasting.then(() => this.#lasting.delete(lasting));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.server.resume();
    for (const { proxy } of this.#roads) await proxy[Symbol.asyncDispose]();
    await this.server.dispose();
  }
}

async function startRoad(serverPort: number): Promise<Road> {
  const connected = (connection: ProxiedConnection) => road.breakNew?.(connection);
  const road: Road = { proxy: await startTcpProxy({ serverPort, connected }), breakNew: undefined };
  return road;
}
