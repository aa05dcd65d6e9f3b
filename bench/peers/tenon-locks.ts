/** Tenon's mutex on Redis: fair, with a fencing token, renewed while it is held. */
import { mutex } from "tenon/coordination";
import { lockLoop } from "../lock-loops.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { emptyRedis, redisEngine } from "../redis-clients.ts";

export async function start({ port }: PeerOptions): Promise<Peer> {
  const engine = await redisEngine(port!);
  return {
    async lock(contention, durationMs) {
      const open = (name: string) => {
        const lock = mutex(engine, name, { ttlMs: 30_000, waitMs: 60_000 });
        return async () => {
          const held = await lock.acquire();
          await held.release();
        };
      };
      const rate = await lockLoop(contention, durationMs, open);
      await emptyRedis(port!);
      return rate;
    },
    close: () => engine.close(),
  };
}
