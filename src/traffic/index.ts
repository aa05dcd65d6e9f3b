export type { ConcurrencyRule, RateDecision, RateRule } from "../contracts/rates.ts";
export {
  type ConcurrencyLimiter,
  type ConcurrencyLimiterOptions,
  concurrencyLimiter,
  type Permit,
} from "./concurrency.ts";
export { type Limiter, limiter } from "./limiter.ts";
export { type LocalConcurrencyLimiter, type LocalPermit, localConcurrencyLimiter } from "./local-concurrency.ts";
export { type LocalLimiter, type LocalLimiterOptions, localLimiter } from "./local-limiter.ts";
export type { RatesEngine } from "./shared-key.ts";
export type { TakeOptions, WaitOptions } from "./waiting.ts";
