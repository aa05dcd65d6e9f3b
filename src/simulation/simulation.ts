import type { Logger, World } from "../world/world.ts";
import { NetworkError } from "../world/world.ts";
import { type CrashOutcome, FaultPlan } from "./disk/fault-plan.ts";
import { type DiskLatency, SimulatedDisk } from "./disk/simulated-disk.ts";
import { DiskControl, type SimulatedDiskControl } from "./disk/simulated-disk-control.ts";
import { SimulatedStorage } from "./disk/simulated-storage.ts";
import { quiet } from "./event-loop.ts";
import { SeededGenerator } from "./seeded-generator.ts";
import { SimulatedProcess } from "./simulated-process.ts";
import { MachineClock, SimulatedRandom, SimulatedTimers } from "./simulated-time.ts";
import { TimeLine } from "./time-line.ts";

export interface SimulationOptions {
  /** A safe integer. Equal seeds and equal code give equal runs. */
  readonly seed: number;
  /** What the wall clock says at the beginning, in ms since the epoch; 1 January 2026 when left out. */
  readonly startsAt?: number | undefined;
  /** How long a disk operation takes; drawn between 0.05 and 2 ms when left out. */
  readonly diskLatency?: DiskLatency | undefined;
  /** Appending beyond it fails with `full`; unlimited (2^53 - 1) when left out. */
  readonly capacityBytes?: number | undefined;
  /** A run that has fired so many events without an end is stopped; 10,000,000 when left out. */
  readonly eventsMax?: number | undefined;
  readonly log?: Logger | undefined;
}

/** Ends a run whose process crashed as planned. */
export class SimulatedCrash extends Error {
  override readonly name = "SimulatedCrash";
}

/** One simulated machine with one process at a time, and the virtual time in which it lives. */
export interface Simulation {
  /** What the living process sees. Every restart gives another one. */
  readonly world: World;
  readonly disk: SimulatedDiskControl;
  /** Virtual milliseconds since the simulation began. */
  readonly nowMs: number;
  /** The history so far: how many events fired, and a hash over all of them and what they were about. */
  readonly trace: { readonly events: number; readonly hash: string };
  /**
   * Drives virtual time until the promise of `main` settles, and answers with it. Only one run at a time. It fails when
   * the promise can never settle because nothing is left to happen, and with a `SimulatedCrash` when a planned crash strikes.
   */
  run<Result>(main: () => Promise<Result> | Result): Promise<Result>;
  /** Ends the process: its calls never settle, its timers never fire. `"seeded"` when left out. */
  crash(outcome?: CrashOutcome): void;
  /** After a crash: a new process, and its world, over what the disk holds. Time goes on. */
  restart(): World;
  /** Sets the wall clock; monotonic time and timers do not notice. */
  setClock(epochMs: number): void;
  /** Moves the wall clock by so much, in either direction. */
  stepClock(ms: number): void;
}

/** A `World` made from a seed, with the hand that drives it. */
export function simulatedWorld(options: SimulationOptions): Simulation {
  return new SeededSimulation(options);
}

const STARTS_AT = 1_767_225_600_000;
const ABANDONED_SHOWN_MAX = 10;
const EVENTS_MAX = 10_000_000;
const DISK_LATENCY: DiskLatency = { minMs: 0.05, maxMs: 2 };

class SeededSimulation implements Simulation {
  readonly disk: SimulatedDiskControl;
  readonly #options: SimulationOptions;
  readonly #timeLine = new TimeLine();
  readonly #clock: MachineClock;
  readonly #faults = new FaultPlan();
  readonly #storage: SimulatedStorage;
  readonly #seeds: SeededGenerator;
  readonly #diskGenerator: SeededGenerator;
  readonly #crashGenerator: SeededGenerator;
  #incarnation: SimulatedProcess;
  #world: World;
  #struckByPlan = false;
  #running = false;
  #abandoned: readonly string[] = [];

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#clock = new MachineClock(this.#timeLine, options.startsAt ?? STARTS_AT);
    this.#storage = new SimulatedStorage(options.capacityBytes ?? Number.MAX_SAFE_INTEGER);
    this.#seeds = new SeededGenerator(options.seed);
    this.#diskGenerator = this.#seeds.fork();
    this.#crashGenerator = this.#seeds.fork();
    this.disk = new DiskControl(this.#storage, this.#faults);
    this.#incarnation = new SimulatedProcess(1, this.#timeLine);
    this.#world = this.#worldOf(this.#incarnation);
  }

