/**
 * A proxy on loopback between a client and a server that breaks what goes through it, on command: every connection and each of its directions
 * by itself. It knows nothing of what the bytes mean.
 */
import { once } from "node:events";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** From the client to the server, or back. */
export type Direction = "request" | "reply";

export interface TcpProxyOptions {
  /** Where the server listens on 127.0.0.1. */
  readonly serverPort: number;
  /** Called before the first byte of each connection passes, so that it can be broken from its beginning. */
  readonly connected?: ((connection: ProxiedConnection) => void) | undefined;
}

export interface TcpProxy extends AsyncDisposable {
  readonly port: number;
  /** Those that are open, oldest first. */
  readonly connections: readonly ProxiedConnection[];
  /** How many were accepted so far. */
  readonly accepted: number;
  /** From now on nobody listens on the port; what is open stays open. */
  refuse(): Promise<void>;
  /** Listens again, on the same port. */
  accept(): Promise<void>;
  /** Both sides of every connection, at once. */
  cutAll(): void;
}

export interface ProxiedConnection {
  /** From 1, in the order of their acceptance. */
  readonly number: number;
  /** Resolves when both sides are closed. */
  readonly closed: Promise<void>;
  /** How many bytes were handed on so far. */
  passed(direction: Direction): number;
  /** Both sides are reset at once; what was under way is lost. */
  cut(): void;
  /** Holds what comes from now on, its end included, until `resume`, or for so long. */
  stall(direction: Direction, ms?: number): void;
  resume(direction: Direction): void;
  /** Hands on so much and no more per second; `undefined`: as fast as it goes. */
  slow(direction: Direction, bytesPerSecond: number | undefined): void;
  /** Hands on so many more bytes, then resets both sides: in the midst of a frame, as the number says. */
  resetAfter(direction: Direction, bytes: number): void;
  /** Throws away whatever comes from now on, and hands on what it held before. Nobody is told. */
  drop(direction: Direction): void;
  /** Lets requests through until the server has answered the next one, throws the answer away, and then resets both sides. */
  loseReply(): void;
  /** Resets the other side and tells this one nothing: it sends into the void. */
  halfOpen(left: "client" | "server"): void;
}

export async function startTcpProxy(options: TcpProxyOptions): Promise<TcpProxy> {
  const proxy = new LoopbackProxy(options);
  await proxy.accept();
  return proxy;
}

class LoopbackProxy implements TcpProxy {
  readonly #options: TcpProxyOptions;
  readonly #connections = new Set<Connection>();
  #server: Server | undefined;
  accepted = 0;
  port = 0;

  constructor(options: TcpProxyOptions) {
    this.#options = options;
  }

