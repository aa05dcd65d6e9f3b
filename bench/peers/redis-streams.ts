/** Redis Streams through ioredis with auto-pipelining: XADD; XREADGROUP 1,000 at a time, one XACK for what was read. */
import { Redis } from "ioredis";
import { ConsumeClock } from "../consume-clock.ts";
import { BODIES, closedLoop, complete, KEYS, measureLatency, readTimedBody, timedBody } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const STREAM = "bench";
const GROUP = "workers";
const READ_COUNT = 1_000;

type Entries = [id: Buffer, fields: Buffer[]][];

export async function start({ port, backlog }: PeerOptions): Promise<Peer> {
  const options = { host: "127.0.0.1", port: port! };
  const redis = new Redis({ ...options, enableAutoPipelining: true });
  const reader = new Redis(options);
  await redis.ping();

  const add = (n: number) => redis.xadd(STREAM, "*", "k", KEYS[n % KEYS.length]!, "b", BODIES[n % BODIES.length]!);
  const empty = () => redis.flushall();
  const createGroup = () => redis.xgroup("CREATE", STREAM, GROUP, "0", "MKSTREAM");
  const read = async (): Promise<Entries> => {
    const answer = (await reader.callBuffer(
      ...(["XREADGROUP", "GROUP", GROUP, "member", "COUNT", READ_COUNT] as const),
      ...(["BLOCK", 100, "STREAMS", STREAM, ">"] as const),
    )) as [Buffer, Entries][] | null;
    return answer?.[0]?.[1] ?? [];
  };

  return {
    async publish(inFlight, durationMs) {
      try {
        return await closedLoop(inFlight, durationMs, add);
      } finally {
        await empty();
      }
    },

    async consume() {
      await createGroup();
      await complete(backlog, 5_000, add);
      const clock = new ConsumeClock(backlog);
      const handle = async (_body: Buffer) => clock.handled();
      let handled = 0;
      let acknowledged = Promise.resolve();
      while (handled < backlog) {
        const entries = await read();
        await Promise.all(entries.map(([, fields]) => handle(fields[3]!)));
        handled += entries.length;
        // The next batch is read while this one's acknowledgement is under way.
        const acknowledge = redis.xack(STREAM, GROUP, ...entries.map(([id]) => id)).then(() => {});
        acknowledged = acknowledged.then(() => acknowledge);
      }
      await acknowledged;
      const perSecond = clock.perSecond();
      await empty();
      return perSecond;
    },

    latency(offered, durationMs) {
      const open = async (handled: (slot: number, sentAt: number) => void) => {
        await createGroup();
        let running = true;
        const consume = async () => {
          while (running) {
            const entries = await read();
            for (const [, fields] of entries) {
              const { slot, sentAt } = readTimedBody(fields[3]!);
              handled(slot, sentAt);
            }
            if (entries.length > 0) await redis.xack(STREAM, GROUP, ...entries.map(([id]) => id));
          }
        };
        const consuming = consume();
        return {
          send: (slot: number, sentAt: number) =>
            redis.xadd(STREAM, "*", "k", KEYS[slot % KEYS.length]!, "b", timedBody(slot, sentAt)),
          close: async () => {
            running = false;
            await consuming;
            await empty();
          },
        };
      };
      return measureLatency(open, offered, durationMs);
    },

    async close() {
      redis.disconnect();
      reader.disconnect();
    },
  };
}
