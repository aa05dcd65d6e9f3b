/** rate-limiter-flexible's limiter in memory, a fixed window, with figures under which everything is allowed. */
import { RateLimiterMemory } from "rate-limiter-flexible";
import { decisionLoop, limiterKeys } from "../load.ts";
import type { Peer } from "../peer.ts";

export async function start(): Promise<Peer> {
  return {
    decide(keyCount, durationMs) {
      const limiter = new RateLimiterMemory({ points: 1e9, duration: 1 });
      const keys = limiterKeys(keyCount);
      return decisionLoop(durationMs, async (from, to) => {
        // It rejects when it refuses.
        for (let decision = from; decision < to; decision++) await limiter.consume(keys[decision % keyCount]!);
      });
    },
    async close() {},
  };
}
