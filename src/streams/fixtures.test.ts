import { TenonError } from "../contracts/errors.ts";
import type { LeaseEngine } from "../contracts/leases.ts";
import type { LogBatch, LogCommit, LogEngine, LogWriter } from "../contracts/log.ts";
import { memory } from "../engines/embedded/index.ts";
import { type Simulation, simulatedWorld } from "../simulation/index.ts";
import type { World } from "../world/world.ts";
import type { Log } from "./log.ts";

type Positions = readonly (readonly (bigint | undefined)[])[];

/** What stands between the block and a real engine in a test: each hook decides whether the call goes through, and what is heard of it. */
export interface Faults {
  append?: ((batch: LogBatch, apply: () => Promise<readonly bigint[]>) => Promise<readonly bigint[]>) | undefined;
  commit?: ((change: LogCommit, apply: () => Promise<Positions>, writer: LogWriter) => Promise<Positions>) | undefined;
}

export interface Bench {
  readonly engine: { readonly log: LogEngine; readonly world: World; readonly leases?: LeaseEngine | undefined };
  /** The same engine without leases. */
  readonly alone: { readonly log: LogEngine; readonly world: World };
  /** The same engine as if it could not commit several things together. */
  readonly simple: { readonly log: LogEngine; readonly world: World };
  readonly faults: Faults;
  readonly world: World;
  readonly simulation: Simulation;
  sleep(ms: number): Promise<void>;
  /** Lets time pass until it holds; fails loudly when it never does. */
  until(holds: () => boolean | Promise<boolean>): Promise<void>;
}

/** Runs a test on the in-memory engine in simulated time. */
export async function onMemory(work: (bench: Bench) => Promise<void>, seed = 1): Promise<void> {
  const simulation = simulatedWorld({ seed, eventsMax: 1_000_000 });
  await simulation.run(async () => {
    const { world } = simulation;
    const engine = await memory({ world });
    const faults: Faults = {};
    const log = faulty(engine.log, faults);
    await work({
      engine: { log, world, leases: engine.leases },
      alone: { log, world },
      simple: { log: withoutTransactions(log), world },
      faults,
      world,
      simulation,
      sleep: (ms) => world.timers.sleep(ms),
      async until(holds) {
        for (let looks = 0; !(await holds()); looks++) {
          if (looks === 100_000) throw new Error("it never came to hold");
          await world.timers.sleep(5);
        }
      },
    });
    await engine.close();
  });
}

function faulty(log: LogEngine, faults: Faults): LogEngine {
  return {
    ...passedOn(log),
    append: (batch) => faults.append?.(batch, () => log.append(batch)) ?? log.append(batch),
    commit: (writer, change) =>
      faults.commit?.(change, () => log.commit(writer, change), writer) ?? log.commit(writer, change),
  };
}

/** Changes have one part each, as on an engine that declares it. */
export function withoutTransactions(log: LogEngine): LogEngine {
  return {
    ...passedOn(log),
    capabilities: { ...log.capabilities, transactions: false },
    commit(writer, change) {
      const parts = (change.outputs?.length ?? 0) + (change.positions?.length ?? 0);
      if (parts > 1) return Promise.reject(new TenonError("unsupported", "one part at a time"));
      return log.commit(writer, change);
    },
  };
}

function passedOn(log: LogEngine): LogEngine {
  return {
    capabilities: log.capabilities,
    declare: (name, declaration) => log.declare(name, declaration),
    logs: () => log.logs(),
    remove: (name) => log.remove(name),
    describe: (name) => log.describe(name),
    append: (batch) => log.append(batch),
    read: (request, options) => log.read(request, options),
    locate: (name, partition, at) => log.locate(name, partition, at),
    positions: (reader, name) => log.positions(reader, name),
    forget: (reader, name) => log.forget(reader, name),
    openWriter: (name, logs) => log.openWriter(name, logs),
    commit: (writer, change) => log.commit(writer, change),
  };
}

/** Does it, and says that nobody knows. */
export async function lostReply(apply: () => Promise<unknown>): Promise<never> {
  await apply();
  throw new TenonError("unavailable", "the reply was lost", { outcome: "unknown" });
}

export async function valuesOf<T>(log: Log<T>): Promise<T[]> {
  const values: T[] = [];
  for (let partition = 0; partition < log.partitions; partition++)
    for await (const { value } of log.read({ partition })) values.push(value);
  return values;
}
