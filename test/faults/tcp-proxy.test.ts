import assert from "node:assert/strict";
import { once } from "node:events";
import { createConnection, createServer, type Socket } from "node:net";
import { type TestContext, test } from "node:test";
import { type ProxiedConnection, startTcpProxy, type TcpProxy } from "./tcp-proxy.ts";

/** Answers every byte with itself; `heard` is what all of its connections brought. */
interface Echo {
  readonly port: number;
  readonly heard: string;
  readonly sockets: readonly Socket[];
  until(condition: () => boolean): Promise<void>;
}

async function startEcho(t: TestContext): Promise<Echo> {
  const sockets: Socket[] = [];
  let heard = "";
  let wake: (() => void) | undefined;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(socket);
    socket.on("error", () => undefined);
    for (const event of ["data", "end", "close"]) socket.on(event, () => setImmediate(() => wake?.()));
    socket.on("data", (bytes) => {
      heard += bytes;
      socket.write(bytes);
    });
    socket.on("end", () => socket.end());
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  return {
    port: address.port,
    get heard() {
      return heard;
    },
    sockets,
    async until(condition) {
      while (!condition()) await new Promise<void>((resolve) => (wake = resolve));
    },
  };
}

/** A client that remembers what came, in how many pieces, and how it ended. */
class Client {
  readonly socket: Socket;
  received = "";
  pieces = 0;
  /** `undefined` while it is open. */
  end: "ended" | "reset" | "refused" | undefined;
  #wake: (() => void) | undefined;

  constructor(port: number) {
    this.socket = createConnection({ port, host: "127.0.0.1" });
    this.socket.on("data", (bytes) => {
      this.received += bytes;
      this.pieces += 1;
      this.#wake?.();
    });
    this.socket.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") this.end = "refused";
      else if (error.code === "ECONNRESET" || error.code === "EPIPE") this.end = "reset";
    });
    this.socket.on("close", () => {
      this.end ??= "ended";
      this.#wake?.();
    });
  }

  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#wake = resolve));
  }

  async echoes(text: string): Promise<void> {
    const expected = this.received + text;
    this.socket.write(text);
    await this.until(() => this.received.length >= expected.length || this.end !== undefined);
    assert.equal(this.received, expected);
  }
}

interface Line {
  readonly echo: Echo;
  readonly proxy: TcpProxy;
  readonly client: Client;
  readonly connection: ProxiedConnection;
}

/** A connection through the proxy that has worked once, with four bytes in each direction. */
async function line(t: TestContext, connected?: (connection: ProxiedConnection) => void): Promise<Line> {
  const echo = await startEcho(t);
  const proxy = await startTcpProxy({ serverPort: echo.port, connected });
  t.after(() => proxy[Symbol.asyncDispose]());
  const client = new Client(proxy.port);
  t.after(() => client.socket.destroy());
  await client.echoes("ping");
  return { echo, proxy, client, connection: proxy.connections[0]! };
}

test("what goes through arrives whole and in order, however large, and is counted", async (t) => {
  const { client, connection, proxy } = await line(t);
  const text = Array.from({ length: 200_000 }, (_, index) => `${index};`).join("");
  await client.echoes(text);
  assert.equal(connection.passed("request"), text.length + 4);
  assert.equal(connection.passed("reply"), text.length + 4);
  assert.equal(connection.number, 1);
  assert.deepEqual([proxy.accepted, proxy.connections.length], [1, 1]);
});

test("an end in good order passes as one, after the last byte", async (t) => {
  const { client, connection, proxy, echo } = await line(t);
  client.socket.end("bye");
  await client.until(() => client.end !== undefined);
  assert.deepEqual([client.received, client.end], ["pingbye", "ended"]);
  await connection.closed;
  assert.deepEqual(proxy.connections, []);
  assert.equal(echo.heard, "pingbye");
});

