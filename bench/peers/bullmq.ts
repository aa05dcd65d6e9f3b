/** BullMQ as its documentation sets it up: one queue, one worker, jobs removed when they are done. */
import { Queue, Worker } from "bullmq";
import { Redis } from "ioredis";
import { ConsumeClock } from "../consume-clock.ts";
import { closedLoop, complete, measureLatency, ORDERS, type Order, timedOrder } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const CONCURRENCY = 200;
const QUEUE = "bench";
const JOB = { removeOnComplete: true, removeOnFail: true };

export async function start({ port, backlog }: PeerOptions): Promise<Peer> {
  const connection = { host: "127.0.0.1", port: port!, maxRetriesPerRequest: null };
  const redis = new Redis(connection);
  const queue = new Queue<Order>(QUEUE, { connection });
  await queue.waitUntilReady();

  const empty = async () => {
    await redis.flushall();
  };
  const worker = async (handle: (order: Order) => Promise<void>): Promise<Worker<Order>> => {
    const made = new Worker<Order>(QUEUE, (job) => handle(job.data), {
      connection,
      concurrency: CONCURRENCY,
      autorun: false,
    });
    await made.waitUntilReady();
    return made;
  };

  return {
    async publish(inFlight, durationMs) {
      try {
        return await closedLoop(inFlight, durationMs, (n) => queue.add("order", ORDERS[n % ORDERS.length]!, JOB));
      } finally {
        await empty();
      }
    },

    async consume() {
      await complete(backlog / 500, 8, (n) =>
        queue.addBulk(
          Array.from({ length: 500 }, (_, i) => ({ name: "order", data: ORDERS[(n * 500 + i) % 1_000]!, opts: JOB })),
        ),
      );
      const consumer = await worker(async () => {});
      const clock = new ConsumeClock(backlog);
      const failed = new Promise<never>((_, reject) => {
        consumer.on("completed", () => clock.handled());
        consumer.on("failed", (_, error) => reject(error));
        consumer.on("error", reject);
      });
      consumer.run().catch(() => {});
      await Promise.race([clock.everyHandled, failed]);
      const perSecond = clock.perSecond();
      await consumer.close();
      await empty();
      return perSecond;
    },

    latency(offered, durationMs) {
      const open = async (handled: (slot: number, sentAt: number) => void) => {
        const consumer = await worker(async (order) => handled(order.slot!, order.sentAt!));
        consumer.run().catch(() => {});
        return {
          send: (slot: number, sentAt: number) => queue.add("order", timedOrder(slot, sentAt), JOB),
          close: async () => {
            await consumer.close();
            await empty();
          },
        };
      };
      return measureLatency(open, offered, durationMs);
    },

    async close() {
      await queue.close();
      redis.disconnect();
    },
  };
}
