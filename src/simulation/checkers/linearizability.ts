import { Violation } from "../system.ts";
import { ms } from "./instants.ts";
import { type CallEntry, OpenCalls } from "./open-calls.ts";
import type { Operation } from "./operation-history.ts";

/** What an object does when its operations come one after the other. States are never changed, only replaced. */
export interface SequentialModel<State, Input, Output> {
  readonly initial: State;
  /**
   * The states in which the object may be after the operation, if it answered that; none when it could not have answered it. `operation.output` is `undefined` when
   * nobody knows the answer: then the states in which it may be after whatever it did.
   */
  apply(state: State, operation: Operation<Input, Output>): readonly State[];
  /** Equal for equal states. */
  keyOf(state: State): string;
  /** Groups of operations that have nothing to do with one another, so that each is checked alone. One group when left out. */
  partition?(operations: readonly Operation<Input, Output>[]): readonly (readonly Operation<Input, Output>[])[];
  /** Whether the operation can change the state at all: one that cannot, and whose answer nobody knows, is left out. Yes when left out. */
  changes?(input: Input): boolean;
  /** Such as `get of "a" (answered "7")`. */
  describe(operation: Operation<Input, Output>): string;
  /** Such as `"a" is "7" in version 3`; what the state knows of what the operation is about. */
  describeState?(state: State, operation: Operation<Input, Output>): string;
}

export type LinearizabilityVerdict<Input, Output> =
  | { readonly type: "linearizable" }
  | {
      readonly type: "violated";
      /** The shortest prefix of the history that has no order ends with this operation's return. */
      readonly operation: Operation<Input, Output>;
      readonly sentence: string;
    }
  /** The search was given up; nothing is known. */
  | { readonly type: "undecided"; readonly sentence: string };

export interface LinearizabilityOptions {
  /** The search is given up after so many steps; 1,000,000 when left out. */
  readonly stepsMax?: number | undefined;
}

/**
 * Whether there is one order of the operations, each between its call and its return, in which the model answers what was answered. The search of Wing and Gong ("Testing and
 * Verifying Concurrent Objects", 1993) with Lowe's memory of what was tried ("Testing for Linearizability", 2017).
 *
 * An operation whose outcome nobody knows may be placed anywhere after its call, or nowhere.
 */
export function checkLinearizable<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  options: LinearizabilityOptions = {},
): LinearizabilityVerdict<Input, Output> {
  const stepsMax = options.stepsMax ?? 1_000_000;
  const known = operations.filter((each) => each.returned !== undefined || model.changes?.(each.input) !== false);
  for (const group of model.partition?.(known) ?? [known]) {
    const verdict = new Search(model, group, stepsMax).run();
    if (verdict.type !== "linearizable") return verdict;
  }
  return { type: "linearizable" };
}

/** Throws a `Violation` when there is no such order, and also when none was found within the bound, which says so. */
export function requireLinearizable<State, Input, Output>(
  model: SequentialModel<State, Input, Output>,
  operations: readonly Operation<Input, Output>[],
  options: LinearizabilityOptions = {},
): void {
  const verdict = checkLinearizable(model, operations, options);
  if (verdict.type !== "linearizable") throw new Violation(verdict.sentence);
}

/** A point of the search: the state, and what may come next in the order. */
interface Point<State, Input, Output> {
  readonly state: State;
  readonly candidates: readonly CallEntry<Input, Output>[];
  /** Of those, the one that is looked at. */
  at: number;
  /** States to which it leads that were not tried yet; `undefined` before the model was asked. */
  states: State[] | undefined;
}

class Search<State, Input, Output> {
  readonly #model: SequentialModel<State, Input, Output>;
  readonly #stepsMax: number;
  readonly #calls: OpenCalls<Input, Output>;
  readonly #tried = new Set<string>();
  #steps = 0;
  /** The return that came last in the history of all that could not be passed, and the state that it met. */
  #blocked: { readonly call: CallEntry<Input, Output>; readonly state: State } | undefined;

  constructor(
    model: SequentialModel<State, Input, Output>,
    operations: readonly Operation<Input, Output>[],
    stepsMax: number,
  ) {
    this.#model = model;
    this.#stepsMax = stepsMax;
    this.#calls = new OpenCalls(operations);
  }

  run(): LinearizabilityVerdict<Input, Output> {
    const points = [this.#pointIn(this.#model.initial)];
    while (this.#calls.firstReturn !== undefined) {
      if (this.#steps > this.#stepsMax) return this.#undecided();
      const point = points.at(-1)!;
      const next = this.#step(point);
      if (next !== undefined) points.push(next);
      else if (point.at === point.candidates.length) {
        this.#note(point);
        points.pop();
        const before = points.at(-1);
        if (before === undefined) return this.#violated();
        this.#calls.putBack(before.candidates[before.at]!);
      }
    }
    return { type: "linearizable" };
  }

  #pointIn(state: State): Point<State, Input, Output> {
    return { state, candidates: this.#calls.candidates(), at: 0, states: undefined };
  }

  /** Places the point's candidate next in the order, if that leads to somewhere new; else turns to the next candidate. */
  #step(point: Point<State, Input, Output>): Point<State, Input, Output> | undefined {
    const call = point.candidates[point.at];
    if (call === undefined) return undefined;
    this.#steps += 1;
    point.states ??= [...this.#model.apply(point.state, call.operation)];
    this.#calls.takeOut(call);
    for (let state = point.states.shift(); state !== undefined; state = point.states.shift()) {
      if (this.#isNew(call, state, point.state)) return this.#pointIn(state);
    }
    this.#calls.putBack(call);
    point.at += 1;
    point.states = undefined;
    return undefined;
  }

  #isNew({ operation }: CallEntry<Input, Output>, state: State, before: State): boolean {
    const key = this.#model.keyOf(state);
    // Without a known outcome and without an effect it may as well have never happened.
    if (operation.returned === undefined && key === this.#model.keyOf(before)) return false;
    const seen = this.#calls.placedKey + key;
    if (this.#tried.has(seen)) return false;
    this.#tried.add(seen);
    return true;
  }

  #note({ state }: Point<State, Input, Output>): void {
    const call = this.#calls.firstReturn!;
    if (this.#blocked === undefined || call.operation.returned! > this.#blocked.call.operation.returned!) {
      this.#blocked = { call, state };
    }
  }

  #violated(): LinearizabilityVerdict<Input, Output> {
    const { call, state } = this.#blocked!;
    const { operation } = call;
    const met = this.#model.describeState?.(state, operation);
    const sentence =
      `${this.#told(operation)} has no place in any order of what was called before it returned` +
      (met === undefined ? "" : `; one of the orders leads to ${met}`);
    return { type: "violated", operation, sentence };
  }

  #undecided(): LinearizabilityVerdict<Input, Output> {
    const { count } = this.#calls;
    const blocked = this.#blocked;
    const last =
      blocked === undefined ? "" : `; the furthest that it came is ${this.#told(blocked.call.operation)} not included`;
    const sentence = `whether ${count} operations have an order could not be decided within ${this.#stepsMax} steps${last}`;
    return { type: "undecided", sentence };
  }

  #told(operation: Operation<Input, Output>): string {
    const { client, calledAt, returnedAt } = operation;
    return `${this.#model.describe(operation)} by ${client}, called at ${ms(calledAt)} and returned at ${ms(returnedAt!)},`;
  }
}