test("an end that is the server's passes too, and so does a reset", async (t) => {
  const { client, echo, proxy } = await line(t);
  echo.sockets[0]!.end("so long");
  await client.until(() => client.end !== undefined);
  assert.deepEqual([client.received, client.end], ["pingso long", "ended"]);
  const other = new Client(proxy.port);
  await other.echoes("ping");
  echo.sockets[1]!.resetAndDestroy();
  await other.until(() => other.end !== undefined);
  assert.equal(other.end, "reset");
});

test("a cut resets both sides and no other connection", async (t) => {
  const { client, connection, proxy, echo } = await line(t);
  const other = new Client(proxy.port);
  t.after(() => other.socket.destroy());
  await other.echoes("other");
  connection.cut();
  await client.until(() => client.end !== undefined);
  await echo.until(() => echo.sockets[0]!.destroyed);
  assert.equal(client.end, "reset");
  await connection.closed;
  await other.echoes("still here");
  proxy.cutAll();
  await other.until(() => other.end !== undefined);
  assert.equal(other.end, "reset");
});

test("a cut waits for nothing: neither for who does not read, nor for an end that is under way, nor for itself", async (t) => {
  const { client, connection, echo, proxy } = await line(t);
  client.socket.pause();
  const other = new Client(proxy.port);
  // More than the sockets hold: when as much has gone through beside it, the proxy has something left to write.
  const text = "x".repeat(32 * 1024 * 1024);
  client.socket.write(text);
  await other.echoes(text);
  assert.ok(echo.sockets[0]!.writableNeedDrain);
  connection.cut();
  connection.cut();
  await connection.closed;
  const [ending] = proxy.connections;
  echo.sockets[1]!.end();
  other.socket.end();
  await echo.until(() => echo.sockets[1]!.readableEnded);
  proxy.cutAll();
  await ending!.closed;
});

test("stalled requests reach the server when they are resumed, and stalled replies the client", async (t) => {
  const { client, connection, echo, proxy } = await line(t);
  const other = new Client(proxy.port);
  t.after(() => other.socket.destroy());
  connection.stall("request");
  client.socket.write("held");
  // What another connection sent later has come through meanwhile.
  await other.echoes("one");
  await other.echoes("two");
  assert.equal(echo.heard, "pingonetwo");
  connection.stall("reply");
  connection.resume("request");
  await echo.until(() => echo.heard.endsWith("held"));
  await other.echoes("three");
  assert.equal(client.received, "ping");
  connection.resume("reply");
  await client.until(() => client.received === "pingheld");
  connection.stall("request", 5);
  await client.echoes("resumed by itself");
});

test("a stalled direction holds the end and the reset back, too", async (t) => {
  const { client, connection, echo, proxy } = await line(t);
  const other = new Client(proxy.port);
  t.after(() => other.socket.destroy());
  connection.stall("reply");
  echo.sockets[0]!.resetAndDestroy();
  await other.echoes("one");
  await other.echoes("two");
  assert.equal(client.end, undefined);
  connection.resume("reply");
  await client.until(() => client.end !== undefined);
  assert.equal(client.end, "reset");
});

test("a stalled direction holds only what fits, and the sender is slowed down", async (t) => {
  const { client, connection, proxy } = await line(t);
  const other = new Client(proxy.port);
  t.after(() => other.socket.destroy());
  connection.stall("request");
  const text = "x".repeat(32 * 1024 * 1024);
  client.socket.write(text);
  // As much goes through beside it as would have drained it.
  await other.echoes(text);
  assert.ok(client.socket.writableNeedDrain);
  connection.resume("request");
  await client.until(() => client.received.length === text.length + 4);
});

test("slow hands on in pieces, no faster than it says, and loses nothing", async (t) => {
  const { client, connection } = await line(t);
  connection.slow("reply", 10_000);
  const pieces = client.pieces;
  const started = performance.now();
  await client.echoes("abcdefghij".repeat(250));
  // A twentieth of a second's bytes at a time: five pieces, so four pauses of 50 ms. Timers may be early by one.
  assert.ok(client.pieces - pieces >= 2, `${client.pieces - pieces} pieces`);
  assert.ok(performance.now() - started >= 4 * 49, `${performance.now() - started} ms`);
  connection.slow("reply", undefined);
  await client.echoes("abcdefghij".repeat(250));
});

