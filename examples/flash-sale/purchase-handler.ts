import type { Snowflake } from "tenon/ids";
import type { Gateway } from "./gateway.ts";
import { type Answer, type PurchaseRequest, statusOfAnswer } from "./model.ts";

/** What a gateway's door is, whatever HTTP server stands before it. */
export interface PurchaseHandler {
  /** A purchase is a POST with a JSON body. */
  post(path: string, body: string): Promise<Reply> | Reply;
}

export interface Reply {
  readonly status: number;
  readonly contentType: "application/json" | "text/plain";
  /** In ASCII. */
  readonly body: string;
}

/** The largest body that is a purchase, in bytes. */
export const bodyBytesMax = 4_096;

/** `POST /purchase`, for any server. */
export function purchaseHandler(gateway: Gateway, ids: Snowflake): PurchaseHandler {
  return {
    post(path, body) {
      if (path !== "/purchase") return unknownPath;
      const purchase = parsePurchase(body, ids);
      if (purchase === undefined) return badPurchase;
      const { requestId } = purchase;
      return gateway.purchase(purchase).then(
        (answer) => replyWith(requestId, answer),
        () => replyWith(requestId, "unavailable"),
      );
    },
  };
}

export const unknownPath: Reply = refusal(404, "only POST /purchase is known here");
const badPurchase = refusal(400, "a purchase has buyer, item, quantity and, to be repeatable, requestId");

function refusal(status: number, body: string): Reply {
  return { status, contentType: "text/plain", body };
}

function replyWith(requestId: string, answer: Answer): Reply {
  const body = `{"requestId":"${requestId}","answer":"${answer}"}`;
  return { status: statusOfAnswer[answer], contentType: "application/json", body };
}

/** A request without an id gets one here; only one with its own id can be repeated safely. */
function parsePurchase(body: string, ids: Snowflake): PurchaseRequest | undefined {
  let value: Partial<PurchaseRequest> | null;
  try {
    value = JSON.parse(body) as Partial<PurchaseRequest> | null;
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const { requestId = ids.nextString(), buyer, item, quantity } = value;
  const valid = isName(requestId) && isName(buyer) && isName(item) && Number.isSafeInteger(quantity);
  return valid ? { requestId, buyer, item, quantity: quantity as number } : undefined;
}

const name = /^[A-Za-z0-9_-]{1,64}$/;

function isName(value: unknown): value is string {
  return typeof value === "string" && name.test(value);
}
