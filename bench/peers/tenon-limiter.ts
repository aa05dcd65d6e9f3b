/** Tenon's limiters, with figures under which everything is allowed: in the process's memory or, where there is a port, on Redis. */
import { limiter, localLimiter, type RateRule } from "tenon/traffic";
import { closedLoop, decisionLoop, limiterKeys } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { emptyRedis, redisEngine } from "../redis-clients.ts";

const rules: Record<RateRule["type"], RateRule> = {
  fixedWindow: { type: "fixedWindow", limit: 1e9, windowMs: 1_000 },
  slidingWindow: { type: "slidingWindow", limit: 1e9, windowMs: 1_000, cells: 10 },
  // Each instant is remembered: what is taken in this window must fit.
  slidingLog: { type: "slidingLog", limit: 1e6, windowMs: 10 },
  leakyBucket: { type: "leakyBucket", ratePerSecond: 1e9, queueMax: 1_000 },
  tokenBucket: { type: "tokenBucket", ratePerSecond: 1e9, burst: 1e9 },
};

export async function start({ limiter: type, port }: PeerOptions): Promise<Peer> {
  return port === undefined ? inMemory(rules[type!]) : onRedis(port, rules[type!]);
}

function inMemory(rule: RateRule): Peer {
  return {
    decide(keyCount, durationMs) {
      const limited = localLimiter(rule);
      const keys = limiterKeys(keyCount);
      return decisionLoop(durationMs, (from, to) => {
        for (let decision = from; decision < to; decision++) {
          if (!limited.tryTake(keys[decision % keyCount]!).allowed) throw new Error("a decision was refused");
        }
      });
    },
    async close() {},
  };
}

async function onRedis(port: number, rule: RateRule): Promise<Peer> {
  const engine = await redisEngine(port);
  // What an engine remembers of a sliding log is bounded: it refuses what is too much, which costs it about the same.
  const refuses = rule.type === "slidingLog";
  const limited = limiter(engine, "bench", refuses ? { ...rule, limit: 10_000 } : rule);
  return {
    async decide(keyCount, durationMs, inFlight) {
      const keys = limiterKeys(keyCount);
      const rate = await closedLoop(inFlight!, durationMs, async (n) => {
        const { allowed } = await limited.tryTake(keys[n % keyCount]!);
        if (!allowed && !refuses) throw new Error("a decision was refused");
      });
      await emptyRedis(port);
      return rate;
    },
    close: () => engine.close(),
  };
}
