import type { ValidRequest } from "../../../contracts/lease-requests.ts";
import type { LeaseState, StateAnswer } from "../../shared/leases/lease-state.ts";

/** What is asked of a name, as data: it is stored, and carried out by whoever reads it. */
export type Step =
  | { readonly type: "acquire"; readonly request: StoredRequest; readonly waits: boolean; readonly patienceMs: number }
  | { readonly type: "renew"; readonly holder: string; readonly token: number; readonly ttlMs: number }
  | { readonly type: "release"; readonly holder: string; readonly placeOnly: boolean };

export type StoredRequest = Omit<ValidRequest, "waitMs">;

export interface StepAnswers {
  readonly acquire: StateAnswer;
  /** `false`: the lease is lost. */
  readonly renew: boolean;
  readonly release: undefined;
}

export type StepAnswer = StepAnswers[Step["type"]];

/** One change of a node: when it was made by the leader's clock, and its number. */
export interface Change {
  readonly change: number;
  readonly changedAt: number;
}

export interface Taken {
  /** Of the steps that were taken: those before the second one that would have been granted something. */
  readonly answers: readonly StepAnswer[];
  /** Something is held or waited for otherwise than before. */
  readonly isChange: boolean;
}

/**
 * Takes the steps at one time. A change has one number, which is the token of one grant; so what follows on the first grant is taken until another one would be due.
 * Must do for ever what it does today, as must `LeaseState`, for every process makes the same of what is stored: when either changes, the record's version does.
 */
export function takeSteps(state: LeaseState, steps: readonly Step[], { change, changedAt }: Change): Taken {
  const answers: StepAnswer[] = [];
  let isChange = false;
  let isGranted = false;
  for (const step of steps) {
    const grants = step.type === "acquire" && state.grants({ ...step.request, waitMs: 0 }, changedAt);
    if (grants && isGranted) break;
    isGranted ||= grants;
    if (step.type === "acquire") {
      const answer = acquire(state, step, changedAt, change);
      isChange ||= answer.type === "granted" || answer.type === "waiting";
      answers.push(answer);
    } else if (step.type === "renew") {
      const isRenewed = state.renew(step.holder, step.token, step.ttlMs, changedAt);
      isChange ||= isRenewed;
      answers.push(isRenewed);
    } else {
      isChange ||= state.knows(step.holder, changedAt);
      state.release(step.holder, step.placeOnly, changedAt);
      answers.push(undefined);
    }
  }
  return { answers, isChange };
}

function acquire(
  state: LeaseState,
  { request, waits, patienceMs }: Step & { readonly type: "acquire" },
  now: number,
  change: number,
): StateAnswer {
  return state.acquire({ ...request, waitMs: 0 }, { waits, channel: "", patienceMs, token: () => change }, now);
}
