import { createServer } from "node:net";

/** Ports above belong to outgoing connections, which may take one between its choice and its use. */
const portMax = 32_767;

/** The preferred port when it is free and not in `taken`, else one a multiple of a thousand away. */
export async function choosePort(
  preferred: number,
  taken: ReadonlySet<number>,
  isFree: (port: number) => Promise<boolean> = isPortFree,
): Promise<number> {
  for (const port of candidates(preferred)) {
    if (!taken.has(port) && (await isFree(port))) return port;
  }
  throw new Error(`Port ${preferred} and those that stand in for it are all taken.`);
}

function* candidates(preferred: number): Generator<number> {
  yield preferred;
  for (let port = preferred + 1000; port <= portMax; port += 1000) yield port;
  for (let port = preferred - 1000; port > 1024; port -= 1000) yield port;
}

/** Whether a server on loopback could listen there now. */
export function isPortFree(port: number): Promise<boolean> {
  return new Promise((settle) => {
    const server = createServer();
    server.once("error", () => settle(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => settle(true)));
  });
}
