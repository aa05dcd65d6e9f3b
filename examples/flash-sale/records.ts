import type { Verdict } from "./model.ts";

/** The keys of the durable records in the key-value store. */
export const recordKeys = {
  /** A counter: what is left of an item. */
  stock: (item: string) => `stock:${item}`,
  /** The verdict on a request; written in the same commit as the reservation. */
  request: (requestId: string) => `request:${requestId}`,
  /** The request with which a buyer got their one reservation. */
  buyer: (buyer: string) => `buyer:${buyer}`,
  /** Written in the same commit that gives the stock of a cancelled order back. */
  returned: (orderId: string) => `returned:${orderId}`,
  /** A reservation whose order has not been published yet (direct calls only; the queue redelivers instead). */
  unsent: (orderId: string) => `unsent:${orderId}`,
} as const;

/** What is kept of a decided request: enough to answer it again and to publish its order again. */
export interface RequestRecord {
  readonly verdict: Verdict;
  readonly buyer: string;
  readonly item: string;
  readonly decidedAt: number;
}

export function encodeRequestRecord(record: RequestRecord): Uint8Array {
  return Buffer.from(`${record.verdict}\n${record.buyer}\n${record.item}\n${record.decidedAt}`);
}

export function decodeRequestRecord(value: Uint8Array): RequestRecord {
  const [verdict, buyer, item, decidedAt] = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    .toString()
    .split("\n");
  if (verdict === undefined || buyer === undefined || item === undefined || decidedAt === undefined) {
    throw new Error("a request record does not have its four lines; the engine holds something else");
  }
  return { verdict: verdict as Verdict, buyer, item, decidedAt: Number(decidedAt) };
}
