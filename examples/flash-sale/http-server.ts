import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Snowflake } from "tenon/ids";
import type { Gateway } from "./gateway.ts";
import { type Answer, type PurchaseRequest, statusOfAnswer } from "./model.ts";

const bodyBytesMax = 4_096;

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** `node:http` around a gateway: `POST /purchase` with a JSON body. */
export async function serveHttp(gateway: Gateway, ids: Snowflake, port: number): Promise<HttpServer> {
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    response.sendDate = false;
    if (request.url === "/purchase" && request.method === "POST") receive(request, response, gateway, ids);
    else refuse(response, 404, "only POST /purchase is known here");
  });
  await listen(server, port);
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1", backlog: 1_024 }, () => resolve());
  });
}

function receive(request: IncomingMessage, response: ServerResponse, gateway: Gateway, ids: Snowflake): void {
  // Nearly every body comes in one piece; decoding it once at the end is cheaper than a decoder on the stream.
  let body: Buffer | undefined;
  request.on("data", (chunk: Buffer) => {
    body = body === undefined ? chunk : Buffer.concat([body, chunk]);
    if (body.length > bodyBytesMax) request.destroy();
  });
  request.on("end", () => {
    const purchase = parsePurchase(body?.toString() ?? "", ids);
    if (purchase === undefined) {
      refuse(response, 400, "a purchase has buyer, item, quantity and, to be repeatable, requestId");
      return;
    }
    gateway.purchase(purchase).then(
      (answer) => reply(response, purchase.requestId, answer),
      () => reply(response, purchase.requestId, "unavailable"),
    );
  });
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

function reply(response: ServerResponse, requestId: string, answer: Answer): void {
  const body = `{"requestId":"${requestId}","answer":"${answer}"}`;
  response.writeHead(statusOfAnswer[answer], ["Content-Type", "application/json", "Content-Length", body.length]);
  response.end(body, "latin1");
}

function refuse(response: ServerResponse, status: number, reason: string): void {
  response.writeHead(status, ["Content-Type", "text/plain", "Content-Length", reason.length]);
  response.end(reason);
}
