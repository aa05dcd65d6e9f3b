/** rate-limiter-flexible's limiter, a fixed window, with figures under which everything is allowed: in memory or, where there is a port, on Redis. */
import { RateLimiterMemory, RateLimiterRedis } from "rate-limiter-flexible";
import { closedLoop, decisionLoop, limiterKeys } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { emptyRedis, redisClient } from "../redis-clients.ts";

const rule = { points: 1e9, duration: 1 };

export async function start({ port }: PeerOptions): Promise<Peer> {
  return port === undefined ? inMemory() : onRedis(port);
}

function inMemory(): Peer {
  return {
    decide(keyCount, durationMs) {
      const limiter = new RateLimiterMemory(rule);
      const keys = limiterKeys(keyCount);
      return decisionLoop(durationMs, async (from, to) => {
        // It rejects when it refuses.
        for (let decision = from; decision < to; decision++) await limiter.consume(keys[decision % keyCount]!);
      });
    },
    async close() {},
  };
}

async function onRedis(port: number): Promise<Peer> {
  const client = await redisClient(port);
  return {
    async decide(keyCount, durationMs, inFlight) {
      const limiter = new RateLimiterRedis({ storeClient: client, ...rule });
      const keys = limiterKeys(keyCount);
      const rate = await closedLoop(inFlight!, durationMs, (n) => limiter.consume(keys[n % keyCount]!));
      await emptyRedis(port);
      return rate;
    },
    async close() {
      client.disconnect();
    },
  };
}
