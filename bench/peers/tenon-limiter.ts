/** Tenon's limiters in the process's memory, with figures under which everything is allowed. */
import { localLimiter, type RateRule } from "tenon/traffic";
import { decisionLoop, limiterKeys } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const rules: Record<RateRule["type"], RateRule> = {
  fixedWindow: { type: "fixedWindow", limit: 1e9, windowMs: 1_000 },
  slidingWindow: { type: "slidingWindow", limit: 1e9, windowMs: 1_000, cells: 10 },
  // Each instant is remembered: what is taken in this window must fit.
  slidingLog: { type: "slidingLog", limit: 1e6, windowMs: 10 },
  leakyBucket: { type: "leakyBucket", ratePerSecond: 1e9, queueMax: 1_000 },
  tokenBucket: { type: "tokenBucket", ratePerSecond: 1e9, burst: 1e9 },
};

export async function start({ limiter: type }: PeerOptions): Promise<Peer> {
  return {
    decide(keyCount, durationMs) {
      const limiter = localLimiter(rules[type!]);
      const keys = limiterKeys(keyCount);
      return decisionLoop(durationMs, (from, to) => {
        for (let decision = from; decision < to; decision++) {
          if (!limiter.tryTake(keys[decision % keyCount]!).allowed) throw new Error("a decision was refused");
        }
      });
    },
    async close() {},
  };
}
