/** One short conversation over TCP with a deadline: enough protocol to ask a server whether it serves. */
import { connect } from "node:net";

export interface Exchange {
  send(bytes: string | Uint8Array): void;
  /** Waits until `find` sees in everything received since the last answer what it wants. */
  receive<T>(find: (received: Buffer) => T | undefined): Promise<T>;
}

/** Rejects when nothing listens there, when the server hangs up, or when `timeoutMs` is over. */
export function converse<T>(url: string, talk: (exchange: Exchange) => Promise<T>, timeoutMs = 2_000): Promise<T> {
  const { hostname, port } = new URL(url);
  return new Promise<T>((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) });
    let received = Buffer.alloc(0);
    let check = (): void => {};
    const fail = (error: Error): void => {
      clearTimeout(deadline);
      socket.destroy();
      reject(error);
    };
    const deadline = setTimeout(() => fail(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    socket.on("error", fail);
    socket.on("close", () => fail(new Error("the server hung up")));
    socket.on("data", (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      check();
    });
    const exchange: Exchange = {
      send: (bytes) => void socket.write(bytes),
      receive: (find) =>
        new Promise((settle, refuse) => {
          check = () => {
            try {
              const found = find(received);
              if (found === undefined) return;
              received = Buffer.alloc(0);
              check = () => {};
              settle(found);
            } catch (error) {
              refuse(error);
            }
          };
          check();
        }),
    };
    socket.once("connect", () => {
      talk(exchange).then((result) => {
        clearTimeout(deadline);
        socket.destroy();
        resolve(result);
      }, fail);
    });
  });
}
