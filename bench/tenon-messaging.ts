/** Tenon's messaging as a user would call it: one topic, 8 partitions, 200 bytes a message. */
import { bytes, json, type MessagingEngine, type Topic, topic } from "../src/messaging/index.ts";
import { ConsumeClock } from "./consume-clock.ts";
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
  timedLoop,
  timedOrder,
} from "./load.ts";
import type { Peer } from "./peer.ts";

const CONCURRENCY = 1_024;
const GROUP = "workers";

/** What differs between the encodings. */
export interface Messages<T> {
  readonly values: readonly T[];
  readonly timed: (slot: number, sentAt: number) => T;
  readonly readTimed: (value: T) => { readonly slot: number; readonly sentAt: number };
  readonly open: (engine: MessagingEngine, name: string) => Topic<T>;
}

const topicOptions = { partitions: 8, groups: [GROUP] } as const;

export const plain: Messages<Uint8Array> = {
  values: BODIES,
  timed: timedBody,
  readTimed: readTimedBody,
  open: (engine, name) => topic(engine, name, { codec: bytes(), ...topicOptions }),
};

export const encoded: Messages<Order> = {
  values: ORDERS,
  timed: timedOrder,
  readTimed: ({ slot, sentAt }) => ({ slot: slot!, sentAt: sentAt! }),
  open: (engine, name) => topic(engine, name, { codec: json<Order>(), ...topicOptions }),
};

export interface MessagingPeerOptions {
  readonly backlog: number;
  /** Which messages have one of a thousand keys, beside the backlog's, which always have one. */
  readonly keyed: { readonly published: boolean; readonly timed: boolean };
  /** Whether the time of each call of publish is taken. */
  readonly timed: boolean;
  /** When what was handled counts as settled: when nothing is unsettled any more, or, where that may be known before it is durable, when the consumer has closed. */
  readonly settled: "by lag" | "by closing";
}

/** `withTopic` gives a topic in which nothing is stored, and removes it afterwards. */
export function messagingPeer<T>(
  { values, timed, readTimed }: Messages<T>,
  withTopic: <R>(measure: (orders: Topic<T>) => Promise<R>) => Promise<R>,
  options: MessagingPeerOptions,
): Omit<Peer, "close"> {
  const { backlog, keyed } = options;
  const keyOf = (n: number) => ({ key: KEYS[n % KEYS.length]! });
  const publishTo = (orders: Topic<T>) => (n: number) => orders.publish(values[n % values.length]!);
  const publishKeyedTo = (orders: Topic<T>) => (n: number) => orders.publish(values[n % values.length]!, keyOf(n));

  return {
    publish(inFlight, durationMs) {
      const publish = keyed.published ? publishKeyedTo : publishTo;
      const loop = options.timed ? timedLoop : closedLoop;
      return withTopic<Awaited<ReturnType<typeof loop>>>((orders) => loop(inFlight, durationMs, publish(orders)));
    },

    consume(concurrency = CONCURRENCY) {
      return withTopic(async (orders) => {
        await complete(backlog, 8_192, publishKeyedTo(orders));
        const clock = new ConsumeClock(backlog);
        const consumer = await orders.consume(GROUP, async () => clock.handled(), { concurrency });
        await clock.everyHandled;
        while ((await orders.lag(GROUP)).messages > 0) await new Promise((resolve) => setImmediate(resolve));
        if (options.settled === "by closing") await consumer.close();
        const perSecond = clock.perSecond();
        await consumer.close();
        return perSecond;
      });
    },

    latency(offered, durationMs) {
      return withTopic((orders) => {
        const open = async (handled: (slot: number, sentAt: number) => void) => {
          const handler = async (value: T) => {
            const { slot, sentAt } = readTimed(value);
            handled(slot, sentAt);
          };
          const consumer = await orders.consume(GROUP, handler, { concurrency: CONCURRENCY });
          return {
            send: (slot: number, sentAt: number) =>
              orders.publish(timed(slot, sentAt), keyed.timed ? keyOf(slot) : undefined),
            close: () => consumer.close(),
          };
        };
        return measureLatency(open, offered, durationMs);
      });
    },
  };
}
