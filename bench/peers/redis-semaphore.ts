/** redis-semaphore's mutex, with its own pauses between attempts, renewed while it is held. */
import { Mutex } from "redis-semaphore";
import { lockLoop } from "../lock-loops.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { redisClient } from "../redis-clients.ts";

export async function start({ port }: PeerOptions): Promise<Peer> {
  const client = await redisClient(port!);
  return {
    async lock(contention, durationMs) {
      const open = (name: string) => async () => {
        const mutex = new Mutex(client, name, { lockTimeout: 30_000, acquireTimeout: 60_000 });
        await mutex.acquire();
        await mutex.release();
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
