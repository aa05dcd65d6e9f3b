import type { Consumer, Topic } from "tenon/messaging";
import { Batching } from "./batching.ts";
import type { AnswerBatch, Order, QueuedRequest, Verdict } from "./model.ts";
import type { OrderSender } from "./order-sender.ts";
import type { StockService } from "./stock.ts";
import { groups, sessionMs } from "./topics.ts";

/**
 * Takes requests from their topic as fast as it can. A request is settled when its order, if any, is published and its
 * answer is on its way; after a crash it comes again, gets the verdict that is recorded, and both are sent again.
 */
export function consumeRequests(
  requests: Topic<QueuedRequest>,
  stock: StockService,
  orders: OrderSender,
  answers: AnswerSender,
): Promise<Consumer> {
  return requests.consume(
    groups.stock,
    async (request) => {
      const { verdict, order } = await stock.decide(request, request.deadline);
      const answered = answers.send(request.gateway, request.requestId, verdict);
      if (order === undefined) await answered;
      else await publishAndAnswer(orders, order, answered);
    },
    { concurrency: 2_048, sessionMs },
  );
}

async function publishAndAnswer(orders: OrderSender, order: Order, answered: Promise<void>): Promise<void> {
  await Promise.all([orders.send(order), answered]);
}

/** Sends verdicts back to the gateways: one message carries all those that came while the one before was under way. */
export class AnswerSender {
  readonly #batchings = new Map<string, Batching<readonly [string, Verdict]>>();

  constructor(topics: ReadonlyMap<string, Topic<AnswerBatch>>) {
    for (const [gateway, topic] of topics) {
      this.#batchings.set(
        gateway,
        new Batching(async (answers) => {
          await topic.publish(answers);
        }),
      );
    }
  }

  async send(gateway: string, requestId: string, verdict: Verdict): Promise<void> {
    // A gateway that no longer exists has nobody waiting.
    await this.#batchings.get(gateway)?.add([requestId, verdict]);
  }
}
