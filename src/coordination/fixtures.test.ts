import { TenonError } from "../contracts/errors.ts";
import type { CommitResult, KeyValueEngine } from "../contracts/key-value.ts";
import type { Lease, LeaseEngine } from "../contracts/leases.ts";
import { type EmbeddedEngine, embedded, memory } from "../engines/embedded/index.ts";
import { type Simulation, simulatedWorld } from "../simulation/index.ts";
import type { World } from "../world/world.ts";
import type { CountingEngine, LeasingEngine } from "./index.ts";

type Hook<Result> = ((apply: () => Promise<Result>) => Promise<Result>) | undefined;

/** What stands between the block and a real engine: each hook decides whether and when the call goes through. */
export interface Faults {
  acquire?: Hook<Lease | undefined>;
  renew?: Hook<Lease>;
  release?: Hook<void>;
  commit?: Hook<CommitResult>;
}

export interface Bench {
  /** Through the faults. */
  readonly engine: LeasingEngine & CountingEngine;
  /** Another process on the same engine: no fault meets it. */
  readonly other: EmbeddedEngine;
  readonly faults: Faults;
  readonly world: World;
  readonly simulation: Simulation;
  readonly log: string[];
  sleep(ms: number): Promise<void>;
}

/** Runs a test on the in-memory engine in simulated time. */
export async function onMemory(work: (bench: Bench) => Promise<void>, seed = 1): Promise<void> {
  const log: string[] = [];
  const simulation = simulatedWorld({ seed, log: { log: (level, message) => log.push(`${level}: ${message}`) } });
  await simulation.run(async () => {
    const engine = await memory({ world: simulation.world });
    await work(benchOf(engine, simulation, log));
    await engine.close();
  });
}

/** Runs processes one after the other on one simulated disk; each but the last is killed when its work is done. */
export async function onDisk(works: readonly ((bench: Bench) => Promise<void>)[], seed = 1): Promise<void> {
  const log: string[] = [];
  const simulation = simulatedWorld({ seed });
  for (const [index, work] of works.entries()) {
    if (index > 0) {
      simulation.crash("lost");
      simulation.restart();
    }
    await simulation.run(async () => {
      const engine = await embedded({ directory: "/data", world: simulation.world });
      await work(benchOf(engine, simulation, log));
      if (index === works.length - 1) await engine.close();
    });
  }
}

function benchOf(other: EmbeddedEngine, simulation: Simulation, log: string[]): Bench {
  const faults: Faults = {};
  const { world } = simulation;
  const leases = faultyLeases(other.leases, faults);
  const keyValue = faultyKeyValue(other.keyValue, faults);
  return {
    engine: { leases, keyValue, world },
    other,
    faults,
    world,
    simulation,
    log,
    sleep: (ms) => world.timers.sleep(ms),
  };
}

function through<Result>(hook: Hook<Result>, apply: () => Promise<Result>): Promise<Result> {
  return hook === undefined ? apply() : hook(apply);
}

function faultyLeases(sound: LeaseEngine, faults: Faults): LeaseEngine {
  return {
    capabilities: sound.capabilities,
    acquire: (...call) => through(faults.acquire, () => sound.acquire(...call)),
    renew: (...call) => through(faults.renew, () => sound.renew(...call)),
    release: (...call) => through(faults.release, () => sound.release(...call)),
    describe: (name) => sound.describe(name),
    watch: (...call) => sound.watch(...call),
  };
}

function faultyKeyValue(sound: KeyValueEngine, faults: Faults): KeyValueEngine {
  return {
    capabilities: sound.capabilities,
    get: (keys) => sound.get(keys),
    commit: (changes) => through(faults.commit, () => sound.commit(changes)),
    scan: (...call) => sound.scan(...call),
    watch: (...call) => sound.watch(...call),
  };
}

export function away(): TenonError {
  return new TenonError("unavailable", "the engine is away");
}

/** It happens, and nobody hears of it; so often, then all is well. */
export function losesReplies<Result>(times = Number.POSITIVE_INFINITY): NonNullable<Hook<Result>> {
  let left = times;
  return async (apply) => {
    const result = await apply();
    if (left-- <= 0) return result;
    throw new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
  };
}

/** It does not happen; so often, then all is well. */
export function losesRequests<Result>(times = Number.POSITIVE_INFINITY): NonNullable<Hook<Result>> {
  let left = times;
  return async (apply) => {
    if (left-- > 0) throw away();
    return apply();
  };
}

/** It never answers. */
export function hangs<Result>(): NonNullable<Hook<Result>> {
  return () => new Promise(() => {});
}

/** A process that can be stopped for a while: its timers do not fire, and it hears no replies. */
export class Pausable {
  readonly world: World;
  readonly leases: LeaseEngine;
  #paused: PromiseWithResolvers<void> | undefined;

  constructor(leases: LeaseEngine, world: World) {
    this.world = {
      ...world,
      timers: {
        sleep: (ms, options) => this.#awake(world.timers.sleep(ms, options)),
        schedule: (ms, fn) => {
          let withdrawn = false;
          const cancel = world.timers.schedule(ms, async () => {
            await this.#paused?.promise;
            if (!withdrawn) fn();
          });
          return () => {
            withdrawn = true;
            cancel();
          };
        },
      },
    };
    this.leases = {
      capabilities: leases.capabilities,
      acquire: (...call) => this.#awake(leases.acquire(...call)),
      renew: (...call) => this.#awake(leases.renew(...call)),
      release: (...call) => this.#awake(leases.release(...call)),
      describe: (name) => this.#awake(leases.describe(name)),
      watch: (...call) => leases.watch(...call),
    };
  }

  pause(): void {
    this.#paused = Promise.withResolvers();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
  }

  async #awake<Result>(promise: Promise<Result>): Promise<Result> {
    try {
      return await promise;
    } finally {
      await this.#paused?.promise;
    }
  }
}
