import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import { sharedCapacity } from "../contracts/leases.ts";
import type { AcquireOptions, CountingEngine, LeasingEngine, Lock } from "./api.ts";
import { BarrierRecord } from "./barrier-record.ts";
import { type BarrierState, type BrokenBy, type Fate, fateOf, withBreak, withReset } from "./barrier-state.ts";
import { watchGeneration } from "./barrier-watch.ts";
import { Deadline } from "./deadline.ts";
import { unanswered } from "./failures.ts";
import { requireWatch } from "./key-state.ts";
import { LeaseLocks } from "./lease-locks.ts";
import { leaseName, stateKey } from "./names.ts";
import { invalid, isWait } from "./settings.ts";

export interface BarrierOptions {
  /** How many have to arrive; 1 to 10,000. Everybody must say the same. */
  readonly parties: number;
  /** How long a party that is not heard of counts as waiting, in milliseconds; 30,000 when left out. */
  readonly ttlMs?: number | undefined;
  /** How long an engine that fails or does not answer is asked again, in milliseconds; 5,000 when left out. */
  readonly timeoutMs?: number | undefined;
}

export interface ArriveOptions {
  /** Breaks the barrier for everybody when it aborts; the call rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** Breaks the barrier for everybody after so many milliseconds; the call rejects with `timeout`. For ever when left out. */
  readonly waitMs?: number | undefined;
}

export interface Passed {
  /** Counts from 0. */
  readonly generation: number;
}

/**
 * All parties wait for each other, time and again: when the last one arrives all go on, and the next generation begins. When a party gives up
 * (`waitMs`, `signal`) or dies while it waits, the barrier is broken for all who wait and all who come, until it is reset.
 */
export interface Barrier {
  readonly name: string;
  readonly parties: number;
  /** Arrives, and resolves when all have. `conflict` when the barrier is broken or reset meanwhile, or others gave another number. */
  arrive(options?: ArriveOptions): Promise<Passed>;
  describe(): Promise<{ readonly generation: number; readonly waiting: number; readonly broken: boolean }>;
  /** Begins a new generation; those who wait in the old one are rejected with `conflict`. */
  reset(): Promise<void>;
  /** Forgets everything about it. Only when nobody waits. */
  remove(): Promise<void>;
}

const partiesMax = 10_000;

export function barrier(engine: LeasingEngine & CountingEngine, name: string, options: BarrierOptions): Barrier {
  checkEngine("barrier()", engine, "leases", "keyValue");
  return new LeaseBarrier(engine, name, options);
}

class LeaseBarrier implements Barrier {
  readonly name: string;
  readonly parties: number;
  readonly #engine: LeasingEngine & CountingEngine;
  readonly #timeoutMs: number;
  readonly #record: BarrierRecord;
  readonly #presence: LeaseLocks<AcquireOptions>;
  readonly #presenceName: string;

  constructor(engine: LeasingEngine & CountingEngine, name: string, options: BarrierOptions) {
    const { parties, ttlMs, timeoutMs = 5_000 } = options;
    const what = `the barrier "${name}"`;
    if (!(Number.isSafeInteger(parties) && parties >= 1 && parties <= partiesMax)) {
      throw invalid(what, "parties", parties, `a whole number from 1 to ${partiesMax}`);
    }
    requireWatch(engine, what);
    this.name = name;
    this.parties = parties;
    this.#engine = engine;
    this.#timeoutMs = timeoutMs;
    const key = stateKey("barrier", name, engine.keyValue.capabilities.keyBytesMax);
    this.#record = new BarrierRecord(engine, key, name, parties);
    const share = { weight: 1, capacity: sharedCapacity };
    this.#presence = new LeaseLocks<AcquireOptions>(engine, "barrier", name, { ttlMs, timeoutMs }, () => share);
    this.#presenceName = leaseName("barrier", name, engine.leases.capabilities.nameBytesMax);
  }

  async arrive(options: ArriveOptions = {}): Promise<Passed> {
    const { signal, waitMs = Number.POSITIVE_INFINITY } = options;
    if (!isWait(waitMs)) throw invalid(this.#record.what, "waitMs", waitMs, "milliseconds from 0, or Infinity");
    using deadline = new Deadline(this.#engine.world.timers, waitMs, () => this.#late(waitMs), { signal });
    // Whoever waits holds a share, so that the others see it die.
    await using presence = await this.#orBreak(deadline, () =>
      this.#presence.acquire({ signal: deadline.signal, waitMs: Number.POSITIVE_INFINITY }),
    );
    const party = String(presence.token);
    const generation = await this.#orBreak(deadline, () =>
      this.#record.arrive(deadline, party, (state) => this.#requireWhole(state)),
    );
    const fate = await this.#fate(generation, deadline, presence);
    if (fate === "passed") return { generation };
    throw this.#brokenError(generation, fate === "reset" ? "it was reset" : "a party gave up or died");
  }

