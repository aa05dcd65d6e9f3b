/**
 * JetStream through its Node client: a file stream, each message published with its acknowledgement awaited; a pull consumer whose
 * messages are acknowledged many at once (AckPolicy.All), with the server's answer awaited. It keeps no order of keys across redeliveries and refuses no duplicates.
 */
import { AckPolicy, type JsMsg, jetstream, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Arrivals, barePeer, LANES } from "../bare-messaging.ts";
import type { Peer, PeerOptions } from "../peer.ts";

const CONSUMER = "workers";
const BUFFERED_MAX = 2_000;
/** A busy machine is slow, and not broken. */
const ANSWER_MS_MAX = 60_000;

export async function start({ server, backlog }: PeerOptions): Promise<Peer> {
  const { host, username, password } = new URL(server!.url);
  const connection = await connect({ servers: host, user: username, pass: password });
  const manager = await jetstreamManager(connection);
  const jetStream = jetstream(connection);
  const stream = `${server!.prefix}-bench`;
  const subjects = Array.from({ length: LANES }, (_, lane) => `${stream}.${lane}`);

  const client = {
    async withPlace<R>(measure: (place: undefined) => Promise<R>): Promise<R> {
      await manager.streams.add({ name: stream, subjects: [`${stream}.*`], storage: StorageType.File });
      const consumer = { durable_name: CONSUMER, ack_policy: AckPolicy.All, max_ack_pending: -1 };
      await manager.consumers.add(stream, consumer);
      try {
        return await measure(undefined);
      } finally {
        await manager.streams.delete(stream);
      }
    },

    publish: (_: undefined, n: number, body: Buffer) =>
      jetStream.publish(subjects[n % LANES]!, body, { timeout: ANSWER_MS_MAX }),

    async consume(_: undefined, concurrency: number, handle: (body: Uint8Array) => Promise<void>) {
      const arrivals = new Arrivals<JsMsg>(
        concurrency,
        ({ data }) => handle(data),
        (messages) => messages.at(-1)!.ackAck(),
      );
      const consumer = await jetStream.consumers.get(stream, CONSUMER);
      const callback = (message: JsMsg) => arrivals.add(message);
      const messages = await consumer.consume({ max_messages: BUFFERED_MAX, callback });
      return { settled: () => arrivals.settled(), stop: () => messages.close() };
    },
  };
  return { ...barePeer(client, backlog), close: () => connection.close() };
}
