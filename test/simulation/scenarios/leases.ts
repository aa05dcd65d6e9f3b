/** Tills that fight for locks, permits and leadership over one engine, and write under them behind guards, while they are paused, cut off and killed. */
import { TenonError } from "../../../src/contracts/errors.ts";
import type { LeaseDescription } from "../../../src/contracts/leases.ts";
import { election, fenced, type Hold, type LeasingEngine, mutex, semaphore } from "../../../src/coordination/index.ts";
import type { RemoteEngine } from "../../../src/engines/remote/index.ts";
import {
  type ClockReadings,
  checkFairness,
  checkLeases,
  checkLeasesAtRest,
  LeaseHistory,
  type ProcessContext,
  recordLeases,
  type SimulatedSystem,
} from "../../../src/simulation/index.ts";
import type { World } from "../../../src/world/world.ts";
import type { ScenarioDefinition } from "../scenario.ts";
import { clockOf, connected, drawRemote, isOutage, type RemoteSettings, serveEngine } from "../served-engine.ts";

const tills = ["till-1", "till-2", "till-3"];
const permits = 3;
/** What is fought for, as the engine knows it. */
const names = ["mutex/drawer", "semaphore/desks", "election/manager"] as const;
const expiryLatenessMs = 50;
/** Clocks gain or lose 2 % at most, but the rules count from both sides. */
const driftMax = 0.025;

export const scenario: ScenarioDefinition = { name: "leases", options: { livenessMs: 180_000 }, run };

async function run(system: SimulatedSystem): Promise<void> {
  const history = new LeaseHistory(() => system.nowMs);
  /** As the engine itself is asked, in the order of its requests. */
  const asked = new LeaseHistory(() => system.nowMs);
  const served = serveEngine(system, (engine) => {
    const { name, world, topicCreation, messages, keyValue, rates, ended } = engine;
    const leases = recordLeases(engine.leases, asked, "engine");
    return { name, world, topicCreation, messages, keyValue, leases, rates, ended };
  });
  const settings = drawRemote(system);
  const style: Style = {
    ttlMs: system.random.pick([1_000, 3_000, 10_000]),
    holdMs: system.random.pick([300, 1_000, 5_000]),
    idleMs: system.random.pick([1_000, 3_000]),
    settings,
  };
  let resting = false;

  const main = async ({ name, incarnation, world }: ProcessContext): Promise<void> => {
    const client = `${name}#${incarnation}`;
    const engine = await connected(world, settings);
    const till = new Till(client, engine, history, style);
    await Promise.all(
      names.map(async (lease) => {
        while (!resting) {
          await world.timers.sleep(world.random.float() * 2 * style.idleMs);
          await till.work(lease);
        }
        // A free name is granted to whoever waits: at last, everybody gets everything.
        await till.workAtLast(lease);
      }),
    );
  };
  const handles = tills.map((till) => system.process(till, main));
  const clocks = new Map(handles.map((handle) => [handle.name, clockOf(system, handle)]));
  const clientClock = (client: string): ClockReadings => clocks.get(client.split("#")[0]!)!;
  void system.until("the end of the run", () => {
    for (const { name, incarnation, state } of handles) {
      if (state === "crashed") history.died(`${name}#${incarnation}`);
    }
    return false;
  });
  const look = (): void => {
    checkLeases(history, { clock: served.clock, clientClock, driftMax, expiryLatenessMs, nowMs: system.nowMs });
    checkFairness(asked);
  };

  await system.healed();
  resting = true;
  await Promise.all(handles.map((handle) => system.until(`${handle.name} rests`, () => handle.state === "ended")));
  // What nobody gave up has ended by itself.
  await system.sleep(style.ttlMs + 20_000);
  const descriptions: LeaseDescription[] = [];
  const reader = system.process("reader", async ({ world }: ProcessContext) => {
    const engine = await connected(world, settings);
    for (const name of names) descriptions.push(await engine.leases.describe(name));
  });
  await reader.ended;
  look();
  const died = (client: string): boolean =>
    handles.every(({ name, incarnation }) => client !== `${name}#${incarnation}`);
  checkLeasesAtRest(history, descriptions, { died });
}