  async describe(): Promise<{ readonly generation: number; readonly waiting: number; readonly broken: boolean }> {
    using deadline = this.#soon();
    const { generation, arrived, broken } = await this.#record.read(deadline);
    return { generation, waiting: arrived.length, broken: broken !== undefined };
  }

  async reset(): Promise<void> {
    using deadline = this.#soon();
    const { generation } = await this.#record.read(deadline);
    await this.#record.change(deadline, (state) => (state.generation === generation ? withReset(state) : undefined));
  }

  async remove(): Promise<void> {
    using deadline = this.#soon();
    await this.#record.remove(deadline);
  }

  /** Whoever gives up while its arrival is on its way breaks the generation that is under way: the others wait for it in vain. */
  async #orBreak<Result>(deadline: Deadline, request: () => Promise<Result>): Promise<Result> {
    try {
      return await request();
    } catch (error) {
      if (deadline.ended) await this.#breakPresent().catch(() => {});
      throw error;
    }
  }

  async #breakPresent(): Promise<void> {
    using deadline = this.#soon();
    const { generation } = await this.#record.read(deadline);
    await this.#break(generation, "a party gave up");
  }

  async #fate(generation: number, deadline: Deadline, presence: Lock): Promise<Fate> {
    try {
      return await watchGeneration({
        engine: this.#engine,
        record: this.#record,
        presenceName: this.#presenceName,
        generation,
        ended: AbortSignal.any([deadline.signal, presence.signal]),
        bury: () => this.#bury(generation),
      });
    } catch (error) {
      // Whoever gives up breaks it, unless it was passed in the same moment. Without an engine to tell, the others see the share end.
      const state = await this.#break(generation, "a party gave up").catch(() => undefined);
      if (state !== undefined && fateOf(state, generation) === "passed") return "passed";
      throw error;
    }
  }

  /** Nobody passes a barrier at which somebody waits who is dead. */
  async #requireWhole(state: BarrierState): Promise<void> {
    if (state.broken !== undefined) throw this.#brokenError(state.generation, state.broken);
    if (!(await this.#hasDead(state))) return;
    await this.#break(state.generation, "a party died");
    throw this.#brokenError(state.generation, "a party died");
  }

  /** Breaks the generation if somebody who has arrived holds no share any more, by the engine's word of this moment. */
  async #bury(generation: number): Promise<void> {
    using deadline = this.#soon();
    const state = await this.#record.read(deadline);
    if (fateOf(state, generation) !== "waiting" || !(await this.#hasDead(state))) return;
    await this.#break(generation, "a party died");
  }

  async #hasDead({ arrived }: BarrierState): Promise<boolean> {
    if (arrived.length === 0) return false;
    const { holders } = await this.#engine.leases.describe(this.#presenceName);
    const alive = new Set(holders.map((holder) => String(holder.token)));
    return arrived.some((party) => !alive.has(party));
  }

  async #break(generation: number, broken: BrokenBy): Promise<BarrierState> {
    using deadline = this.#soon();
    return await this.#record.change(deadline, (state) =>
      fateOf(state, generation) === "waiting" ? withBreak(state, broken) : undefined,
    );
  }

  #soon(): Deadline {
    const forMs = this.#timeoutMs;
    return new Deadline(this.#engine.world.timers, forMs, () => unanswered(this.#record.what, forMs, undefined));
  }

  #late(waitMs: number): TenonError {
    return new TenonError(
      "timeout",
      `The barrier "${this.name}" was not reached by all ${this.parties} parties within ${waitMs} ms, and is broken now. Find out who is missing, then reset it.`,
      { fields: { name: this.name, parties: this.parties, waitMs } },
    );
  }

  #brokenError(generation: number, why: string): TenonError {
    return new TenonError(
      "conflict",
      `The barrier "${this.name}" is broken in generation ${generation}: ${why}. Undo what the parties have done for it, then reset it.`,
      { fields: { name: this.name, generation } },
    );
  }
}
