/** The floor of locks on Redis: SET with NX and PX, and a script that deletes what is still one's own. No token, no queue, no renewal. */
import { randomUUID } from "node:crypto";
import { lockLoop } from "../lock-loops.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { redisClient } from "../redis-clients.ts";

const COMPARE_AND_DELETE = "return redis.call('GET', KEYS[1]) == ARGV[1] and redis.call('DEL', KEYS[1])";

export async function start({ port }: PeerOptions): Promise<Peer> {
  const client = await redisClient(port!);
  const sha = (await client.script("LOAD", COMPARE_AND_DELETE)) as string;
  return {
    async lock(contention, durationMs) {
      if (contention.locks !== "own") throw new Error("nobody waits for a bare lock");
      const open = (name: string) => async () => {
        const holder = randomUUID();
        if ((await client.set(name, holder, "PX", 30_000, "NX")) !== "OK")
          throw new Error("somebody else has the lock");
        await client.evalsha(sha, 1, name, holder);
      };
      const rate = await lockLoop(contention, durationMs, open);
      await client.flushall();
      return rate;
    },
    async close() {
      client.disconnect();
    },
  };
}