interface Style {
  readonly ttlMs: number;
  readonly holdMs: number;
  readonly idleMs: number;
  readonly settings: RemoteSettings;
}

type Lease = (typeof names)[number];

/** One process that competes. */
class Till {
  readonly #client: string;
  readonly #engine: RemoteEngine;
  readonly #leasing: LeasingEngine;
  readonly #history: LeaseHistory;
  readonly #style: Style;
  readonly #world: World;
  #writes = 0;

  constructor(client: string, engine: RemoteEngine, history: LeaseHistory, style: Style) {
    this.#client = client;
    this.#engine = engine;
    this.#history = history;
    this.#style = style;
    this.#world = engine.world;
    this.#leasing = { leases: recordLeases(engine.leases, history, client, engine.world.clock), world: engine.world };
  }

  async work(lease: Lease): Promise<void> {
    const { random } = this.#world;
    const renew = random.float() < 0.7;
    const hold = await this.#acquire(lease, { renew, waitMs: Math.floor(random.float() * 10_000) });
    if (hold === undefined) return;
    await this.#serve(lease, hold, random.float() * 2 * this.#style.holdMs);
  }

  async workAtLast(lease: Lease): Promise<void> {
    for (;;) {
      const hold = await this.#acquire(lease, { renew: true, waitMs: Number.POSITIVE_INFINITY });
      if (hold === undefined) continue;
      await this.#serve(lease, hold, 10);
      return;
    }
  }

  async #acquire(
    lease: Lease,
    wanted: { readonly renew: boolean; readonly waitMs: number },
  ): Promise<Held | undefined> {
    const options = { ...wanted, ttlMs: this.#style.ttlMs };
    try {
      if (lease === "mutex/drawer") return await mutex(this.#leasing, "drawer").acquire(options);
      if (lease === "semaphore/desks") {
        const weight = this.#world.random.float() < 0.8 ? 1 : 2;
        return await semaphore(this.#leasing, "desks", { permits }).acquire({ ...options, permits: weight });
      }
      const leadership = await election(this.#leasing, "manager", { candidate: this.#client }).campaign(options);
      return Object.assign(leadership, { token: leadership.term });
    } catch (error) {
      if (isOutage(error) || isLost(error)) return undefined;
      throw error;
    }
  }

  /** Writes under the lease until it is done, or told that it has lost it; now and then it does not listen. */
  async #serve(lease: Lease, hold: Held, holdMs: number): Promise<void> {
    this.#history.held(this.#client, lease, hold.token, hold.signal);
    const { clock, random, timers } = this.#world;
    const listens = random.float() < 0.8;
    const until = clock.monotonic() + holdMs;
    for (;;) {
      if (lease !== "semaphore/desks") await this.#write(lease, hold.token);
      if (clock.monotonic() >= until || (listens && hold.signal.aborted)) break;
      await timers.sleep(random.float() * this.#style.holdMs);
    }
    await hold.release().catch((error: unknown) => {
      if (!isOutage(error)) throw error;
    });
  }

  async #write(lease: Lease, token: bigint): Promise<void> {
    this.#writes += 1;
    const value = Buffer.from(`${this.#client}/${this.#writes}`);
    const effect = async () => {
      try {
        const changes = [{ type: "put", key: `effects/${lease}`, value }] as const;
        const result = await fenced(this.#engine.keyValue, lease, token, changes);
        return result.committed ? { applied: true, order: result.version } : { applied: false };
      } catch (error) {
        if (isLost(error)) return { applied: false };
        throw error;
      }
    };
    try {
      await this.#history.effects.record(this.#client, { resource: lease, token }, effect);
    } catch (error) {
      if (!isOutage(error)) throw error;
    }
  }
}

type Held = Hold & { readonly token: bigint };

function isLost(error: unknown): boolean {
  return error instanceof TenonError && error.code === "lost";
}
