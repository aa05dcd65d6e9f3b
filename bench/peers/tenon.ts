/**
 * Tenon as a user would call it, embedded or, where there is a port, on Redis: one topic, 8 partitions. What is published to be compared with
 * peers has no key, since theirs has none either; what is consumed has one of a thousand keys, whose order is kept.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { embedded, memory } from "../../src/engines/embedded/index.ts";
import type { MessagingEngine, Topic } from "../../src/messaging/index.ts";
import type { Peer, PeerOptions, Survives } from "../peer.ts";
import { emptyRedis, redisEngine } from "../redis-clients.ts";
import { encoded, type Messages, messagingPeer, plain } from "../tenon-messaging.ts";

interface Engine extends MessagingEngine {
  close(): Promise<void>;
}

export async function start(options: PeerOptions): Promise<Peer> {
  return options.encoding === "json" ? contestant(options, encoded) : contestant(options, plain);
}

function contestant<T>(options: PeerOptions, messages: Messages<T>): Peer {
  const { directory, survives, port, backlog, keyed = false } = options;
  const path = join(directory, "data");

  /** Every measurement has an engine of its own, with nothing stored. */
  const withTopic = async <R>(measure: (orders: Topic<T>) => Promise<R>): Promise<R> => {
    const engine = port === undefined ? await openEngine(path, survives) : await redisEngine(port);
    try {
      const orders = messages.open(engine, "bench");
      await orders.declare();
      const result = await measure(orders);
      await orders.close();
      return result;
    } finally {
      await engine.close();
      if (port === undefined) await rm(path, { recursive: true, force: true });
      else await emptyRedis(port);
    }
  };
  // Redis says that a message is settled when that is durable, as the floor's scripts do; what closing takes is no part of either.
  const settled = port === undefined ? "by closing" : "by lag";
  const parts = { backlog, keyed: { published: keyed, timed: true }, timed: false, settled } as const;
  return { ...messagingPeer(messages, withTopic, parts), async close() {} };
}

async function openEngine(directory: string, survives: Survives): Promise<Engine> {
  switch (survives) {
    case "nothing":
      return memory();
    case "process":
      return embedded({ directory, durability: "async" });
    case "machine":
      return embedded({ directory, durability: "sync" });
  }
}
