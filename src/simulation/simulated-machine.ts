import type { Logger, Network, World } from "../world/world.ts";
import { checkNumber, checkWord } from "./checked-options.ts";
import { type CrashOutcome, FaultPlan } from "./disk/fault-plan.ts";
import { type DiskLatency, SimulatedDisk } from "./disk/simulated-disk.ts";
import { DiskControl, type SimulatedDiskControl } from "./disk/simulated-disk-control.ts";
import { SimulatedStorage } from "./disk/simulated-storage.ts";
import type { SeededGenerator } from "./seeded-generator.ts";
import { SimulatedProcess } from "./simulated-process.ts";
import { MachineClock, SimulatedRandom, SimulatedTimers } from "./simulated-time.ts";
import type { Main, ProcessContext, ProcessHandle, ProcessOptions } from "./system.ts";
import type { TimeLine } from "./time-line.ts";

/** What a machine needs of the system that it is in. */
export interface MachineParts {
  readonly name: string;
  readonly main: Main;
  readonly options: ProcessOptions;
  readonly timeLine: TimeLine;
  readonly seeds: SeededGenerator;
  readonly startsAt: number;
  readonly diskLatency: DiskLatency;
  readonly log: (label: string) => Logger;
  readonly network: (host: string, process: SimulatedProcess) => Network;
  /** Told of the world of each incarnation. */
  readonly lives: (world: World) => void;
  /** The run has failed. `how`: such as `main failed`. */
  readonly failed: (machine: SimulatedMachine, how: string, error: unknown) => void;
  /** It died by itself or by a fault, and is to start again when its time has come. */
  readonly died: (machine: SimulatedMachine) => void;
}

/** One machine with a clock and a disk, and the incarnations of the one process that lives on it. */
export class SimulatedMachine implements ProcessHandle {
  readonly name: string;
  readonly options: ProcessOptions;
  readonly disk: SimulatedDiskControl;
  readonly faults = new FaultPlan();
  readonly ended: Promise<void>;
  readonly #parts: MachineParts;
  readonly #clock: MachineClock;
  readonly #storage: SimulatedStorage;
  readonly #seeds: SeededGenerator;
  readonly #diskGenerator: SeededGenerator;
  readonly #crashGenerator: SeededGenerator;
  readonly #resolveEnded: () => void;
  #process: SimulatedProcess;
  #context!: ProcessContext;
  #stop = new AbortController();
  #mainEnded = false;

