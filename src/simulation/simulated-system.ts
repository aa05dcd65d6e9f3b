import { ambientWorld } from "../world/ambient.ts";
import type { Logger, World } from "../world/world.ts";
import { simulateBuiltins } from "./builtins/builtins.ts";
import type { Escape } from "./builtins/escapes.ts";
import { checkNumber, checkOptions, checkProcess } from "./checked-options.ts";
import { quiet } from "./event-loop.ts";
import { drawFaults, drawNetwork, logarithmic, planFaults } from "./faults/fault-choice.ts";
import type { PlannedStrike, StruckFault } from "./faults/fault-settings.ts";
import { Strikes } from "./faults/strikes.ts";
import { fetchOver } from "./http/simulated-http.ts";
import { calmNetwork, type NetworkSettings, type SimulatedNetworkControl } from "./network/network-control.ts";
import { SimulatedNetwork } from "./network/simulated-network.ts";
import { SeededGenerator } from "./seeded-generator.ts";
import { SimulatedMachine } from "./simulated-machine.ts";
import {
  type Main,
  type ProcessHandle,
  type ProcessOptions,
  type Scenario,
  type ScenarioRandom,
  type SimulatedSystem,
  type SimulateOptions,
  SimulationFailure,
  type SimulationReport,
  type TraceLine,
} from "./system.ts";
import { TimeLine } from "./time-line.ts";

const STARTS_AT = 1_767_225_600_000;
const SAFETY_MS = 60_000;
const LIVENESS_MS = 600_000;
const EVENTS_MAX = 10_000_000;
const QUIET_EVERY_MS = 1_000;
const DISK_LATENCY = { minMs: 0.05, maxMs: 2 };
/** How long a process that died by itself stays dead. */
const REVIVAL_MS = { min: 10, max: 2_000 };
const LAST_EVENTS = 40;
const WAITING_SHOWN_MAX = 6;

interface Condition {
  readonly what: string;
  readonly holds: () => boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface Invariant {
  readonly rule: string;
  readonly check: () => void;
  readonly everyMs: number;
  nextAt: number;
}

/** A finding, before it is a failure with a report. */
class Finding extends Error {}

/** One run: drives virtual time, lets faults strike, heals, and looks whether everything comes to rest. */
export class SeededSystem implements SimulatedSystem {
  readonly seed: number;
  readonly random: ScenarioRandom;
  readonly network: SimulatedNetworkControl;
  readonly #options: SimulateOptions;
  readonly #timeLine: TimeLine;
  readonly #network: SimulatedNetwork;
  /** How far the machines are from each other, where the scenario does not say. */
  readonly #drawnSettings: NetworkSettings;
  readonly #machineSeeds: SeededGenerator;
  readonly #revivals: SeededGenerator;
  readonly #machines: SimulatedMachine[] = [];
  readonly #plan: readonly PlannedStrike[];
  readonly #strikes: Strikes;
  readonly #struck: StruckFault[] = [];
  readonly #conditions = new Set<Condition>();
  readonly #invariants: Invariant[] = [];
  readonly #healed = Promise.withResolvers<void>();
  /** Of every incarnation: code of dead ones may still run. */
  readonly #worlds = new WeakSet<World>();
  /** The last events, in a ring. */
  readonly #latest: TraceLine[] = [];
  #latestAt = 0;
  #ended = false;
  #phase: SimulatedSystem["phase"] = "safety";
  /** When the healed run has to be at rest. No event, so that nothing left to happen is a deadlock. */
  #restBy = Number.POSITIVE_INFINITY;
  #finding: { readonly rule: string; readonly cause: unknown } | undefined;

