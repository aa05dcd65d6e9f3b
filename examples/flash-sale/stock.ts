import type { CommitResult, KeyValueChange, KeyValueEngine } from "tenon/contracts";
import type { World } from "tenon/world";
import { type Order, type PurchaseRequest, stockByItem, type Verdict } from "./model.ts";
import { decodeRequestRecord, encodeRequestRecord, recordKeys } from "./records.ts";
import { RejectionRecorder } from "./rejections.ts";
import { isRisky } from "./risk.ts";
import { SoldOutItems } from "./sold-out.ts";

export interface StockOptions {
  readonly seed: number;
  /** Whether a reservation leaves a note of its unsent order, for callers that no message stands behind. */
  readonly noteUnsentOrders: boolean;
}

export interface Decision {
  readonly verdict: Verdict;
  /** Set when the verdict is `accepted`: the order that follows from it, the same however often it is asked for. */
  readonly order: Order | undefined;
}

/**
 * Decides requests. Each verdict is recorded under the request's id before it is told, in the same commit as the
 * reservation, so a request that comes again (a retry, a redelivery after a crash) gets the verdict it had.
 */
export class StockService {
  readonly #keyValue: KeyValueEngine;
  readonly #world: World;
  readonly #options: StockOptions;
  readonly #rejections: RejectionRecorder;
  readonly #soldOut: SoldOutItems;

  constructor(keyValue: KeyValueEngine, world: World, options: StockOptions) {
    this.#keyValue = keyValue;
    this.#world = world;
    this.#options = options;
    this.#rejections = new RejectionRecorder(keyValue);
    this.#soldOut = new SoldOutItems(world);
  }

  /** Puts the goods on the shelf, once, however often the sale is started. */
  async fill(stock: number): Promise<void> {
    await this.#keyValue.commit(
      [...stockByItem(stock)].map(([item, count]) => ({
        type: "add",
        key: recordKeys.stock(item),
        by: count,
        condition: { ifAbsent: true },
      })),
    );
  }

  /** `deadline`, in ms since the epoch: a request that is decided for the first time after it is not sold anything. */
  async decide(request: PurchaseRequest, deadline = Number.POSITIVE_INFINITY): Promise<Decision> {
    if (isRisky(request, this.#options.seed)) return denied;
    const now = this.#world.clock.now();
    if (now > deadline) return this.#reject(request, "expired", now);
    if (this.#soldOut.has(request.item)) return this.#reject(request, "sold-out", now);
    const result = await this.#reserve(request, now);
    if (result.committed) return accepted(request.requestId, request.buyer, request.item, now);
    if (result.failed === reservation.request) return replay(request.requestId, result.current!.value);
    if (result.failed !== reservation.stock) return this.#reject(request, "already-bought", now);
    this.#soldOut.add(request.item);
    return this.#reject(request, "sold-out", now);
  }

  /** Gives the stock of a cancelled order back, once, however often it is asked to. */
  async giveBack(orderId: string, item: string): Promise<void> {
    await this.#keyValue.commit([
      { type: "put", key: recordKeys.returned(orderId), value: Buffer.from(item), condition: { ifAbsent: true } },
      { type: "add", key: recordKeys.stock(item), by: 1 },
    ]);
    this.#soldOut.delete(item);
  }

  #reserve(request: PurchaseRequest, now: number): Promise<CommitResult> {
    const { requestId, buyer, item } = request;
    const record = encodeRequestRecord({ verdict: "accepted", buyer, item, decidedAt: now });
    const changes: KeyValueChange[] = [
      { type: "put", key: recordKeys.request(requestId), value: record, condition: { ifAbsent: true } },
      { type: "add", key: recordKeys.stock(item), by: -1, min: 0 },
      { type: "put", key: recordKeys.buyer(buyer), value: Buffer.from(requestId), condition: { ifAbsent: true } },
    ];
    if (this.#options.noteUnsentOrders) {
      const order: Order = { orderId: requestId, buyer, item, reservedAt: now };
      changes.push({ type: "put", key: recordKeys.unsent(requestId), value: Buffer.from(JSON.stringify(order)) });
    }
    return this.#keyValue.commit(changes);
  }

  async #reject(request: PurchaseRequest, verdict: Verdict, now: number): Promise<Decision> {
    const { requestId, buyer, item } = request;
    const former = await this.#rejections.record(requestId, { verdict, buyer, item, decidedAt: now });
    return former === undefined ? { verdict, order: undefined } : replay(requestId, former);
  }
}

/** The places of the changes in a reservation's commit: a request seen before is found before its own reservation is. */
const reservation = { request: 0, stock: 1 } as const;

const denied: Decision = { verdict: "denied", order: undefined };

function accepted(orderId: string, buyer: string, item: string, reservedAt: number): Decision {
  return { verdict: "accepted", order: { orderId, buyer, item, reservedAt } };
}

function replay(requestId: string, value: Uint8Array): Decision {
  const { verdict, buyer, item, decidedAt } = decodeRequestRecord(value);
  return verdict === "accepted" ? accepted(requestId, buyer, item, decidedAt) : { verdict, order: undefined };
}