test("a reset comes after exactly so many bytes of a request", async (t) => {
  const { client, connection, echo } = await line(t);
  connection.resetAfter("request", 3);
  client.socket.write("abcdef");
  await client.until(() => client.end !== undefined);
  await echo.until(() => echo.sockets[0]!.destroyed);
  assert.equal(echo.heard, "pingabc");
  assert.equal(client.end, "reset");
  assert.equal(connection.passed("request"), 7);
});

test("a reset comes after exactly so many bytes of a reply", async (t) => {
  const { client, connection, echo } = await line(t);
  connection.resetAfter("reply", 3);
  client.socket.write("abcdef");
  await client.until(() => client.end !== undefined);
  assert.equal(client.received, "pingabc");
  assert.equal(client.end, "reset");
  assert.equal(echo.heard, "pingabcdef");
  assert.equal(connection.passed("reply"), 7);
});

test("a reply is lost whose request the server has carried out", async (t) => {
  const { client, connection, echo } = await line(t);
  connection.loseReply();
  client.socket.write("increment");
  await client.until(() => client.end !== undefined);
  assert.equal(echo.heard, "pingincrement");
  assert.equal(client.received, "ping");
  assert.equal(client.end, "reset");
});

test("what is dropped is gone, and nobody is told", async (t) => {
  const { client, connection, echo, proxy } = await line(t);
  const other = new Client(proxy.port);
  t.after(() => other.socket.destroy());
  connection.drop("reply");
  client.socket.write("carried out");
  await echo.until(() => echo.heard.includes("carried out"));
  connection.drop("request");
  client.socket.write("never heard");
  await other.echoes("one");
  await other.echoes("two");
  assert.equal(echo.heard, "pingcarried outonetwo");
  assert.equal(client.received, "ping");
  assert.equal(client.end, undefined);
});

test("of a half-open connection one side hears nothing, and the other is reset", async (t) => {
  const { client, connection, echo, proxy } = await line(t);
  const other = new Client(proxy.port);
  t.after(() => other.socket.destroy());
  connection.halfOpen("client");
  await echo.until(() => echo.sockets[0]!.destroyed);
  client.socket.write("into the void");
  await other.echoes("one");
  assert.equal(client.end, undefined);
  proxy.connections[1]!.halfOpen("server");
  await other.until(() => other.end !== undefined);
  assert.equal(other.end, "reset");
  const third = new Client(proxy.port);
  t.after(() => third.socket.destroy());
  await third.echoes("two");
  assert.ok(!echo.sockets[1]!.destroyed, "the server still believes in it");
  assert.equal(echo.heard, "pingonetwo");
});

test("a proxy that refuses is not listening, keeps what is open, and accepts on the same port again", async (t) => {
  const { client, proxy } = await line(t);
  await proxy.refuse();
  const refused = new Client(proxy.port);
  await refused.until(() => refused.end !== undefined);
  assert.equal(refused.end, "refused");
  await client.echoes("still here");
  await proxy.accept();
  const again = new Client(proxy.port);
  t.after(() => again.socket.destroy());
  await again.echoes("ping");
});

test("a connection is broken from its first byte by whoever is told of it", async (t) => {
  const { proxy, echo } = await line(t, (connection) => {
    if (connection.number === 2) connection.resetAfter("request", 2);
  });
  const second = new Client(proxy.port);
  second.socket.write("abcdef");
  await second.until(() => second.end !== undefined);
  assert.equal(second.end, "reset");
  assert.equal(echo.heard, "pingab");
});

test("a server that is gone resets the client", async (t) => {
  const { proxy } = await line(t);
  const nobody = await startTcpProxy({ serverPort: 1 });
  t.after(() => nobody[Symbol.asyncDispose]());
  assert.notEqual(nobody.port, proxy.port);
  const client = new Client(nobody.port);
  await client.until(() => client.end !== undefined);
  assert.equal(client.end, "reset");
});