  get world(): World {
    if (!this.#incarnation.alive) throw new Error("the simulated process has crashed; restart() gives the next one");
    return this.#world;
  }

  get nowMs(): number {
    return this.#timeLine.nowMs;
  }

  get trace(): { readonly events: number; readonly hash: string } {
    return { events: this.#timeLine.firedCount, hash: this.#timeLine.hash.toString(16).padStart(8, "0") };
  }

  async run<Result>(main: () => Promise<Result> | Result): Promise<Result> {
    if (this.#running) throw new Error("a run of this simulation is under way");
    this.#running = true;
    this.#struckByPlan = false;
    try {
      return await this.#drive(main);
    } finally {
      this.#running = false;
    }
  }

  crash(outcome: CrashOutcome = "seeded"): void {
    if (!this.#incarnation.alive) throw new Error("the simulated process has crashed before");
    this.#timeLine.note(`crash ${this.#incarnation.number} ${outcome}`);
    this.#incarnation.crash();
    this.#abandoned = [
      ...this.#abandoned,
      ...this.#incarnation.abandoned.map((label) => `${this.#incarnation.number} ${label}`),
    ];
    if (outcome === "process") this.#storage.endProcess();
    else this.#storage.crash(outcome === "seeded" ? undefined : outcome, this.#crashGenerator);
  }

  restart(): World {
    if (this.#incarnation.alive) throw new Error("the simulated process is alive; crash() it first");
    this.#incarnation = new SimulatedProcess(this.#incarnation.number + 1, this.#timeLine);
    this.#world = this.#worldOf(this.#incarnation);
    return this.#world;
  }

  setClock(epochMs: number): void {
    this.#timeLine.note(`set clock ${epochMs}`);
    this.#clock.set(epochMs);
  }

  stepClock(ms: number): void {
    this.#timeLine.note(`step clock ${ms}`);
    this.#clock.step(ms);
  }

  async #drive<Result>(main: () => Promise<Result> | Result): Promise<Result> {
    let settled = false;
    const outcome = new Promise<Result>((resolve) => resolve(main())).finally(() => {
      settled = true;
    });
    // The driver looks at it when the loop is over; until then nobody handles its rejection.
    outcome.catch(() => {});
    const eventsMax = this.#timeLine.firedCount + (this.#options.eventsMax ?? EVENTS_MAX);
    await quiet();
    while (!settled) {
      if (this.#struckByPlan) throw new SimulatedCrash(`process ${this.#incarnation.number} crashed as planned`);
      if (!this.#timeLine.step()) throw this.#deadlock();
      if (this.#timeLine.firedCount > eventsMax) throw this.#endless();
      await quiet();
    }
    return outcome;
  }

  #deadlock(): Error {
    const latest = this.#abandoned.slice(-ABANDONED_SHOWN_MAX);
    const abandoned = latest.map((label) => `\n  process ${label} (crashed meanwhile)`).join("");
    const waited = abandoned || " no call to the world; something inside the code never settles";
    return new Error(
      `deadlock at ${this.nowMs} ms of virtual time (seed ${this.#options.seed}): the run is pending and nothing is left ` +
        `to happen. The last event was "${this.#timeLine.last}". Waited for:${waited}`,
    );
  }

  #endless(): Error {
    return new Error(
      `no end in sight at ${this.nowMs} ms of virtual time (seed ${this.#options.seed}): the run is pending after ` +
        `${this.#timeLine.firedCount} events. The last one was "${this.#timeLine.last}"; ${this.#timeLine.pendingCount} are scheduled`,
    );
  }

  #worldOf(incarnation: SimulatedProcess): World {
    return {
      clock: this.#clock,
      timers: new SimulatedTimers(incarnation, this.#clock),
      random: new SimulatedRandom(this.#seeds.fork()),
      disk: new SimulatedDisk({
        incarnation,
        storage: this.#storage,
        faults: this.#faults,
        generator: this.#diskGenerator,
        latency: this.#options.diskLatency ?? DISK_LATENCY,
        crash: (outcome) => this.#crashAsPlanned(outcome),
      }),
      network: noNetwork,
      log: this.#options.log ?? { log: () => {} },
    };
  }

  #crashAsPlanned(outcome: CrashOutcome): void {
    this.#struckByPlan = true;
    this.crash(outcome);
  }
}

/** The simulated machine stands alone: every address is out of its reach. */
const noNetwork: World["network"] = {
  listen: async (address) => {
    throw new NetworkError("unreachable", address, `cannot listen on ${address.host}:${address.port}: no network here`);
  },
  connect: async (address) => {
    throw new NetworkError(
      "unreachable",
      address,
      `cannot connect to ${address.host}:${address.port}: no network here`,
    );
  },
};
