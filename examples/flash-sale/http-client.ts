import { connect, type Socket } from "node:net";

export interface HttpTarget {
  readonly host: string;
  readonly port: number;
}

export interface HttpConnectionEvents {
  response(connection: HttpConnection, status: number, body: string): void;
  /** The connection ended before the answer to the request that was under way came. */
  broken(connection: HttpConnection): void;
  connected(connection: HttpConnection): void;
  /** It ended, or was refused, while no request was under way. */
  closed(connection: HttpConnection): void;
}

const headEnd = "\r\n\r\n";

/**
 * One keep-alive HTTP/1.1 connection with one request under way at a time, for loads that would keep a general client busier
 * than the server. It reads responses that carry a `Content-Length`; anything else breaks the connection.
 */
export class HttpConnection {
  readonly target: HttpTarget;
  readonly #events: HttpConnectionEvents;
  #socket: Socket | undefined;
  #waiting = false;
  #ready = false;
  /** What came of a response that is not complete yet, as latin1: one character is one byte. */
  #received = "";

  constructor(target: HttpTarget, events: HttpConnectionEvents) {
    this.target = target;
    this.#events = events;
  }

  get idle(): boolean {
    return this.#ready && !this.#waiting;
  }

  connect(): void {
    const socket = connect({ ...this.target, noDelay: true });
    this.#socket = socket;
    this.#received = "";
    socket.setEncoding("latin1");
    socket.on("connect", () => {
      this.#ready = true;
      this.#events.connected(this);
    });
    socket.on("data", (chunk) => this.#receive(chunk as unknown as string));
    // An error is always followed by "close", which is where the request is given back.
    socket.on("error", () => {});
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#ended(socket));
  }

  /** `request` is a complete HTTP/1.1 request of latin1 characters. Only on an idle connection. */
  send(request: string): void {
    if (!this.idle || this.#socket === undefined) throw new Error("one request at a time: wait for the response");
    this.#waiting = true;
    this.#socket.write(request, "latin1");
  }

  destroy(): void {
    this.#socket?.destroy();
  }

  #ended(socket: Socket): void {
    if (socket !== this.#socket) return;
    const waited = this.#waiting;
    this.#socket = undefined;
    this.#ready = false;
    this.#waiting = false;
    if (waited) this.#events.broken(this);
    else this.#events.closed(this);
  }

  #receive(chunk: string): void {
    const text = this.#received === "" ? chunk : this.#received + chunk;
    const headLength = text.indexOf(headEnd);
    if (headLength === -1) {
      this.#received = text;
      return;
    }
    const head = readHead(text, headLength);
    if (head === undefined || !this.#waiting) {
      this.destroy();
      return;
    }
    const bodyStart = headLength + headEnd.length;
    const bodyEnd = bodyStart + head.contentLength;
    if (text.length < bodyEnd) {
      this.#received = text;
      return;
    }
    if (text.length > bodyEnd) {
      // Nobody asked for more than one response.
      this.destroy();
      return;
    }
    this.#received = "";
    this.#waiting = false;
    if (head.close) {
      this.#ready = false;
      this.destroy();
    }
    this.#events.response(this, head.status, text.slice(bodyStart, bodyEnd));
  }
}

interface ResponseHead {
  readonly status: number;
  readonly contentLength: number;
  readonly close: boolean;
}

const statusLine = /^HTTP\/1\.[01] (\d{3})/;
const contentLength = /\r\nContent-Length: *(\d+) *(?:\r\n|$)/i;
const connectionClose = /\r\nConnection: *close/i;

function readHead(text: string, length: number): ResponseHead | undefined {
  const head = text.slice(0, length);
  const status = statusLine.exec(head);
  const size = contentLength.exec(head);
  if (status === null || size === null) return undefined;
  return { status: Number(status[1]), contentLength: Number(size[1]), close: connectionClose.test(head) };
}
