import { TenonError } from "../contracts/errors.ts";
import type { KeyValueEntry } from "../contracts/key-value.ts";
import { textOf } from "./key-state.ts";

/** What everybody agrees on, in one key that is changed on condition of its version. */
export interface BarrierState {
  readonly parties: number;
  readonly generation: number;
  /** The holders of those who wait in this generation. */
  readonly arrived: readonly string[];
  /** Why nobody can pass any more, until it is reset. */
  readonly broken: BrokenBy | undefined;
  /** Those who passed last, so that one whose reply was lost finds itself. */
  readonly passed: readonly string[];
  /** The latest generations that were ended by a reset; everything else that has ended was passed. */
  readonly resets: readonly number[];
}

export type BrokenBy = "a party gave up" | "a party died";

/** What has become of an arrival in a generation. */
export type Fate = "waiting" | "passed" | "broken" | "reset";

const resetsKept = 100;

export function stateOf(entry: KeyValueEntry | undefined, name: string, parties: number): BarrierState {
  if (entry === undefined) {
    return { parties, generation: 0, arrived: [], broken: undefined, passed: [], resets: [] };
  }
  const state = JSON.parse(textOf(entry)) as BarrierState;
  if (state.parties === parties) return state;
  throw new TenonError(
    "conflict",
    `The barrier "${name}" was made for ${state.parties} parties, not ${parties}. Give everybody the same number, or the barrier another name.`,
    { fields: { name, parties, theirs: state.parties } },
  );
}

/** The last party to arrive ends the generation. */
export function withArrival(state: BarrierState, party: string): BarrierState {
  const arrived = [...state.arrived, party];
  if (arrived.length < state.parties) return { ...state, arrived };
  return { ...state, generation: state.generation + 1, arrived: [], passed: arrived };
}

export function withBreak(state: BarrierState, broken: BrokenBy): BarrierState {
  return { ...state, broken };
}

/** A new generation; those who wait in this one do not pass. */
export function withReset(state: BarrierState): BarrierState {
  return {
    ...state,
    generation: state.generation + 1,
    arrived: [],
    broken: undefined,
    passed: [],
    resets: [...state.resets, state.generation].slice(-resetsKept),
  };
}

export function fateOf(state: BarrierState, generation: number): Fate {
  if (state.generation === generation) return state.broken === undefined ? "waiting" : "broken";
  return state.resets.includes(generation) ? "reset" : "passed";
}