  constructor(options: SimulateOptions) {
    this.#options = options;
    this.seed = options.seed;
    this.#timeLine = new TimeLine((atMs, text) => this.#traced(atMs, text));
    const seeds = new SeededGenerator(options.seed);
    this.random = seeds.fork();
    const choices = seeds.fork();
    const plan = seeds.fork();
    this.#machineSeeds = seeds.fork();
    this.#revivals = seeds.fork();
    const choice = options.faults ?? "lite";
    const settings = drawFaults(choice, choices);
    this.#network = new SimulatedNetwork({
      timeLine: this.#timeLine,
      generator: seeds.fork(),
      settings: drawNetwork(choice, choices),
    });
    this.network = this.#network.control;
    this.#drawnSettings = this.network.settings;
    this.#plan = planFaults(settings, this.#safetyMs, plan);
    this.#strikes = new Strikes({
      machines: () => this.#machines,
      network: this.network,
      ways: this.#network.struck,
      after: (ms, label, fn) => this.#after(ms, label, fn),
    });
  }

  get nowMs(): number {
    return this.#timeLine.nowMs;
  }

  get phase(): SimulatedSystem["phase"] {
    return this.#phase;
  }

  get processes(): readonly ProcessHandle[] {
    return this.#machines;
  }

  process(name: string, main: Main, options: ProcessOptions = {}): ProcessHandle {
    checkProcess(name, main, options);
    if (this.#ended) throw new Error(`the run is over; ${name} would never run`);
    if (this.#machines.some((machine) => machine.name === name)) throw new Error(`there is a process ${name} already`);
    const machine = new SimulatedMachine({
      name,
      main,
      options,
      timeLine: this.#timeLine,
      seeds: this.#machineSeeds.fork(),
      startsAt: this.#options.startsAt ?? STARTS_AT,
      diskLatency: this.#options.diskLatency ?? DISK_LATENCY,
      log: (label) => this.#logger(label),
      network: (host, process) => this.#network.of(host, process),
      lives: (world) => this.#worlds.add(world),
      failed: ({ name }, how, error) => this.fail(`${name} ${how}: ${messageOf(error)}`, error),
      died: (dead) => this.#revive(dead),
    });
    this.#machines.push(machine);
    return machine;
  }

  sleep(ms: number): Promise<void> {
    checkNumber("sleep()", ms, 0, Number.POSITIVE_INFINITY);
    return new Promise((resolve) => {
      this.#after(ms, `scenario slept ${ms}`, resolve);
    });
  }

  until(what: string, holds: () => boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#conditions.add({ what, holds, resolve, reject });
    });
  }

  healed(): Promise<void> {
    return this.#healed.promise;
  }

  heal(): void {
    if (this.#phase === "liveness") return;
    this.#phase = "liveness";
    this.note("everything heals");
    this.#strikes.heal();
    // What the scenario has set is how far its machines are from each other, and no fault.
    if (this.network.settings === this.#drawnSettings) this.network.settings = calmNetwork;
    for (const machine of this.#machines) {
      machine.heal();
      if (!machine.alive && machine.options.restart !== "by hand") machine.restart();
    }
    this.#healed.resolve();
    this.#restBy = this.nowMs + (this.#options.livenessMs ?? LIVENESS_MS);
  }

  always(rule: string, check: () => void, options: { readonly quietEveryMs?: number | undefined } = {}): void {
    const everyMs = options.quietEveryMs ?? QUIET_EVERY_MS;
    this.#invariants.push({ rule, check, everyMs, nextAt: this.nowMs + everyMs });
  }

  note(text: string): void {
    this.#timeLine.note(text);
  }

  /** The first finding counts; the run ends with it. */
  fail(rule: string, cause?: unknown): void {
    this.#finding ??= { rule, cause };
  }

  async run(scenario: Scenario): Promise<SimulationReport> {
    using _builtins = simulateBuiltins({
      escaped: (left, world) => this.#escaped(left, world),
      unhandled: (reason, world) => {
        for (const machine of this.#machines) machine.unhandled(world, reason);
      },
      owns: (world) => this.#worlds.has(world),
      fetchOver,
    });
    try {
      return await this.#drive(scenario);
    } catch (error) {
      const finding = this.#finding ?? { rule: messageOf(error), cause: error instanceof Finding ? undefined : error };
      const options = finding.cause === undefined ? undefined : { cause: finding.cause };
      throw new SimulationFailure(finding.rule, this.#report(), this.#lastEvents(), options);
    } finally {
      this.#ended = true;
    }
  }

  async #drive(scenario: Scenario): Promise<SimulationReport> {
    const without = new Set(this.#options.without);
    for (const planned of this.#plan) {
      if (!without.has(planned.number)) this.#after(planned.atMs, "a fault is due", () => this.#letStrike(planned));
    }
    this.#after(this.#safetyMs, "the time of faults is over", () => this.heal());
    const settled = this.#begin(scenario);
    const eventsMax = this.#options.eventsMax ?? EVENTS_MAX;
    await quiet();
    while (settled.state === "pending") {
      if (this.#look()) {
        // The scenario goes on at this instant, before anything else happens.
        await quiet();
        continue;
      }
      if (!this.#timeLine.step()) throw new Finding(`deadlock: nothing is left to happen. ${this.#whoWaits()}`);
      if (this.#timeLine.firedCount > eventsMax)
        throw new Finding(`no end in sight after ${eventsMax} events. ${this.#whoWaits()}`);
      await quiet();
    }
    if (settled.state === "failed") throw settled.error;
    for (const invariant of this.#invariants) this.#check(invariant);
    this.#look();
    return this.#report();
  }

  #begin(scenario: Scenario): { state: "pending" | "done" | "failed"; error?: unknown } {
    const settled: { state: "pending" | "done" | "failed"; error?: unknown } = { state: "pending" };
    new Promise<void>((resolve) => resolve(scenario(this))).then(
      () => {
        settled.state = "done";
      },
      (error: unknown) => {
        settled.state = "failed";
        settled.error = error;
      },
    );
    return settled;
  }

  /** What is looked at between two events. Answers whether anybody was told of something. */
  #look(): boolean {
    const waiting = this.#conditions.size;
    for (const condition of this.#conditions) this.#tryCondition(condition);
    for (const invariant of this.#invariants) {
      if (this.nowMs < invariant.nextAt) continue;
      invariant.nextAt = this.nowMs + invariant.everyMs;
      this.#check(invariant);
    }
    if (this.#finding !== undefined) throw new Finding(this.#finding.rule);
    if (this.nowMs >= this.#restBy)
      throw new Finding(`the run did not come to rest after everything healed. ${this.#whoWaits()}`);
    return this.#conditions.size < waiting;
  }

  #tryCondition(condition: Condition): void {
    try {
      const holds: unknown = condition.holds();
      if (typeof holds !== "boolean")
        throw new TypeError(`the condition of "${condition.what}" answers true or false, at once`);
      if (!holds) return;
      condition.resolve();
    } catch (error) {
      condition.reject(error);
    }
    this.#conditions.delete(condition);
  }

  #check({ rule, check }: Invariant): void {
    try {
      const answer: unknown = check();
      if (answer instanceof Promise) {
        answer.catch(() => undefined);
        throw new TypeError("a check looks at once; it must not be asynchronous");
      }
    } catch (error) {
      this.fail(`${rule}: ${messageOf(error)}`, error);
    }
  }

  #escaped({ call, stack }: Escape, world: World): void {
    const where = this.#machines.find((machine) => machine.world === world)?.name ?? "a dead process";
    this.fail(`${where} left the simulation: ${call}${stack === "" ? "" : `\n${stack}`}`);
  }

  #letStrike(planned: PlannedStrike): void {
    if (this.#phase !== "safety") return;
    const struck = this.#strikes.strike(planned);
    if (struck === undefined) return;
    this.#struck.push(struck);
    this.note(`fault ${struck.number} ${struck.text}`);
  }

  #revive(machine: SimulatedMachine): void {
    if (machine.options.restart === "by hand") return;
    const { incarnation } = machine;
    this.#after(logarithmic(this.#revivals, REVIVAL_MS), `${machine.name} is started again`, () => {
      if (!machine.alive && machine.incarnation === incarnation) machine.restart();
    });
  }

  #after(ms: number, label: string, fn: () => void): () => void {
    const event = this.#timeLine.schedule(ms, label, fn);
    return () => this.#timeLine.cancel(event);
  }

  get #safetyMs(): number {
    return this.#options.safetyMs ?? SAFETY_MS;
  }

  #logger(label: string): Logger {
    const { log, trace } = this.#options;
    return {
      log: (level, message, fields) => {
        trace?.({ atMs: this.nowMs, text: `${label} log ${level}: ${message}` });
        log?.log(level, message, { ...fields, process: label });
      },
    };
  }

  #traced(atMs: number, text: string): void {
    const line = { atMs, text };
    this.#latest[this.#latestAt++ % LAST_EVENTS] = line;
    this.#options.trace?.(line);
  }

  #lastEvents(): readonly TraceLine[] {
    const at = this.#latestAt % LAST_EVENTS;
    return this.#latestAt < LAST_EVENTS ? [...this.#latest] : [...this.#latest.slice(at), ...this.#latest.slice(0, at)];
  }

  #whoWaits(): string {
    const waits = Array.from(this.#conditions, ({ what }) => `the scenario waits until ${what}`);
    for (const machine of this.#machines) {
      const labels = machine.waitingFor;
      const shown = labels.slice(0, WAITING_SHOWN_MAX).join(", ");
      const more = labels.length > WAITING_SHOWN_MAX ? ` and ${labels.length - WAITING_SHOWN_MAX} more` : "";
      const what = machine.alive
        ? shown === ""
          ? "for nothing of the world"
          : `for: ${shown}${more}`
        : `for: ${shown}${more} when it died`;
      waits.push(`${machine.name} (${machine.state}) ${machine.alive ? "waits" : "waited"} ${what}`);
    }
    if (waits.length === 0)
      waits.push("the scenario waits for something outside of virtual time, such as a real timer: use system.sleep");
    return `${waits.join("; ")}.`;
  }

  #report(): SimulationReport {
    return {
      seed: this.seed,
      hash: this.#timeLine.hash.toString(16).padStart(8, "0"),
      events: this.#timeLine.firedCount,
      virtualMs: this.nowMs,
      planned: this.#plan.length,
      faults: this.#struck,
    };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export async function runSystem(options: SimulateOptions, scenario: Scenario): Promise<SimulationReport> {
  checkOptions(options);
  if (typeof scenario !== "function") throw new TypeError("simulate() needs a scenario: a function");
  if (ambientWorld() !== undefined) throw new Error("simulate() was called inside of a simulated process");
  return new SeededSystem(options).run(scenario);
}
