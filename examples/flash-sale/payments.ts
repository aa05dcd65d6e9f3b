import type { Consumer } from "tenon/messaging";
import { payWindowMs } from "./model.ts";
import { seededFraction } from "./random.ts";
import { groups, type SaleTopics, sessionMs } from "./topics.ts";

const neverShare = 0.08;
const lastMomentShare = 0.02;

/**
 * When a simulated buyer pays, in milliseconds after the order was created; `undefined`: never. Most pay within half of the
 * time they have; some pay so late that the payment races the cancellation.
 */
export function paymentDelayMs(seed: number, orderId: string): number | undefined {
  const fraction = seededFraction(seed, `pays ${orderId}`);
  if (fraction < neverShare) return undefined;
  if (fraction < neverShare + lastMomentShare) {
    return payWindowMs * (0.9 + 0.2 * seededFraction(seed, `late ${orderId}`));
  }
  return payWindowMs * 0.5 * fraction;
}

/** The payment service: hears of new orders and brings in the money of those who pay. */
export function consumeForPayment(topics: SaleTopics, seed: number): Promise<Consumer> {
  return topics.orderEvents.consume(
    groups.payment,
    async ({ type, orderId, buyer, item }) => {
      const delayMs = type === "created" ? paymentDelayMs(seed, orderId) : undefined;
      if (delayMs === undefined) return;
      await topics.payments.publish({ orderId, buyer, item }, { key: orderId, id: orderId, delayMs });
    },
    { concurrency: 1_024, sessionMs },
  );
}
