/** redlock on one server, with its own pauses between attempts, and as many attempts as it takes. */
import type { Redis } from "ioredis";
// @ts-expect-error Its package does not say where its types are.
import UntypedRedlock from "redlock";
import { lockLoop } from "../lock-loops.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { redisClient } from "../redis-clients.ts";

interface Redlock {
  acquire(names: readonly string[], durationMs: number): Promise<{ release(): Promise<unknown> }>;
}
const Redlock = UntypedRedlock as new (clients: readonly Redis[], settings: { readonly retryCount: number }) => Redlock;

export async function start({ port }: PeerOptions): Promise<Peer> {
  const client = await redisClient(port!);
  const redlock = new Redlock([client], { retryCount: -1 });
  return {
    async lock(contention, durationMs) {
      const open = (name: string) => async () => {
        const lock = await redlock.acquire([name], 30_000);
        await lock.release();
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
