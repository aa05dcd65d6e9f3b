/**
 * RabbitMQ through amqplib: 8 durable quorum queues, persistent messages, each confirmed; consumed with a prefetch, acknowledged many at once. It keeps no
 * order of keys across redeliveries, gives no positions, refuses no duplicates, and an ack has no answer: nobody learns whether it was stored.
 */
import { type ConsumeMessage, connect } from "amqplib";
import { Arrivals, barePeer, LANES } from "../bare-messaging.ts";
import type { Peer, PeerOptions } from "../peer.ts";

/** For each queue. */
const PREFETCH = 256;

export async function start({ server, backlog }: PeerOptions): Promise<Peer> {
  const connection = await connect(`${server!.url}?heartbeat=30`);
  const publisher = await connection.createConfirmChannel();
  const queues = Array.from({ length: LANES }, (_, lane) => `${server!.prefix}-bench-${lane}`);

  const client = {
    async withPlace<R>(measure: (place: undefined) => Promise<R>): Promise<R> {
      for (const queue of queues) {
        await publisher.assertQueue(queue, { durable: true, arguments: { "x-queue-type": "quorum" } });
      }
      try {
        return await measure(undefined);
      } finally {
        for (const queue of queues) await publisher.deleteQueue(queue);
      }
    },

    publish: (_: undefined, n: number, body: Buffer) =>
      new Promise<void>((resolve, reject) => {
        publisher.publish("", queues[n % LANES]!, body, { persistent: true }, (error) =>
          error === null ? resolve() : reject(error),
        );
      }),

    async consume(_: undefined, concurrency: number, handle: (body: Buffer) => Promise<void>) {
      const channel = await connection.createChannel();
      await channel.prefetch(PREFETCH);
      const arrivals = new Arrivals<ConsumeMessage>(
        concurrency,
        ({ content }) => handle(content),
        async (messages) => channel.ack(messages.at(-1)!, true),
      );
      for (const queue of queues) await channel.consume(queue, (message) => message !== null && arrivals.add(message));
      return { settled: () => arrivals.settled(), stop: () => channel.close() };
    },
  };
  return { ...barePeer(client, backlog), close: () => connection.close() };
}
