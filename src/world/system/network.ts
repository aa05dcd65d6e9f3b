import { connect, createServer, type Server, type Socket } from "node:net";
import {
  type Address,
  type Connection,
  type Listener,
  type Network,
  NetworkError,
  type NetworkFailure,
} from "../world.ts";

const FAILURES: Readonly<Record<string, NetworkFailure>> = {
  ECONNREFUSED: "refused",
  EHOSTUNREACH: "unreachable",
  ENETUNREACH: "unreachable",
  ENOTFOUND: "unreachable",
  EAI_AGAIN: "unreachable",
  ETIMEDOUT: "unreachable",
  EADDRINUSE: "occupied",
  EADDRNOTAVAIL: "unreachable",
  EACCES: "denied",
};

export class SystemNetwork implements Network {
  listen(address: Address, accept: (connection: Connection) => void): Promise<Listener> {
    return new Promise((resolve, reject) => {
      const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
        accept(new SystemConnection(socket)),
      );
      const refuse = (error: Error) => reject(networkError("listen on", address, error));
      server.once("error", refuse);
      server.listen({ host: address.host, port: address.port }, () => {
        server.off("error", refuse);
        resolve(listener(server, address));
      });
    });
  }

  connect(address: Address, options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Connection> {
    const { signal } = options;
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const socket = connect({ host: address.host, port: address.port, allowHalfOpen: true, noDelay: true });
      const abort = () => {
        socket.destroy();
        reject(signal?.reason);
      };
      const refuse = (error: Error) => {
        signal?.removeEventListener("abort", abort);
        reject(networkError("connect to", address, error));
      };
      signal?.addEventListener("abort", abort, { once: true });
      socket.once("error", refuse);
      socket.once("connect", () => {
        signal?.removeEventListener("abort", abort);
        socket.off("error", refuse);
        resolve(new SystemConnection(socket));
      });
    });
  }
}

function listener(server: Server, address: Address): Listener {
  const bound = server.address();
  const port = typeof bound === "object" && bound !== null ? bound.port : address.port;
  // A failed accept (too many descriptors, say) concerns one connection; the listener goes on.
  server.on("error", () => {});
  return {
    address: { host: address.host, port },
    // The server's own callback waits for every accepted connection; the port is free without it.
    close: async () => {
      server.close();
    },
  };
}

/**
 * Reads by pulling: the socket buffers up to its high-water mark and the kernel's window closes, so a slow reader slows the
 * writer down.
 */
class SystemConnection implements Connection {
  readonly remote: Address;
  readonly #socket: Socket;
  #failure: NetworkError | undefined;
  #ended = false;
  #wake: (() => void) | undefined;
  #reading = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.remote = { host: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
    socket.on("readable", () => this.#wake?.());
    socket.on("end", () => {
      this.#ended = true;
      this.#wake?.();
    });
    socket.on("error", (error) => {
      this.#failure ??= networkError("use the connection to", this.remote, error);
    });
    socket.on("close", () => {
      this.#failure ??= networkError("use the connection to", this.remote, new Error("it is closed"));
      this.#wake?.();
    });
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#socket.write(bytes, (error) => {
        if (error) reject(networkError("write to", this.remote, error));
        else resolve();
      });
    });
  }

  async read(): Promise<Uint8Array | undefined> {
    if (this.#reading) throw new Error(`read from ${this.remote.host}:${this.remote.port}: another read is under way`);
    this.#reading = true;
    try {
      for (;;) {
        const bytes = this.#socket.read() as Uint8Array | null;
        if (bytes !== null) return bytes;
        if (this.#ended) return undefined;
        if (this.#failure !== undefined) throw this.#failure;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.#reading = false;
    }
  }

  close(): Promise<void> {
    if (this.#socket.destroyed || this.#socket.writableFinished) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#socket.end((error?: Error | null) => {
        if (error) reject(networkError("close the connection to", this.remote, error));
        else resolve();
      });
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }
}

function networkError(operation: string, address: Address, cause: Error): NetworkError {
  const code = "code" in cause ? String(cause.code) : "";
  const message = `cannot ${operation} ${address.host}:${address.port}: ${cause.message}`;
  return new NetworkError(FAILURES[code] ?? "broken", address, message, { cause });
}
