/** NATS JetStream through its Node client: a file stream, publish with acknowledgement, a pull consumer with explicit acks. */
import { AckPolicy, jetstream, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { ConsumeClock } from "../consume-clock.ts";
import { BODIES, closedLoop, complete, measureLatency, readTimedBody, timedBody } from "../load.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const STREAM = "bench";
const SUBJECT = "bench.orders";
const CONSUMER = "workers";
const BUFFERED_MAX = 2_000;

export async function start({ port, backlog }: PeerOptions): Promise<Peer> {
  const connection = await connect({ servers: `127.0.0.1:${port}` });
  const manager = await jetstreamManager(connection);
  const client = jetstream(connection);
  const publish = (n: number) => client.publish(SUBJECT, BODIES[n % BODIES.length]!);

  const create = async () => {
    await manager.streams.add({ name: STREAM, subjects: [SUBJECT], storage: StorageType.File });
    await manager.consumers.add(STREAM, {
      durable_name: CONSUMER,
      ack_policy: AckPolicy.Explicit,
      max_ack_pending: -1,
    });
  };
  const remove = () => manager.streams.delete(STREAM);
  const unsettled = async () => {
    const { num_ack_pending, num_pending } = await manager.consumers.info(STREAM, CONSUMER);
    return num_ack_pending + num_pending;
  };

  return {
    async publish(inFlight, durationMs) {
      await create();
      try {
        return await closedLoop(inFlight, durationMs, publish);
      } finally {
        await remove();
      }
    },

    async consume() {
      await create();
      await complete(backlog, 1_024, publish);
      const consumer = await client.consumers.get(STREAM, CONSUMER);
      const clock = new ConsumeClock(backlog);
      const handle = async (_body: Uint8Array) => clock.handled();
      let handled = 0;
      const messages = await consumer.consume({ max_messages: BUFFERED_MAX });
      for await (const message of messages) {
        void handle(message.data).then(() => message.ack());
        if (++handled === backlog) break;
      }
      // Acks are not answered; the consumer's state says when they have all taken effect.
      while ((await unsettled()) > 0);
      const perSecond = clock.perSecond();
      await messages.close();
      await remove();
      return perSecond;
    },

    latency(offered, durationMs) {
      const open = async (handled: (slot: number, sentAt: number) => void) => {
        await create();
        const consumer = await client.consumers.get(STREAM, CONSUMER);
        const messages = await consumer.consume({
          max_messages: BUFFERED_MAX,
          callback: (message) => {
            const { slot, sentAt } = readTimedBody(message.data);
            handled(slot, sentAt);
            message.ack();
          },
        });
        return {
          send: (slot: number, sentAt: number) => client.publish(SUBJECT, timedBody(slot, sentAt)),
          close: async () => {
            await messages.close();
            await remove();
          },
        };
      };
      return measureLatency(open, offered, durationMs);
    },

    close: () => connection.close(),
  };
}