  get connections(): readonly ProxiedConnection[] {
    return [...this.#connections];
  }

  async accept(): Promise<void> {
    while (this.#server === undefined) {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#open(client));
      try {
        server.listen(this.port, "127.0.0.1");
        await once(server, "listening");
        this.#server = server;
      } catch (error) {
        // A connection that somebody is just making may have been given the port; it will not have it for long.
        if ((error as NodeJS.ErrnoException).code !== "EADDRINUSE") throw error;
        await sleep(20);
      }
    }
    const address = this.#server.address();
    if (typeof address === "object" && address !== null) this.port = address.port;
  }

  async refuse(): Promise<void> {
    this.#server?.close();
    this.#server = undefined;
  }

  cutAll(): void {
    for (const connection of this.#connections) connection.cut();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.refuse();
    const open = [...this.#connections];
    this.cutAll();
    await Promise.all(open.map(({ closed }) => closed));
  }

  #open(client: Socket): void {
    const server = createConnection({
      port: this.#options.serverPort,
      host: "127.0.0.1",
      allowHalfOpen: true,
      noDelay: true,
    });
    this.accepted += 1;
    const connection = new Connection(this.accepted, client, server);
    this.#connections.add(connection);
    void connection.closed.then(() => this.#connections.delete(connection));
    this.#options.connected?.(connection);
  }
}

class Connection implements ProxiedConnection {
  readonly number: number;
  readonly closed: Promise<void>;
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #pipes: Readonly<Record<Direction, Pipe>>;
  #halfOpen = false;

  constructor(number: number, client: Socket, server: Socket) {
    this.number = number;
    this.#client = client;
    this.#server = server;
    this.#pipes = {
      request: new Pipe(client, server, () => this.cut()),
      reply: new Pipe(server, client, () => this.cut()),
    };
    const ends = [client, server].map(
      (socket) => new Promise<void>((resolve) => socket.once("close", () => resolve())),
    );
    this.closed = Promise.all(ends).then(() => undefined);
    client.once("close", () => this.#gone("request"));
    server.once("close", () => this.#gone("reply"));
  }

  passed(direction: Direction): number {
    return this.#pipes[direction].passed;
  }

  cut(): void {
    reset(this.#client);
    reset(this.#server);
  }

  stall(direction: Direction, ms?: number): void {
    this.#pipes[direction].stall();
    if (ms !== undefined) setTimeout(() => this.resume(direction), ms).unref();
  }

  resume(direction: Direction): void {
    this.#pipes[direction].resume();
  }

  slow(direction: Direction, bytesPerSecond: number | undefined): void {
    this.#pipes[direction].slow(bytesPerSecond);
  }

  resetAfter(direction: Direction, bytes: number): void {
    this.#pipes[direction].resetAfter(bytes);
  }

  drop(direction: Direction): void {
    this.#pipes[direction].drop(() => undefined);
  }

  loseReply(): void {
    this.#pipes.reply.drop(() => this.cut());
  }

  halfOpen(left: "client" | "server"): void {
    this.#halfOpen = true;
    this.drop(left === "client" ? "request" : "reply");
    reset(left === "client" ? this.#server : this.#client);
  }

  /** One side is gone, in whatever way; the other hears of it as soon as what is held has been handed on. */
  #gone(direction: Direction): void {
    if (!this.#halfOpen) this.#pipes[direction].broken();
  }
}

/** The bytes of one direction. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #cut: () => void;
  readonly #held: Buffer[] = [];
  #stalled = false;
  #bytesPerSecond: number | undefined;
  #pacing: NodeJS.Timeout | undefined;
  #left = Number.POSITIVE_INFINITY;
  #dropped: (() => void) | undefined;
  #ended: "no" | "ended" | "broken" = "no";
  passed = 0;

  constructor(from: Socket, to: Socket, cut: () => void) {
    this.#from = from;
    this.#to = to;
    this.#cut = cut;
    from.on("data", (bytes: Buffer) => this.#take(bytes));
    from.on("end", () => this.#end("ended"));
    from.on("error", () => undefined);
    to.on("drain", () => this.#pump());
    // A socket that is gone writes nothing more, and needs no timer.
    to.once("close", () => this.slow(undefined));
  }

  stall(): void {
    this.#stalled = true;
  }

  resume(): void {
    this.#stalled = false;
    this.#pump();
  }

  slow(bytesPerSecond: number | undefined): void {
    clearTimeout(this.#pacing);
    this.#pacing = undefined;
    this.#bytesPerSecond = bytesPerSecond;
    this.#pump();
  }

  resetAfter(bytes: number): void {
    this.#left = bytes;
    this.#pump();
  }

  /** `dropped` hears of each piece. */
  drop(dropped: () => void): void {
    this.#dropped = dropped;
    this.#from.resume();
  }

  /** Without an end in good order before. */
  broken(): void {
    if (this.#ended === "no") this.#end("broken");
  }

  #end(how: "ended" | "broken"): void {
    this.#ended = how;
    this.#pump();
  }

  #take(bytes: Buffer): void {
    if (this.#dropped !== undefined) {
      this.#dropped();
      return;
    }
    this.#held.push(bytes);
    this.#pump();
    // What is held here stays small; the rest waits in the sockets, as it would behind a slow line.
    if (this.#held.length > 0) this.#from.pause();
  }

  #pump(): void {
    if (this.#stalled || this.#pacing !== undefined || this.#to.destroyed || this.#to.writableNeedDrain) return;
    while (this.#held.length > 0 && this.#left > 0) {
      const bytes = this.#next();
      this.passed += bytes.length;
      this.#left -= bytes.length;
      const room = this.#to.write(bytes);
      if (this.#left === 0) break;
      if (this.#bytesPerSecond !== undefined) {
        this.#pace((bytes.length * 1_000) / this.#bytesPerSecond);
        return;
      }
      if (!room) return;
    }
    if (this.#left === 0) this.#resetWhenWritten();
    else if (this.#held.length === 0) this.#passEnd();
  }

  /** What may be handed on at once: with a pace a twentieth of a second's bytes. */
  #next(): Buffer {
    const first = this.#held[0]!;
    const pace = this.#bytesPerSecond === undefined ? first.length : Math.max(1, Math.floor(this.#bytesPerSecond / 20));
    const count = Math.min(first.length, pace, this.#left);
    if (count === first.length) this.#held.shift();
    else this.#held[0] = first.subarray(count);
    return first.subarray(0, count);
  }

  #pace(ms: number): void {
    this.#pacing = setTimeout(() => {
      this.#pacing = undefined;
      this.#pump();
    }, ms);
  }

  /** A reset overtakes what the socket has not sent yet, and the last bytes are to arrive. */
  #resetWhenWritten(): void {
    this.#left = Number.NaN;
    this.#to.write("", () => setImmediate(this.#cut));
  }

  #passEnd(): void {
    if (this.#ended === "broken") reset(this.#to);
    else if (this.#ended === "ended") this.#to.end();
    else this.#from.resume();
  }
}

/**
 * Not `resetAndDestroy`: that first ends the socket in good order, waits until everything is written, and leaves it open for ever when it fails
 * meanwhile. An end of ours that is under way makes a reset impossible.
 */
function reset(socket: Socket): void {
  if (!socket.connecting && !socket.writableEnded) (socket as { resetAndClosing?: boolean }).resetAndClosing = true;
  socket.destroy();
}
