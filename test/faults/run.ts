/** One run: a server, a proxy, processes at work, a plan, and what was found. */
import { setTimeout as sleep } from "node:timers/promises";
import { Redis } from "ioredis";
import { createClient } from "redis";
import { TenonError } from "tenon/messaging";
import { type RedisClient, redis } from "tenon/redis";
import { startRedis } from "../redis-server.ts";
import type { Step } from "./plan.ts";
import { Storm, type StormServer } from "./storm.ts";
import { type Engine, Workload } from "./workload.ts";

/** The clients that an engine can be given for one server. */
export const clients = {
  ioredis: (url: string): RedisClient => new Redis(url, { autoResendUnfulfilledCommands: false }),
  "node-redis": (url: string): RedisClient => createClient({ url }),
} as const;

export type ClientName = keyof typeof clients;
export const clientNames = Object.keys(clients) as ClientName[];

/** An engine of one run. */
export type RunEngine = Engine & { close(): Promise<void> };

export interface EngineSettings {
  readonly commandTimeoutMs?: number | undefined;
  readonly connectTimeoutMs?: number | undefined;
}

/** What a run is about: a server, and engines that reach it by a port. */
export interface RunSite {
  startServer(): Promise<StormServer>;
  open(port: number, settings: EngineSettings): Promise<RunEngine>;
}

export function redisSite(client: ClientName): RunSite {
  return {
    startServer: () => startRedis(),
    open: (port, settings) => redis({ ...settings, connect: () => clients[client](`redis://127.0.0.1:${port}`) }),
  };
}

export interface RunOptions {
  readonly seed: number;
  readonly site: RunSite;
  readonly plan: readonly Step[];
  /** What stands between the actors and their engines. */
  readonly through?: ((engine: RunEngine) => Engine) | undefined;
  /** How long until it counts as stuck; 90,000 when left out. */
  readonly stuckMs?: number | undefined;
}

export interface RunResult {
  /** None when all is well. */
  readonly faults: readonly string[];
  readonly summary: string;
  /** Of what there must be some: messages, grants and commits that were acknowledged. */
  readonly least: number;
}

const processes = 3;
const settings = { commandTimeoutMs: 1_000, connectTimeoutMs: 20_000 };

export async function runStorm(options: RunOptions): Promise<RunResult> {
  const run = new Run(options, await Storm.start(processes, () => options.site.startServer()));
  try {
    return await run.result();
  } finally {
    await run.end();
  }
}

class Run {
  readonly #options: RunOptions;
  readonly #storm: Storm;
  readonly #workload: Workload;
  readonly #engines: RunEngine[] = [];
  #doing = "beginning";
  #isOver = false;

  constructor(options: RunOptions, storm: Storm) {
    this.#options = options;
    this.#storm = storm;
    this.#workload = new Workload(options.seed);
  }

  async result(): Promise<RunResult> {
    const faults: string[] = [];
    const { promise: stuck, reject } = Promise.withResolvers<never>();
    const { stuckMs = 90_000 } = this.#options;
    const watchdog = setTimeout(() => reject(new Error(`it is stuck in ${this.#doing}`)), stuckMs);
    try {
      await Promise.race([this.#work(), stuck]);
    } catch (error) {
      faults.push(`${this.#doing}: ${error instanceof Error ? error.stack : String(error)}`);
    } finally {
      clearTimeout(watchdog);
    }
    const { messages, locks, counter, summary } = this.#workload;
    const grants = this.#engines.every(({ leases }) => leases === undefined) ? [] : [locks.grants];
    const least = Math.min(messages.count("acknowledged"), ...grants, counter.count("acknowledged"));
    return { faults: [...this.#workload.faults, ...faults], summary, least };
  }

  async #work(): Promise<void> {
    const { site, plan, through = (engine: RunEngine) => engine } = this.#options;
    for (const [index, port] of this.#storm.ports.entries()) {
      const engine = await this.#opened(port);
      this.#engines.push(engine);
      await this.#workload.addProcess(`p${index}`, through(engine));
    }
    // What goes wrong goes wrong with work under way.
    await sleep(100);
    this.#doing = "the storm";
    await this.#storm.perform(plan);
    await sleep(300);
    this.#doing = "ending what was under way";
    await this.#workload.stop();
    this.#doing = "settling";
    const auditor = await site.open(this.#storm.server.port, {});
    this.#engines.push(auditor);
    await this.#workload.settle(auditor);
    this.#doing = "closing";
    await this.#workload.close();
    for (const engine of this.#engines) await engine.close();
  }

  /** Nothing breaks yet, but on a busy machine a server may answer later than an engine in a storm waits; making what it needs may be repeated. */
  async #opened(port: number): Promise<RunEngine> {
    for (;;) {
      try {
        return await this.#options.site.open(port, settings);
      } catch (error) {
        if (this.#isOver || !isPassing(error)) throw error;
        await sleep(50);
      }
    }
  }

  /** However it went, nothing is left behind. */
  async end(): Promise<void> {
    this.#isOver = true;
    this.#workload.end();
    for (const engine of this.#engines) await engine.close();
    await this.#storm[Symbol.asyncDispose]();
  }
}

/** The watchdog ends what does not pass. */
function isPassing(error: unknown): boolean {
  return error instanceof TenonError && (error.code === "unavailable" || error.code === "timeout");
}
