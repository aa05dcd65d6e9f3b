/**
 * Tenon on a server, as a user would call it: one topic, 8 partitions. What is published has no key, since the bare clients' messages have none
 * either; the backlog has one of a thousand keys, whose order is kept.
 */
import { type ServerType, saleServers } from "../../examples/flash-sale/sale-servers.ts";
import type { Topic } from "../../src/messaging/index.ts";
import type { Peer, PeerOptions } from "../peer.ts";
import { messagingPeer, plain } from "../tenon-messaging.ts";

const CONNECT_MS_MAX = 10_000;

export async function start({ server, backlog }: PeerOptions): Promise<Peer> {
  const store = { ...server!, type: server!.type as ServerType };
  const driver = await saleServers[store.type].load();
  await driver.prepare(store, CONNECT_MS_MAX);
  const engine = await driver.open(store);
  let topics = 0;

  const withTopic = async <R>(measure: (orders: Topic<Uint8Array>) => Promise<R>): Promise<R> => {
    const name = `bench-${topics++}`;
    const orders = plain.open(engine, name);
    try {
      await orders.declare();
      const result = await measure(orders);
      await orders.close();
      return result;
    } finally {
      for (const topic of await engine.messages.topics()) await engine.messages.remove(topic);
    }
  };
  const parts = { backlog, keyed: { published: false, timed: false }, timed: true, settled: "by lag" } as const;
  return {
    ...messagingPeer(plain, withTopic, parts),
    async close() {
      await engine.close();
      await driver.remove(store);
    },
  };
}
