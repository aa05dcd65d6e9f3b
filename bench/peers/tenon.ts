/**
 * Tenon as a user would call it, embedded or, where there is a port, on Redis: one topic, 8 partitions. What is published to be compared with
 * peers has no key, since theirs has none either; what is consumed has one of a thousand keys, whose order is kept.
 */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { embedded, memory } from "../../src/engines/embedded/index.ts";
import { bytes, json, type MessagingEngine, type Topic, topic } from "../../src/messaging/index.ts";
import {
  BODIES,
  closedLoop,
  complete,
  KEYS,
  measureLatency,
  ORDERS,
  type Order,
  readTimedBody,
  timedBody,
  timedOrder,
} from "../load.ts";
import type { Peer, PeerOptions, Survives } from "../peer.ts";
import { emptyRedis, redisEngine } from "../redis-clients.ts";

const CONCURRENCY = 1_024;
const GROUP = "workers";

/** What differs between the encodings. */
interface Messages<T> {
  readonly values: readonly T[];
  readonly timed: (slot: number, sentAt: number) => T;
  readonly readTimed: (value: T) => { readonly slot: number; readonly sentAt: number };
  readonly open: (engine: Engine) => Topic<T>;
}

interface Engine extends MessagingEngine {
  close(): Promise<void>;
}

const topicOptions = { partitions: 8, groups: [GROUP] } as const;

const plain: Messages<Uint8Array> = {
  values: BODIES,
  timed: timedBody,
  readTimed: readTimedBody,
  open: (engine) => topic(engine, "bench", { codec: bytes(), ...topicOptions }),
};

const encoded: Messages<Order> = {
  values: ORDERS,
  timed: timedOrder,
  readTimed: ({ slot, sentAt }) => ({ slot: slot!, sentAt: sentAt! }),
  open: (engine) => topic(engine, "bench", { codec: json<Order>(), ...topicOptions }),
};

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
      const orders = messages.open(engine);
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
  const publishTo = (orders: Topic<T>) => (n: number) => orders.publish(messages.values[n % messages.values.length]!);
  const publishKeyedTo = (orders: Topic<T>) => (n: number) =>
    orders.publish(messages.values[n % messages.values.length]!, { key: KEYS[n % KEYS.length]! });

  return {
    publish(inFlight, durationMs) {
      const publish = keyed ? publishKeyedTo : publishTo;
      return withTopic((orders) => closedLoop(inFlight, durationMs, publish(orders)));
    },

    consume() {
      return withTopic(async (orders) => {
        await complete(backlog, 8_192, publishKeyedTo(orders));
        let handled = 0;
        const everyHandled = Promise.withResolvers<void>();
        const handler = async () => {
          if (++handled === backlog) everyHandled.resolve();
        };
        const from = performance.now();
        const consumer = await orders.consume(GROUP, handler, { concurrency: CONCURRENCY });
        await everyHandled.promise;
        while ((await orders.lag(GROUP)).messages > 0) await new Promise((resolve) => setImmediate(resolve));
        // Closing waits until the last progress is durable, which the lag may be ahead of.
        await consumer.close();
        const elapsedMs = performance.now() - from;
        return (backlog / elapsedMs) * 1_000;
      });
    },

    latency(offered, durationMs) {
      return withTopic((orders) => {
        const open = async (handled: (slot: number, sentAt: number) => void) => {
          const handler = async (value: T) => {
            const { slot, sentAt } = messages.readTimed(value);
            handled(slot, sentAt);
          };
          const consumer = await orders.consume(GROUP, handler, { concurrency: CONCURRENCY });
          return {
            send: (slot: number, sentAt: number) =>
              orders.publish(messages.timed(slot, sentAt), { key: KEYS[slot % KEYS.length]! }),
            close: () => consumer.close(),
          };
        };
        return measureLatency(open, offered, durationMs);
      });
    },

    async close() {},
  };
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
