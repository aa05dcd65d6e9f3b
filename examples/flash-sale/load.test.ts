import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { demand } from "./demand.ts";
import { Load, percentile } from "./load.ts";

const purchases = demand({ requests: 200, buyers: 50, seed: 1 });

/** A server that answers each attempt with a status, or hangs up when there is none. */
async function serve(statusOf: (requestId: string, attempt: number) => number | undefined) {
  const attempts = new Map<string, number>();
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    let body = "";
    request.on("data", (chunk) => {
      body += chunk;
    });
    request.on("end", () => {
      const { requestId } = JSON.parse(body) as { requestId: string };
      const attempt = (attempts.get(requestId) ?? 0) + 1;
      attempts.set(requestId, attempt);
      const status = statusOf(requestId, attempt);
      if (status === undefined) request.socket.destroy();
      else response.writeHead(status, { "Content-Length": 2 }).end("ok");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    attempts,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/purchase`,
    [Symbol.dispose]: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

test("every purchase is sent once to a server that answers, and its status is its ending", async () => {
  using server = await serve((requestId) => (requestId.endsWith("0") ? 410 : 200));
  const result = await new Load({ urls: [server.url], purchases, connections: 16 }).run();
  assert.equal(server.attempts.size, purchases.length);
  const soldOut = purchases.filter((purchase) => purchase.requestId.endsWith("0")).length;
  assert.deepEqual([result.counts["sold-out"], result.counts.accepted], [soldOut, purchases.length - soldOut]);
  assert.deepEqual(
    result.endings,
    purchases.map((purchase) => (purchase.requestId.endsWith("0") ? "sold-out" : "accepted")),
  );
  assert.equal(result.retries, 0);
  assert.equal(result.latenciesMs.length, purchases.length);
});

test("a request whose connection breaks is sent again with the same id until it is answered", async () => {
  using server = await serve((_, attempt) => (attempt === 1 ? undefined : 200));
  const result = await new Load({ urls: [server.url], purchases, connections: 16 }).run();
  assert.equal(result.counts.accepted, purchases.length);
  assert.equal(result.retries, purchases.length);
});

test("an unknown outcome and a limit met on a retry are asked about again; a limit met at first is final", async () => {
  using server = await serve((requestId, attempt) => {
    if (requestId === purchases[0]!.requestId) return 429;
    return [504, 429, 503, 409][attempt - 1];
  });
  const result = await new Load({ urls: [server.url], purchases, connections: 64 }).run();
  assert.equal(result.endings[0], "limited");
  assert.equal(result.counts.limited, 1);
  assert.equal(result.counts["already-bought"], purchases.length - 1);
});

test("buyers who get no answer give up", async () => {
  using server = await serve(() => 503);
  const result = await new Load({ urls: [server.url], purchases, connections: 64, patienceMs: 1 }).run();
  assert.equal(result.counts.unanswered, purchases.length);
  assert.equal(result.latenciesMs.length, 0);
});

test("an abort ends the load with its reason", async () => {
  const stop = new AbortController();
  using server = await serve(() => {
    stop.abort(new Error("enough"));
    return 200;
  });
  await assert.rejects(new Load({ urls: [server.url], purchases, signal: stop.signal }).run(), /enough/);
});

test("percentiles are taken from the values that are there", () => {
  const values = Float64Array.from([1, 2, 3, 4]);
  assert.deepEqual([percentile(values, 0.5), percentile(values, 0.99), percentile(new Float64Array(), 0.5)], [2, 4, 0]);
});