  constructor(parts: MachineParts) {
    this.#parts = parts;
    this.name = parts.name;
    this.options = parts.options;
    this.#seeds = parts.seeds;
    this.#diskGenerator = parts.seeds.fork();
    this.#crashGenerator = parts.seeds.fork();
    this.#clock = new MachineClock(parts.timeLine, parts.startsAt);
    this.#storage = new SimulatedStorage(parts.options.capacityBytes ?? Number.MAX_SAFE_INTEGER);
    this.disk = new DiskControl(this.#storage, this.faults);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.ended = promise;
    this.#resolveEnded = resolve;
    this.#process = this.#start(1);
  }

  get incarnation(): number {
    return this.#process.number;
  }

  get state(): ProcessHandle["state"] {
    if (!this.#process.alive) return "crashed";
    if (this.#process.paused) return "paused";
    return this.#mainEnded ? "ended" : "running";
  }

  get alive(): boolean {
    return this.#process.alive;
  }

  get clock(): ProcessHandle["clock"] {
    const clock = this.#clock;
    return {
      step: (ms) => {
        checkNumber("clock.step()", ms, -8.64e15, 8.64e15);
        this.#note(`clock steps ${ms}`);
        clock.step(ms);
      },
      drift: (rate) => {
        this.#note(`clock drifts ${rate}`);
        clock.drift(rate);
      },
      get now() {
        return clock.now();
      },
    };
  }

  /** That of the latest incarnation. */
  get world(): World {
    return this.#context.world;
  }

  /** What its code waits for, or waited for when it died, by the labels of its calls to the world. */
  get waitingFor(): readonly string[] {
    return this.#process.alive ? this.#process.waitingFor : this.#process.abandoned;
  }

  crash(outcome: CrashOutcome = "seeded"): void {
    if (!this.#process.alive) throw new Error(`${this.name} has crashed before; restart() it first`);
    checkWord("crash()", outcome, ["process", "lost", "kept", "seeded"]);
    this.#note(`crash ${outcome}`);
    this.#clock.wake();
    this.#process.crash(outcome === "process" ? "process" : "machine");
    if (outcome === "process") this.#storage.endProcess();
    else this.#storage.crash(outcome === "seeded" ? undefined : outcome, this.#crashGenerator);
  }

  restart(): void {
    if (this.#process.alive && !this.#mainEnded) throw new Error(`${this.name} is alive; crash() it first`);
    if (this.#process.alive) this.crash("process");
    this.#note("restart");
    this.#process = this.#start(this.#process.number + 1);
  }

  pause(manner: "stopped" | "asleep" = "stopped"): void {
    if (!this.#process.alive) throw new Error(`${this.name} has crashed; only a living process can be paused`);
    checkWord("pause()", manner, ["stopped", "asleep"]);
    this.#note(`pause ${manner}`);
    if (manner === "asleep") this.#clock.sleep();
    this.#process.pause();
  }

  resume(): void {
    if (!this.#process.paused) return;
    this.#note("resume");
    this.#clock.wake();
    this.#process.resume();
  }

  stop(): void {
    if (!this.#process.alive) return;
    this.#note("stop");
    this.#process.enter(() => this.#stop.abort(new Error(`${this.name} is asked to end`)));
  }

  run<Result>(fn: (process: ProcessContext) => Result): Result {
    if (!this.#process.alive) throw new Error(`${this.name} has crashed; nothing can run in it`);
    return this.#process.enter(() => fn(this.#context));
  }

  /** Its clocks go as virtual time does, and its disk works. */
  heal(): void {
    this.faults.clear();
    this.resume();
    this.#clock.drift(1);
  }

  /** Its code starts in a turn of its own, as every other event does. */
  #start(number: number): SimulatedProcess {
    const process = new SimulatedProcess(number, this.#parts.timeLine, this.name);
    const stop = new AbortController();
    const world = this.#worldOf(process);
    process.live(world, (error) => this.#broke(process, "threw", error));
    this.#parts.lives(world);
    this.#stop = stop;
    this.#mainEnded = false;
    this.#context = { name: this.name, incarnation: number, world, signal: stop.signal };
    const context = this.#context;
    process.after(0, "main", () => {
      new Promise<unknown>((resolve) => resolve(this.#parts.main(context))).then(
        () => this.#mainResolved(process),
        (error: unknown) => this.#broke(process, "main failed", error),
      );
    });
    return process;
  }

  #mainResolved(process: SimulatedProcess): void {
    if (process !== this.#process || !process.alive) return;
    this.#note("main ended");
    this.#mainEnded = true;
    this.#resolveEnded();
  }

  /** A promise of its rejected, and nobody handles it. */
  unhandled(world: World, reason: unknown): void {
    if (world === this.#context.world) this.#broke(this.#process, "left an error unhandled", reason);
  }

  /** What ends a real process. */
  #broke(process: SimulatedProcess, how: string, error: unknown): void {
    if (process !== this.#process || !process.alive) return;
    this.#note(`${how}: ${error instanceof Error ? error.message : String(error)}`);
    if (this.options.whenMainFails === "restart") {
      this.crash("process");
      this.#parts.died(this);
    } else {
      this.#parts.failed(this, how, error);
    }
  }

  #worldOf(process: SimulatedProcess): World {
    return {
      clock: this.#clock,
      timers: new SimulatedTimers(process, this.#clock),
      random: new SimulatedRandom(this.#seeds.fork()),
      disk: new SimulatedDisk({
        incarnation: process,
        storage: this.#storage,
        faults: this.faults,
        generator: this.#diskGenerator,
        latency: this.#parts.diskLatency,
        crash: (outcome) => {
          this.crash(outcome);
          this.#parts.died(this);
        },
      }),
      network: this.#parts.network(this.name, process),
      log: this.#parts.log(process.label),
    };
  }

  #note(text: string): void {
    this.#parts.timeLine.note(`${this.name} ${text}`);
  }
}
