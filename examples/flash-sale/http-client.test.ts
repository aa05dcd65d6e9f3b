import assert from "node:assert/strict";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createSocketServer, type Server } from "node:net";
import { test } from "node:test";
import { HttpConnection, type HttpConnectionEvents } from "./http-client.ts";

type Happening = { readonly type: string; readonly status?: number; readonly body?: string };

/** Sends one request to the server and tells what came of it. */
async function exchange(server: Server, requests = 1): Promise<Happening[]> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const happenings: Happening[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  const request = "POST /purchase HTTP/1.1\r\nHost: test\r\nContent-Length: 2\r\n\r\n{}";
  const events: HttpConnectionEvents = {
    connected: (connection) => connection.send(request),
    response: (connection, status, body) => {
      happenings.push({ type: "response", status, body });
      if (happenings.length < requests) connection.send(request);
      else resolve();
    },
    broken: () => {
      happenings.push({ type: "broken" });
      resolve();
    },
    closed: () => {
      happenings.push({ type: "closed" });
      resolve();
    },
  };
  const connection = new HttpConnection({ host: "127.0.0.1", port: (server.address() as AddressInfo).port }, events);
  connection.connect();
  await promise;
  connection.destroy();
  server.close();
  return happenings;
}

/** A server that answers every request with these chunks, in separate packets as far as it can. */
function raw(...chunks: readonly string[]): Server {
  return createSocketServer((socket) => {
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("data", async () => {
      for (const chunk of chunks) {
        await new Promise((resolve) => socket.write(chunk, "latin1", resolve));
        await new Promise((resolve) => setImmediate(resolve));
      }
    });
  });
}

test("responses of node:http are read one after the other on one connection", async () => {
  let connections = 0;
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.writeHead(410, { "Content-Length": 4 }).end("gone"));
  }).on("connection", () => {
    connections += 1;
  });
  const response = { type: "response", status: 410, body: "gone" };
  assert.deepEqual(await exchange(server, 3), [response, response, response]);
  assert.equal(connections, 1);
});

test("a response may come in pieces, cut anywhere", async () => {
  const response = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-Content-Length-Not: 9\r\n\r\nhello";
  for (let cut = 1; cut < response.length; cut += 1) {
    assert.deepEqual(await exchange(raw(response.slice(0, cut), response.slice(cut))), [
      { type: "response", status: 200, body: "hello" },
    ]);
  }
});

test("an empty body is a body", async () => {
  assert.deepEqual(await exchange(raw("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")), [
    { type: "response", status: 204, body: "" },
  ]);
});

for (const [name, bytes] of [
  ["without a content length", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
  ["that is no HTTP", "SSH-2.0-server\r\n\r\n"],
  ["longer than it says", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nhello"],
] as const) {
  test(`a response ${name} breaks the connection`, async () => {
    assert.deepEqual(await exchange(raw(bytes)), [{ type: "broken" }]);
  });
}

test("a server that hangs up in the middle of a response breaks the request", async () => {
  const server = createSocketServer((socket) => {
    socket.on("data", () => socket.end("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"));
  });
  assert.deepEqual(await exchange(server), [{ type: "broken" }]);
});

test("a refused connection is told, so that it can be tried again", async () => {
  const server = createSocketServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const { promise, resolve } = Promise.withResolvers<string>();
  const events = {
    connected: () => resolve("connected"),
    response: () => resolve("response"),
    broken: () => resolve("broken"),
    closed: () => resolve("closed"),
  };
  new HttpConnection({ host: "127.0.0.1", port }, events).connect();
  assert.equal(await promise, "closed");
});
