/**
 * Kafka through @platformatic/kafka: 8 partitions, what gathers for a partition is produced as one batch with acks=all; consumed as a group of one, with
 * the offsets of what was handled committed. It keeps no order of keys across retries, and a failure holds back its whole partition.
 */
import { Admin, Consumer, type Message, type MessagesStream, Producer } from "@platformatic/kafka";
import { Arrivals, barePeer, Gatherer, LANES } from "../bare-messaging.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const BUFFERED_MAX = 2_000;
/** A fetch is decoded as a whole before its first message is handled; a few thousand of them. */
const FETCH_BYTES_MAX = 1024 * 1024;

interface Topic {
  readonly topic: string;
  readonly gatherer: Gatherer;
}

export async function start({ server, backlog }: PeerOptions): Promise<Peer> {
  const base = { clientId: "bench", bootstrapBrokers: [new URL(server!.url).host] };
  const admin = new Admin(base);
  const producer = new Producer(base);
  let topics = 0;

  const client = {
    async withPlace<R>(measure: (place: Topic) => Promise<R>): Promise<R> {
      const topic = `${server!.prefix}-${topics++}`;
      await admin.createTopics({ topics: [topic], partitions: LANES, replicas: 1 });
      await producer.metadata({ topics: [topic], forceUpdate: true });
      const gatherer = new Gatherer((partition, bodies) =>
        producer.send({ messages: bodies.map((value) => ({ topic, partition, value })), acks: -1 }),
      );
      try {
        return await measure({ topic, gatherer });
      } finally {
        await admin.deleteTopics({ topics: [topic] });
      }
    },

    publish: ({ gatherer }: Topic, _: number, body: Buffer) => gatherer.add(body),

    async consume({ topic }: Topic, concurrency: number, handle: (body: Buffer) => Promise<void>) {
      // The protocol of Kafka 4, as the former one waits three seconds for other members.
      const consumer = new Consumer({ ...base, groupId: topic, groupProtocol: "consumer" });
      const stream: MessagesStream<Buffer, Buffer, Buffer, Buffer> = await consumer.consume({
        topics: [topic],
        mode: "earliest",
        autocommit: false,
        maxWaitTime: 100,
        maxBytes: FETCH_BYTES_MAX,
        highWaterMark: BUFFERED_MAX,
      });
      const arrivals = new Arrivals<Message<Buffer, Buffer, Buffer, Buffer>>(
        concurrency,
        ({ value }) => handle(value),
        (messages) => {
          const last = new Map(messages.map(({ partition, offset }) => [partition, offset]));
          const offsets = [...last].map(([partition, offset]) => {
            return { topic, partition, offset: offset + 1n, leaderEpoch: 0 };
          });
          return consumer.commit({ offsets });
        },
      );
      stream.on("data", (message) => arrivals.add(message));
      return {
        settled: () => arrivals.settled(),
        async stop() {
          await stream.close();
          await consumer.close();
        },
      };
    },
  };
  return {
    ...barePeer(client, backlog),
    async close() {
      await producer.close();
      await admin.close();
    },
  };
}
