import { type Address, type Connection, type Listener, NetworkError, type World } from "../../world/world.ts";
import type { Fetch } from "../builtins/builtins.ts";
import { FramedConnection } from "./framed-connection.ts";
import {
  bodyOf,
  type HttpMessage,
  MESSAGE_BYTES_MAX,
  type RequestHead,
  type ResponseHead,
  readMessage,
  writeMessage,
} from "./http-messages.ts";

const HTTP_PORT = 80;
/** As in Node's own `fetch`: who sets no limit must not wait for ever where the other side is gone without a word. */
const RESPONSE_MS_MAX = 300_000;
/** These have no body, and `Response` insists on it. */
const STATUSES_WITHOUT_BODY = [101, 103, 204, 205, 304];

/** Takes a request and answers it, as gateways do. */
export type HttpHandler = (
  request: Request,
  context: {
    /** Aborts when nobody waits for the response any more; so does the request's own. */
    readonly signal: AbortSignal;
  },
) => Promise<Response> | Response;

export interface HttpServerOptions {
  /** 80 when left out; 0 asks for any free one. */
  readonly port?: number | undefined;
  /** Where it listens: everywhere when left out. */
  readonly host?: string | undefined;
}

export interface HttpServer {
  readonly address: Address;
  /** Takes no more requests, and resolves when those under way have been answered. */
  close(): Promise<void>;
}

/**
 * Serves HTTP over the World's network to whoever uses `fetchOver`. What is spoken between the two is not HTTP/1.1, so that neither understands other peers: every request has a
 * connection of its own, and bodies are sent as a whole. A handler that throws is logged and answered with 500.
 */
export async function serveHttp(world: World, options: HttpServerOptions, handle: HttpHandler): Promise<HttpServer> {
  const server = new ListeningServer(world, handle);
  const { port = HTTP_PORT, host = "0.0.0.0" } = options;
  await server.listen({ host, port });
  return server;
}

/**
 * `fetch` over the World's network: `http://<process>[:port]/path`, of whoever called `serveHttp` there. Capital letters do not matter in the name. A connection that cannot be made or that
 * breaks rejects as `fetch` does, with `TypeError: fetch failed` and the `NetworkError` as its cause; so does a response that takes more than 300 s. Redirects are not followed, and
 * nothing is cached.
 */
export function fetchOver(world: World): Fetch {
  return async (input, init) => {
    const request = new Request(input, { ...init, signal: null });
    const signal = init?.signal ?? (input instanceof Request ? input.signal : undefined);
    signal?.throwIfAborted();
    const message = await outgoing(request);
    signal?.throwIfAborted();
    try {
      return incoming(request.url, await exchange(world, message, signal));
    } catch (cause) {
      if (signal?.aborted) throw signal.reason;
      throw new TypeError("fetch failed", { cause });
    }
  };
}

async function outgoing(request: Request): Promise<HttpMessage<RequestHead>> {
  const url = new URL(request.url);
  if (url.protocol !== "http:") {
    const cause = new Error(`the simulated network knows http:, not ${url.protocol}`);
    throw new TypeError("fetch failed", { cause });
  }
  const body = await bodyOf(request);
  const headers = new Headers(request.headers);
  headers.set("host", url.host);
  if (body !== undefined) headers.set("content-length", String(body.byteLength));
  const target = url.pathname + url.search;
  return { head: { method: request.method, host: url.host, target, headers: [...headers] }, body };
}

