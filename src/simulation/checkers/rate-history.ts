import type { ConcurrencyRule, RateDecision, RateEngine, RateRule } from "../../contracts/rates.ts";
import { type Operation, OperationHistory } from "./operation-history.ts";

export type RateInput =
  | { readonly type: "decide"; readonly key: string; readonly rule: RateRule; readonly count: number }
  | { readonly type: "enter"; readonly key: string; readonly rule: ConcurrencyRule; readonly permit: string }
  | { readonly type: "leave"; readonly key: string; readonly rule: ConcurrencyRule; readonly permit: string }
  | { readonly type: "reset"; readonly key: string; readonly rule: RateRule | ConcurrencyRule };

/** `undefined`: it was done, and there was nothing to decide. */
export interface RateOutput {
  readonly decision: RateDecision | undefined;
}

export type RateOperation = Operation<RateInput, RateOutput>;
export type RateHistory = OperationHistory<RateInput, RateOutput>;

/** `now`: virtual ms. */
export function rateHistory(now: () => number): RateHistory {
  return new OperationHistory(now);
}

/** The same rates, with every call in the history. */
export function recordRates(rates: RateEngine, history: RateHistory, client: string): RateEngine {
  const decided = async (input: RateInput, call: () => Promise<RateDecision>): Promise<RateDecision> => {
    const { decision } = await history.record(client, input, async () => ({ decision: await call() }));
    return decision!;
  };
  const done = async (input: RateInput, call: () => Promise<void>): Promise<void> => {
    await history.record(client, input, async () => {
      await call();
      return { decision: undefined };
    });
  };
  return {
    capabilities: rates.capabilities,
    decide: (key, rule, count) => decided({ type: "decide", key, rule, count }, () => rates.decide(key, rule, count)),
    enter: (key, rule, permit) => decided({ type: "enter", key, rule, permit }, () => rates.enter(key, rule, permit)),
    leave: (key, rule, permit) => done({ type: "leave", key, rule, permit }, () => rates.leave(key, rule, permit)),
    reset: (key, rule) => done({ type: "reset", key, rule }, () => rates.reset(key, rule)),
  };
}
