import type { PurchaseRequest } from "./model.ts";
import { seededFraction } from "./random.ts";

const blacklistedShare = 0.005;

/** A pure function of the request and the seed: asking twice gives the same answer, so it needs no record. */
export function isRisky(request: PurchaseRequest, seed: number): boolean {
  return request.quantity !== 1 || seededFraction(seed, request.buyer) < blacklistedShare;
}
