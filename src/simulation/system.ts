import type { Logger, World } from "../world/world.ts";
import type { CrashOutcome } from "./disk/fault-plan.ts";
import type { DiskLatency } from "./disk/simulated-disk.ts";
import type { SimulatedDiskControl } from "./disk/simulated-disk-control.ts";
import type { FaultChoice, StruckFault } from "./faults/fault-settings.ts";
import type { SimulatedNetworkControl } from "./network/network-control.ts";

/** What `simulate` runs: it makes processes, lets them work, and resolves when all that should happen has happened. */
export type Scenario = (system: SimulatedSystem) => Promise<void> | void;

export interface SimulateOptions {
  /** A safe integer. Equal seeds, options and code give equal runs. */
  readonly seed: number;
  /**
   * What befalls the run: nothing (`"lite"`, also when left out), everything at a steady rate (`"performance"`), what the seed draws (`"swarm"`), or what is said here.
   */
  readonly faults?: FaultChoice | undefined;
  /** How long faults strike, in virtual ms; 60,000 when left out. Then everything heals. */
  readonly safetyMs?: number | undefined;
  /** How long the healed system may take until the scenario resolves, in virtual ms; 600,000 when left out. */
  readonly livenessMs?: number | undefined;
  /** Planned faults that are left out, by their numbers: how a failing run is made smaller. */
  readonly without?: readonly number[] | undefined;
  /** What wall clocks say at the beginning, in ms since the epoch; 1 January 2026 when left out. */
  readonly startsAt?: number | undefined;
  /** How long a disk operation takes; drawn between 0.05 and 2 ms when left out. */
  readonly diskLatency?: DiskLatency | undefined;
  /** A run that has fired so many events without an end is stopped; 10,000,000 when left out. */
  readonly eventsMax?: number | undefined;
  /** Gets every event and every decision of the run, in order. */
  readonly trace?: ((line: TraceLine) => void) | undefined;
  readonly log?: Logger | undefined;
}

export interface TraceLine {
  /** Virtual ms since the beginning. */
  readonly atMs: number;
  /** The process and what happened to it, such as `shop#2 read from engine:4000`. */
  readonly text: string;
}

/** How a run went that found nothing wrong. */
export interface SimulationReport {
  readonly seed: number;
  /** Equal for equal runs. */
  readonly hash: string;
  readonly events: number;
  readonly virtualMs: number;
  /** How many faults the seed planned. They have the numbers below it, also where the run ended before they were due. */
  readonly planned: number;
  /** What struck, in order. */
  readonly faults: readonly StruckFault[];
}

/** A run that found something. `simulate` rejects with it. */
export class SimulationFailure extends Error {
  override readonly name = "SimulationFailure";
  /** What was violated, in one sentence. */
  readonly rule: string;
  readonly report: SimulationReport;
  /** The last things that happened. */
  readonly lastEvents: readonly TraceLine[];

  constructor(rule: string, report: SimulationReport, lastEvents: readonly TraceLine[], options?: ErrorOptions) {
    super(`seed ${report.seed}: ${rule}`, options);
    this.rule = rule;
    this.report = report;
    this.lastEvents = lastEvents;
  }
}

/** Thrown by checkers and scenarios: a rule does not hold. The message is one sentence. */
export class Violation extends Error {
  override readonly name = "Violation";
}

/** Processes, the network between them, and one virtual time. */
export interface SimulatedSystem {
  readonly seed: number;
  /** Virtual ms since the beginning. */
  readonly nowMs: number;
  /** Chance for the scenario itself, apart from that of the processes and the faults. */
  readonly random: ScenarioRandom;
  readonly network: SimulatedNetworkControl;
  /** `"safety"`: faults strike. `"liveness"`: everything is healed, and stays so. */
  readonly phase: "safety" | "liveness";

  /** Starts a process on a machine of its own, whose host name is the process' name. */
  process(name: string, main: Main, options?: ProcessOptions): ProcessHandle;
  /** The processes made so far, in the order in which they were made. */
  readonly processes: readonly ProcessHandle[];

  /** Resolves after so much virtual time. */
  sleep(ms: number): Promise<void>;
  /** Resolves as soon as the condition holds; looked at after every event. `what` says what is waited for, should it never hold. */
  until(what: string, condition: () => boolean): Promise<void>;
  /** Resolves when faults have ended and everything is healed: crashed processes run again, the network is whole, clocks go. */
  healed(): Promise<void>;
  /** Ends the safety phase now. */
  heal(): void;
  /** `check` throws when something is wrong; called when the run is at rest, and at each quiet point (`quietEveryMs`, 1,000 when left out). */
  always(rule: string, check: () => void, options?: { readonly quietEveryMs?: number | undefined }): void;
  /** Makes a decision part of the history. */
  note(text: string): void;
}

export interface ScenarioRandom {
  /** Uniform in [0, 1). */
  float(): number;
  /** A whole number in [min, max]. */
  integer(min: number, max: number): number;
  chance(probability: number): boolean;
  pick<Choice>(choices: readonly Choice[]): Choice;
}

/** What a process does from its start on; called again, over what its disk kept, after a crash. Nothing of an earlier call may be used. */
export type Main = (process: ProcessContext) => Promise<unknown> | unknown;

export interface ProcessOptions {
  /** What faults may do to it; all when left out. */
  readonly faults?:
    | { readonly crash?: boolean; readonly pause?: boolean; readonly clock?: boolean; readonly disk?: boolean }
    | undefined;
  /** What becomes of a process that a fault killed, or that died by itself: it starts again after a time that the seed draws (when left out), or stays dead until `restart()`. What the scenario crashed waits for `restart()`, or for everything to heal. */
  readonly restart?: "supervised" | "by hand" | undefined;
  /** What it means when main throws, or anything else that ends a real process (a callback that throws, a rejection that nobody handles): the run fails (when left out), or the process has died and is restarted as after a crash. */
  readonly whenMainFails?: "fail" | "restart" | undefined;
  /** Appending beyond it fails with `full`; unlimited when left out. */
  readonly capacityBytes?: number | undefined;
}

export interface ProcessContext {
  readonly name: string;
  /** Counts the starts of this process, from 1. */
  readonly incarnation: number;
  readonly world: World;
  /** Aborts when the process is asked to end in order, by `stop()`. */
  readonly signal: AbortSignal;
}

export interface ProcessHandle {
  readonly name: string;
  readonly incarnation: number;
  /** `"ended"`: its main has resolved. */
  readonly state: "running" | "paused" | "crashed" | "ended";
  readonly disk: SimulatedDiskControl;
  readonly clock: {
    /** Moves the wall clock by so much, in either direction. */
    step(ms: number): void;
    /** From now on it counts so many ms per ms of virtual time. */
    drift(rate: number): void;
    readonly now: number;
  };
  /** Resolves when a main of it has resolved. A crash does not end it, for another incarnation follows. */
  readonly ended: Promise<void>;
  /** Ends the incarnation at once. `"seeded"` when left out. */
  crash(outcome?: CrashOutcome): void;
  /** After a crash or an end: calls main again, over what the disk kept. */
  restart(): void;
  /**
   * Nothing happens to it until `resume()`. `"stopped"` (when left out): as for a long garbage collection, its clocks go on. `"asleep"`: as for a suspended machine, monotonic
   * time stands still.
   */
  pause(manner?: "stopped" | "asleep"): void;
  resume(): void;
  /** Asks it to end in order. */
  stop(): void;
  /** Calls `fn` as the process' own code, now. What it answers never settles when the process crashes first. */
  run<Result>(fn: (process: ProcessContext) => Result): Result;
}
