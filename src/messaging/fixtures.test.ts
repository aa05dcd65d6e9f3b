import type { KeyValueEngine, WatchEvent } from "../contracts/key-value.ts";
import type { Batch, Lane, LaneCommit, Membership, MessageEngine, Stored } from "../contracts/messages.ts";
import { type EmbeddedEngine, embedded, memory } from "../engines/embedded/index.ts";
import { type Simulation, simulatedWorld } from "../simulation/index.ts";
import type { World } from "../world/world.ts";

type Positions = readonly (bigint | undefined)[];

/** What stands between a block and a real engine in a test: each hook decides whether and when the call goes through. */
export interface Faults {
  append?: ((batch: Batch, apply: () => Promise<Positions>) => Promise<Positions>) | undefined;
  commit?: ((change: LaneCommit, apply: () => Promise<void>, lane: Lane) => Promise<void>) | undefined;
  fetch?: ((limit: number, apply: () => Promise<readonly Stored[]>) => Promise<readonly Stored[]>) | undefined;
  watch?: ((prefix: string, apply: () => AsyncIterable<WatchEvent>) => AsyncIterable<WatchEvent>) | undefined;
}

export interface Bench {
  readonly engine: { readonly messages: MessageEngine; readonly keyValue: KeyValueEngine; readonly world: World };
  readonly faults: Faults;
  readonly world: World;
  readonly log: string[];
  sleep(ms: number): Promise<void>;
  /** Lets time pass until it holds; fails loudly when it never does. */
  until(holds: () => boolean | Promise<boolean>): Promise<void>;
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
  const simulation = simulatedWorld({ seed, log: { log: (level, message) => log.push(`${level}: ${message}`) } });
  for (const [index, work] of works.entries()) {
    if (index > 0) {
      simulation.crash();
      simulation.restart();
    }
    await simulation.run(async () => {
      const engine = await embedded({ directory: "/data", world: simulation.world });
      await work(benchOf(engine, simulation, log));
      if (index === works.length - 1) await engine.close();
    });
  }
}

function benchOf(engine: EmbeddedEngine, simulation: Simulation, log: string[]): Bench {
  const faults: Faults = {};
  const { world } = simulation;
  const sleep = (ms: number): Promise<void> => world.timers.sleep(ms);
  return {
    engine: {
      messages: faultyMessages(engine.messages, faults),
      keyValue: faultyKeyValues(engine.keyValue, faults),
      world,
    },
    faults,
    world,
    log,
    sleep,
    async until(holds) {
      for (let turn = 0; turn < 100_000; turn += 1) {
        if (await holds()) return;
        await sleep(turn < 1_000 ? 1 : 1_000);
      }
      throw new Error(`it never held: ${holds}`);
    },
  };
}

function faultyMessages(engine: MessageEngine, faults: Faults): MessageEngine {
  return {
    capabilities: engine.capabilities,
    declare: (topic, declaration) => engine.declare(topic, declaration),
    topics: () => engine.topics(),
    remove: (topic) => engine.remove(topic),
    removeGroup: (topic, group) => engine.removeGroup(topic, group),
    describe: (topic) => engine.describe(topic),
    seek: (topic, group, to) => engine.seek(topic, group, to),
    append: (batch) => (faults.append ?? ((_, apply) => apply()))(batch, () => engine.append(batch)),
    join: async (topic, group, options) => faultyMembership(await engine.join(topic, group, options), faults),
  };
}

function faultyKeyValues(engine: KeyValueEngine, faults: Faults): KeyValueEngine {
  return {
    capabilities: engine.capabilities,
    get: (keys) => engine.get(keys),
    commit: (changes) => engine.commit(changes),
    scan: (prefix, options) => engine.scan(prefix, options),
    watch: (prefix, options) => (faults.watch ?? ((_, apply) => apply()))(prefix, () => engine.watch(prefix, options)),
  };
}

function faultyMembership(membership: Membership, faults: Faults): Membership {
  return {
    nextLane: async (options) => faultyLane(await membership.nextLane(options), faults),
    leave: () => membership.leave(),
  };
}

function faultyLane(lane: Lane, faults: Faults): Lane {
  const { topic, group, partition, fence, revoked, lost, held, suspectBelow } = lane;
  return {
    ...{ topic, group, partition, fence, revoked, lost, held, suspectBelow },
    fetch: (limit, options) => (faults.fetch ?? ((_, apply) => apply()))(limit, () => lane.fetch(limit, options)),
    commit: (change) => (faults.commit ?? ((_, apply) => apply()))(change, () => lane.commit(change), lane),
    release: () => lane.release(),
  };
}
