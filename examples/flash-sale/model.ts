/** What the parts of the sale say to each other. */

/** How requests reach the stock service: waiting in a topic, or called directly behind a token bucket. */
export type Flow = "queue" | "bucket";

export interface SaleOptions {
  readonly requests: number;
  readonly stock: number;
  readonly buyers: number;
  readonly seed: number;
  readonly flow: Flow;
}

/** What a buyer posts. Repeating it with the same `requestId` gets the same verdict. */
export interface PurchaseRequest {
  readonly requestId: string;
  readonly buyer: string;
  readonly item: string;
  readonly quantity: number;
}

/** A request on its way to the stock service. */
export interface QueuedRequest extends PurchaseRequest {
  /** Which gateway's buyer waits for the answer. */
  readonly gateway: string;
  /** After this instant (ms since the epoch) nobody waits any more and the request is dropped. */
  readonly deadline: number;
}

/** What the stock service decides, once per request id. */
export type Verdict = "accepted" | "sold-out" | "already-bought" | "denied" | "expired";

/** `limited`: refused by the token bucket. `timed-out` and `unavailable`: not known; ask again with the same id. */
export type Answer = Verdict | "limited" | "timed-out" | "unavailable";

/** Many answers for one gateway travel as one message. */
export type AnswerBatch = readonly (readonly [requestId: string, verdict: Verdict])[];

/** An accepted request becomes an order under the request's id. */
export interface Order {
  readonly orderId: string;
  readonly buyer: string;
  readonly item: string;
  /** When the stock was reserved, ms since the epoch. */
  readonly reservedAt: number;
}

export type OrderState = "unpaid" | "paid" | "cancelled";

export type OrderEventType = "created" | "paid" | "cancelled" | "refunded";

export interface OrderEvent extends OrderReference {
  readonly type: OrderEventType;
}

/** Names an order in the topics of payments and of checks for payment. */
export type OrderReference = Omit<Order, "reservedAt">;

/** The HTTP status that carries each answer; a client needs nothing else. */
export const statusOfAnswer: Readonly<Record<Answer, number>> = {
  accepted: 200,
  denied: 403,
  expired: 408,
  "already-bought": 409,
  "sold-out": 410,
  limited: 429,
  unavailable: 503,
  "timed-out": 504,
};

export const itemCount = 20;

export const gatewayIds: readonly string[] = ["gateway-0", "gateway-1"];

/** How long a buyer has to pay, in milliseconds: short, so that a run of the example ends soon. */
export const payWindowMs = 2_000;

export function itemName(index: number): string {
  return `item-${String(index).padStart(2, "0")}`;
}

/** The stock spread evenly over the items; the first ones get what is left over. */
export function stockByItem(stock: number): ReadonlyMap<string, number> {
  const share = Math.floor(stock / itemCount);
  const rest = stock % itemCount;
  return new Map(Array.from({ length: itemCount }, (_, index) => [itemName(index), share + (index < rest ? 1 : 0)]));
}
