import { json, type MessagingEngine, type Topic, type TopicOptions, topic } from "tenon/messaging";
import {
  type AnswerBatch,
  gatewayIds,
  type Order,
  type OrderEvent,
  type OrderReference,
  type QueuedRequest,
} from "./model.ts";

/** Every topic of the sale, and the groups that read it. */
export interface SaleTopics {
  /** Without keys: any stock service may take any request; the reservation's conditions make that safe. */
  readonly requests: Topic<QueuedRequest>;
  /** One topic per gateway, so that an answer finds the gateway whose buyer waits; broadcast to whoever is that gateway now. */
  readonly answers: ReadonlyMap<string, Topic<AnswerBatch>>;
  readonly orders: Topic<Order>;
  /** Delayed until the end of the time to pay. */
  readonly unpaidChecks: Topic<OrderReference>;
  readonly payments: Topic<OrderReference>;
  /** What happened to orders; everybody who wants to know has a group. Keyed by order, so in order for each. */
  readonly orderEvents: Topic<OrderEvent>;
}

/** How long a process that was killed keeps its partitions from the others; well within the time that buyers wait. */
export const sessionMs = 3_000;

export const groups = {
  stock: "stock",
  orders: "orders",
  payment: "payment",
  notification: "notification",
  statistics: "statistics",
} as const;

export function saleTopics(engine: MessagingEngine): SaleTopics {
  const orderOptions = <T>(): TopicOptions<T> => ({ codec: json<T>(), partitions: 4, groups: [groups.orders] });
  return {
    requests: topic(engine, "requests", { codec: json<QueuedRequest>(), partitions: 4, groups: [groups.stock] }),
    answers: new Map(
      gatewayIds.map((id) => [
        id,
        topic(engine, `answers.${id}`, { codec: json<AnswerBatch>(), partitions: 1, retentionMs: 0 }),
      ]),
    ),
    orders: topic(engine, "orders", orderOptions<Order>()),
    unpaidChecks: topic(engine, "unpaid-checks", orderOptions<OrderReference>()),
    payments: topic(engine, "payments", orderOptions<OrderReference>()),
    orderEvents: topic(engine, "order-events", {
      codec: json<OrderEvent>(),
      partitions: 4,
      groups: [groups.payment, groups.notification, groups.statistics],
    }),
  };
}

/** Each topic with each of its groups. */
export function consumedTopics(topics: SaleTopics): readonly { topic: Topic<never>; group: string }[] {
  const pairs: { topic: Topic<never>; group: string }[] = [];
  const add = (consumed: unknown, ...names: string[]) => {
    for (const group of names) pairs.push({ topic: consumed as Topic<never>, group });
  };
  add(topics.requests, groups.stock);
  add(topics.orders, groups.orders);
  add(topics.unpaidChecks, groups.orders);
  add(topics.payments, groups.orders);
  add(topics.orderEvents, groups.payment, groups.notification, groups.statistics);
  return pairs;
}

export async function declareAll(topics: SaleTopics): Promise<void> {
  await Promise.all(allTopics(topics).map((each) => each.declare()));
}

export async function closeAll(topics: SaleTopics): Promise<void> {
  await Promise.all(allTopics(topics).map((each) => each.close()));
}

function allTopics(topics: SaleTopics) {
  return [
    topics.requests,
    ...topics.answers.values(),
    topics.orders,
    topics.unpaidChecks,
    topics.payments,
    topics.orderEvents,
  ];
}
