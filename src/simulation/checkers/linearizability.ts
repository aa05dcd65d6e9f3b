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
  /** Whether the operation, with this answer, can change any state. What cannot is placed as early as it fits, and left out when nobody knows its answer. Yes when left out. */
  changes?(operation: Operation<Input, Output>): boolean;
  /**
   * Where answers tell an order, such as the versions of commits: operations with a rank take effect in the order of their ranks, no two of which are equal. It spares the search what cannot be.
   */
  rankOf?(operation: Operation<Input, Output>): bigint | undefined;
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
  const known = operations.filter((each) => each.returned !== undefined || model.changes?.(each) !== false);
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
  /** For each candidate: the states to which it leads that were not tried yet; `undefined` before the model was asked. */
  readonly states: (State[] | undefined)[];
}

class Search<State, Input, Output> {
  readonly #model: SequentialModel<State, Input, Output>;
  readonly #stepsMax: number;
  readonly #calls: OpenCalls<Input, Output>;
  /** By what has a place and the state: which operations of unknown outcome had a place, too. */
  readonly #tried = new Map<string, bigint[]>();
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
    this.#calls = new OpenCalls(operations, (operation) => model.rankOf?.(operation));
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
    const candidates = this.#calls.candidates();
    const states: (State[] | undefined)[] = [];
    const key = this.#model.keyOf(state);
    for (const call of candidates) {
      if (call.operation.returned === undefined) break;
      const after = this.#apply(state, call);
      const changes = this.#model.changes?.(call.operation) !== false;
      // What never changes anything may as well come now: whatever follows is the same without it.
      if (!changes && after.length === 1 && this.#model.keyOf(after[0]!) === key) {
        return { state, candidates: [call], at: 0, states: [after] };
      }
      states.push(after);
    }
    return { state, candidates, at: 0, states };
  }

  #apply(state: State, { operation }: CallEntry<Input, Output>): State[] {
    this.#steps += 1;
    return [...this.#model.apply(state, operation)];
  }

  /** Places the point's candidate next in the order, if that leads to somewhere new; else turns to the next candidate. */
  #step(point: Point<State, Input, Output>): Point<State, Input, Output> | undefined {
    const call = point.candidates[point.at];
    if (call === undefined) return undefined;
    point.states[point.at] ??= this.#apply(point.state, call);
    const states = point.states[point.at]!;
    this.#calls.takeOut(call);
    for (let state = states.shift(); state !== undefined; state = states.shift()) {
      if (this.#isNew(call, state, point.state)) return this.#pointIn(state);
    }
    this.#calls.putBack(call);
    point.at += 1;
    return undefined;
  }

  #isNew({ operation }: CallEntry<Input, Output>, state: State, before: State): boolean {
    const key = this.#model.keyOf(state);
    // Without a known outcome and without an effect it may as well have never happened.
    if (operation.returned === undefined && key === this.#model.keyOf(before)) return false;
    const met = this.#calls.placedKey + key;
    const placed = this.#calls.unknownPlaced;
    const tried = this.#tried.get(met);
    if (tried === undefined) {
      this.#tried.set(met, [placed]);
      return true;
    }
    // Who got there with fewer of the unknown ones could do all that can be done from here.
    if (tried.some((fewer) => (fewer & placed) === fewer)) return false;
    tried.push(placed);
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
