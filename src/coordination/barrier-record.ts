import { TenonError } from "../contracts/errors.ts";
import type { KeyValueEntry } from "../contracts/key-value.ts";
import type { CountingEngine } from "./api.ts";
import { type BarrierState, stateOf, withArrival } from "./barrier-state.ts";
import type { Deadline } from "./deadline.ts";
import { putText, repeated, statesOf } from "./key-state.ts";

/** A barrier's state in its key. */
export class BarrierRecord {
  readonly what: string;
  readonly #engine: CountingEngine;
  readonly #key: string;
  readonly #name: string;
  readonly #parties: number;

  constructor(engine: CountingEngine, key: string, name: string, parties: number) {
    this.#engine = engine;
    this.#key = key;
    this.#name = name;
    this.#parties = parties;
    this.what = `the barrier "${name}"`;
  }

  read(deadline: Deadline): Promise<BarrierState> {
    return repeated(this.#engine, this.what, deadline, async () => this.#state(await this.#entry()));
  }

  async *states(deadline: Deadline): AsyncGenerator<BarrierState, never, undefined> {
    const entries = statesOf(this.#engine, this.#key, deadline);
    for (;;) {
      const { value } = await entries.next();
      yield this.#state(value);
    }
  }

  /**
   * Changes the state to what `next` makes of it; `undefined` leaves it. `next` is asked again when somebody else was faster and when a reply was lost:
   * it must know its own change. Answers the state then.
   */
  change(deadline: Deadline, next: (state: BarrierState) => BarrierState | undefined): Promise<BarrierState> {
    return repeated(this.#engine, this.what, deadline, async () => {
      for (;;) {
        const entry = await this.#entry();
        const state = this.#state(entry);
        const changed = next(state);
        if (changed === undefined) return state;
        if (await this.#write(entry, changed)) return changed;
      }
    });
  }

  /** Records the party in the present generation, once, and answers which one it is. `check` refuses; it is asked before each attempt. */
  arrive(deadline: Deadline, party: string, check: (state: BarrierState) => Promise<void>): Promise<number> {
    /** Where the arrival may have been recorded by a request whose reply was lost. */
    let uncertain: number | undefined;
    return repeated(this.#engine, this.what, deadline, async () => {
      for (;;) {
        const entry = await this.#entry();
        const state = this.#state(entry);
        if (uncertain !== undefined && this.#hasArrived(state, uncertain, party)) return uncertain;
        await check(state);
        uncertain = state.generation;
        if (await this.#write(entry, withArrival(state, party))) return state.generation;
        uncertain = undefined;
      }
    });
  }

  async remove(deadline: Deadline): Promise<void> {
    const { keyValue } = this.#engine;
    await repeated(this.#engine, this.what, deadline, () => keyValue.commit([{ type: "delete", key: this.#key }]));
  }

  #hasArrived(state: BarrierState, generation: number, party: string): boolean {
    if (state.generation === generation) return state.arrived.includes(party);
    if (state.generation === generation + 1) return state.passed.includes(party);
    throw new TenonError(
      "conflict",
      `Whether ${this.what} was reached in generation ${generation} is not known: the reply was lost, and other generations have ended since. Decide by what the parties have done.`,
      { outcome: "applied", fields: { name: this.#name, generation } },
    );
  }

  async #entry(): Promise<KeyValueEntry | undefined> {
    const [entry] = await this.#engine.keyValue.get([this.#key]);
    return entry;
  }

  #state(entry: KeyValueEntry | undefined): BarrierState {
    return stateOf(entry, this.#name, this.#parties);
  }

  async #write(entry: KeyValueEntry | undefined, state: BarrierState): Promise<boolean> {
    const condition = entry === undefined ? { ifAbsent: true as const } : { ifVersion: entry.version };
    const result = await this.#engine.keyValue.commit([putText(this.#key, JSON.stringify(state), { condition })]);
    return result.committed;
  }
}
