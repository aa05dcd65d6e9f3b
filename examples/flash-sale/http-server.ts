import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { bodyBytesMax, type PurchaseHandler, type Reply, unknownPath } from "./purchase-handler.ts";

export interface HttpServer {
  readonly port: number;
  close(): Promise<void>;
}

/** Puts a door into the network; `port` 0 for any. */
export type ServeHttp = (handler: PurchaseHandler, port: number) => Promise<HttpServer>;

/** `node:http` around it. */
export const serveHttp: ServeHttp = async (handler, port) => {
  const server = createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
    response.sendDate = false;
    if (request.method === "POST") receive(request, response, handler);
    else send(response, unknownPath);
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
};

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ port, host: "127.0.0.1", backlog: 1_024 }, () => resolve());
  });
}

function receive(request: IncomingMessage, response: ServerResponse, handler: PurchaseHandler): void {
  // Nearly every body comes in one piece; decoding it once at the end is cheaper than a decoder on the stream.
  let body: Buffer | undefined;
  request.on("data", (chunk: Buffer) => {
    body = body === undefined ? chunk : Buffer.concat([body, chunk]);
    if (body.length > bodyBytesMax) request.destroy();
  });
  request.on("end", () => {
    const reply = handler.post(request.url ?? "", body?.toString() ?? "");
    if ("status" in reply) send(response, reply);
    else void reply.then((later) => send(response, later));
  });
}

function send(response: ServerResponse, { status, contentType, body }: Reply): void {
  response.writeHead(status, ["Content-Type", contentType, "Content-Length", body.length]);
  response.end(body, "latin1");
}
