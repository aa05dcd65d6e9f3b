import type { KeyValueEngine, LeaseEngine, LogEngine, MessageEngine, RateEngine } from "../contracts/index.ts";
import type { World } from "../world/world.ts";

/** One obligation of a contract, as data: any test runner can host it with `runCase`. */
export interface ConformanceCase<Engine> {
  /** A sentence about the behaviour; unique within its suite. */
  readonly name: string;
  /** The sentence of the contract that this case holds. */
  readonly rule: string;
  /** How much time of the engine's clock the case has to let pass, in milliseconds; 0 when left out. */
  readonly takesMs?: number | undefined;
  /** `true`, or why the case does not apply: a power that the engine or its host declares not to have. */
  readonly needs?: ((subject: RunningEngine<Engine>) => true | string) | undefined;
  /** Rejects when the obligation is not kept. */
  run(subject: RunningEngine<Engine>): Promise<void>;
}

/** What a test runner brings: fresh engines, one after the other or side by side. */
export interface ConformanceHost<Engine> {
  /** An empty engine that shares nothing with the ones before it. */
  start(): Promise<RunningEngine<Engine>>;
  /**
   * Cases that must let more time pass than this are skipped, in milliseconds. 5,000 when left out; `Infinity` for a
   * host whose time is simulated.
   */
  readonly patienceMs?: number | undefined;
}

export interface RunningEngine<Engine> {
  /** The engine as of now: another object after `crash`. Cases wait through its `world`. */
  readonly engine: Engine;
  /**
   * The process that holds the engine dies without a goodbye and comes back: afterwards `engine` is a new one over
   * what survived. Calls that were under way may never settle. Left out when the host or the engine cannot do it.
   */
  readonly crash?: (() => Promise<void>) | undefined;
  /** True when the world's time passes only between events, so that how late something happened can be judged. */
  readonly exactTime?: boolean | undefined;
  /** Ends the engine, closed or not, and removes what it left. */
  stop(): Promise<void>;
}

export interface MessagesEngine {
  readonly messages: MessageEngine;
  readonly world: World;
  close(): Promise<void>;
}

export interface KeyValuesEngine {
  readonly keyValue: KeyValueEngine;
  readonly world: World;
  close(): Promise<void>;
}

export interface LeasesEngine {
  readonly leases: LeaseEngine;
  readonly world: World;
  close(): Promise<void>;
}

export interface RatesEngine {
  readonly rates: RateEngine;
  readonly world: World;
  close(): Promise<void>;
}

export interface LogsEngine {
  readonly log: LogEngine;
  readonly world: World;
  close(): Promise<void>;
}

export type MessageCase = ConformanceCase<MessagesEngine>;
export type MessageSubject = RunningEngine<MessagesEngine>;
export type KeyValueCase = ConformanceCase<KeyValuesEngine>;
export type KeyValueSubject = RunningEngine<KeyValuesEngine>;
export type LeaseCase = ConformanceCase<LeasesEngine>;
export type LeaseSubject = RunningEngine<LeasesEngine>;
export type LogCase = ConformanceCase<LogsEngine>;
export type LogSubject = RunningEngine<LogsEngine>;
export type RateCase = ConformanceCase<RatesEngine>;
export type RateSubject = RunningEngine<RatesEngine>;

export type CaseOutcome = { readonly outcome: "passed" } | { readonly outcome: "skipped"; readonly reason: string };

const patienceMsDefault = 5_000;

/** Runs one case on a fresh engine. Rejects with the failure; a skipped case says why. */
export async function runCase<Engine>(
  conformanceCase: ConformanceCase<Engine>,
  host: ConformanceHost<Engine>,
): Promise<CaseOutcome> {
  const patienceMs = host.patienceMs ?? patienceMsDefault;
  const takesMs = conformanceCase.takesMs ?? 0;
  if (takesMs > patienceMs) {
    return { outcome: "skipped", reason: `it takes ${takesMs} ms of the engine's time; the host allows ${patienceMs}` };
  }
  const subject = await host.start();
  try {
    const applies = conformanceCase.needs?.(subject) ?? true;
    if (applies !== true) return { outcome: "skipped", reason: applies };
    await conformanceCase.run(subject);
    return { outcome: "passed" };
  } finally {
    await subject.stop();
  }
}