function incoming(url: string, { head, body }: HttpMessage<ResponseHead>): Response {
  const { status, statusText } = head;
  const response = new Response(STATUSES_WITHOUT_BODY.includes(status) ? null : (body ?? null), {
    status,
    statusText,
    headers: head.headers.map(([name, value]): [string, string] => [name, value]),
  });
  // No constructor takes it. The fragment is no part of it.
  Object.defineProperty(response, "url", { value: url.replace(/#.*$/s, ""), configurable: true });
  return response;
}

async function exchange(
  world: World,
  message: HttpMessage<RequestHead>,
  signal: AbortSignal | undefined,
): Promise<HttpMessage<ResponseHead>> {
  const address = addressOf(message.head.host);
  const connection = await world.network.connect(address, { signal });
  const destroy = (): void => connection.destroy();
  let late = false;
  const cancel = world.timers.schedule(RESPONSE_MS_MAX, () => {
    late = true;
    connection.destroy();
  });
  signal?.addEventListener("abort", destroy, { once: true });
  try {
    if (signal?.aborted) throw signal.reason;
    const framed = new FramedConnection(connection, MESSAGE_BYTES_MAX);
    await writeMessage(framed, message);
    const response = await readMessage<ResponseHead>(framed);
    if (response === undefined)
      throw new NetworkError("broken", address, `${message.head.host} ended the connection without a response`);
    // What becomes of the end of our stream is of no interest any more.
    connection.close().catch(() => {});
    return response;
  } catch (error) {
    connection.destroy();
    if (!late) throw error;
    throw new Error(`${message.head.host} did not answer within ${RESPONSE_MS_MAX} ms`, { cause: error });
  } finally {
    cancel();
    signal?.removeEventListener("abort", destroy);
  }
}

function addressOf(host: string): Address {
  const { hostname, port } = new URL(`http://${host}`);
  return { host: hostname.replace(/^\[(.*)\]$/, "$1"), port: port === "" ? HTTP_PORT : Number(port) };
}

class ListeningServer implements HttpServer {
  readonly #world: World;
  readonly #handle: HttpHandler;
  /** Those whose request has not arrived yet. */
  readonly #waiting = new Set<Connection>();
  readonly #underWay = new Set<Promise<void>>();
  #listener!: Listener;

  constructor(world: World, handle: HttpHandler) {
    this.#world = world;
    this.#handle = handle;
  }

  get address(): Address {
    return this.#listener.address;
  }

  async listen(address: Address): Promise<void> {
    this.#listener = await this.#world.network.listen(address, (connection) => {
      const serving = this.#serve(connection).finally(() => this.#underWay.delete(serving));
      this.#underWay.add(serving);
    });
  }

  async close(): Promise<void> {
    await this.#listener.close();
    for (const connection of this.#waiting) connection.destroy();
    await Promise.all(this.#underWay);
  }

  /** Never rejects: a connection that breaks is its client's loss. */
  async #serve(connection: Connection): Promise<void> {
    try {
      const framed = new FramedConnection(connection, MESSAGE_BYTES_MAX);
      this.#waiting.add(connection);
      const message = await readMessage<RequestHead>(framed).finally(() => this.#waiting.delete(connection));
      if (message === undefined) return await connection.close();
      const left = new AbortController();
      const leave = (): void => left.abort(new DOMException("the client has left", "AbortError"));
      // Nothing more is to come, so that whatever can be read is the end.
      framed.read().then(leave, leave);
      const response = await this.#answer(message, left.signal);
      await writeMessage(framed, response);
      await connection.close();
    } catch {
      connection.destroy();
    }
  }

  async #answer(message: HttpMessage<RequestHead>, signal: AbortSignal): Promise<HttpMessage<ResponseHead>> {
    try {
      const response = await this.#handle(requestOf(message, signal), { signal });
      const { status, statusText } = response;
      if (status === 0) throw new Error("Response.error() is nothing that a server can answer");
      const body = message.head.method === "HEAD" ? undefined : await bodyOf(response);
      return { head: { status, statusText, headers: [...response.headers] }, body };
    } catch (error) {
      if (!signal.aborted) this.#world.log.log("error", "a handler of HTTP requests threw", { error: String(error) });
      const head = { status: 500, statusText: "Internal Server Error", headers: [] };
      return { head, body: new Uint8Array(Buffer.from("Internal Server Error")) };
    }
  }
}

function requestOf({ head, body }: HttpMessage<RequestHead>, signal: AbortSignal): Request {
  const request = new Request(`http://${head.host}${head.target}`, {
    method: head.method,
    headers: head.headers.map(([name, value]): [string, string] => [name, value]),
    ...(body === undefined ? {} : { body }),
    signal,
  });
  // Its own follows that one only until the request is collected as garbage, of which no seed knows.
  Object.defineProperty(request, "signal", { value: signal, configurable: true });
  return request;
}
