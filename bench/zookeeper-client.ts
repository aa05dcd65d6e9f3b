/** A bare client of ZooKeeper's protocol, for one connection: what its lock recipe needs, and nothing repeated. */
import { connect, type Socket } from "node:net";
import {
  connectFrame,
  everybody,
  ProtocolReader,
  type ProtocolWriter,
  requestOf,
  types,
  xids,
} from "../src/engines/zookeeper/protocol.ts";

const SESSION_MS = 10_000;
const PING_MS = 2_000;
const EPHEMERAL_SEQUENTIAL = 3;
const NO_NODE = -101;

interface Pending {
  resolve(reply: ProtocolReader): void;
  reject(error: Error): void;
}

export class BareZookeeper {
  readonly #socket: Socket;
  readonly #pending: Pending[] = [];
  readonly #watched = new Map<string, () => void>();
  readonly #pings: NodeJS.Timeout;
  #received = Buffer.alloc(0);
  #xid = 1;
  #isOpen = false;

  static async open(url: string): Promise<BareZookeeper> {
    const { hostname: host, port } = new URL(url);
    const socket = connect({ host, port: Number(port), noDelay: true });
    const client = new BareZookeeper(socket);
    await new Promise<ProtocolReader>((resolve, reject) => {
      client.#pending.push({ resolve, reject });
      socket.write(connectFrame(0, SESSION_MS));
    });
    client.#isOpen = true;
    return client;
  }

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("data", (bytes) => this.#hear(bytes));
    socket.on("error", (error) => this.#fail(error));
    socket.on("close", () => this.#fail(new Error("the connection to ZooKeeper has ended")));
    this.#pings = setInterval(() => socket.write(requestOf(xids.ping, types.ping).frame()), PING_MS);
  }

  async make(path: string): Promise<void> {
    await this.#ask(types.create, (request) => request.text(path).bytes(Buffer.alloc(0)).acls(everybody).int(0));
  }

  /** Answers the path that it got. */
  async makeEphemeralSequential(path: string): Promise<string> {
    const reply = await this.#ask(types.create, (request) =>
      request.text(path).bytes(Buffer.alloc(0)).acls(everybody).int(EPHEMERAL_SEQUENTIAL),
    );
    return reply.text();
  }

  async children(path: string): Promise<readonly string[]> {
    return (await this.#ask(types.getChildren, (request) => request.text(path).bool(false))).texts();
  }

  async remove(path: string): Promise<void> {
    await this.#ask(types.remove, (request) => request.text(path).int(-1));
  }

  /** Resolves when there is no such node any more. */
  async untilGone(path: string): Promise<void> {
    const gone = new Promise<void>((resolve) => this.#watched.set(path, resolve));
    try {
      await this.#ask(types.exists, (request) => request.text(path).bool(true));
    } catch (error) {
      this.#watched.delete(path);
      if ((error as { code?: number }).code === NO_NODE) return;
      throw error;
    }
    await gone;
  }

  close(): void {
    clearInterval(this.#pings);
    this.#socket.destroy();
  }

  #ask(type: number, write: (request: ProtocolWriter) => ProtocolWriter): Promise<ProtocolReader> {
    return new Promise((resolve, reject) => {
      this.#pending.push({ resolve, reject });
      this.#socket.write(write(requestOf(this.#xid++, type)).frame());
    });
  }

  #hear(bytes: Buffer): void {
    let rest = this.#received.length === 0 ? bytes : Buffer.concat([this.#received, bytes]);
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const end = 4 + rest.readInt32BE(0);
      this.#heard(new ProtocolReader(rest.subarray(4, end)));
      rest = rest.subarray(end);
    }
    this.#received = Buffer.from(rest);
  }

  #heard(reader: ProtocolReader): void {
    if (!this.#isOpen) {
      this.#pending.shift()?.resolve(reader);
      return;
    }
    const xid = reader.int();
    reader.long();
    const code = reader.int();
    if (xid === xids.ping) return;
    if (xid === xids.event) {
      reader.int();
      reader.int();
      const path = reader.text();
      this.#watched.get(path)?.();
      this.#watched.delete(path);
      return;
    }
    const pending = this.#pending.shift();
    if (code === 0) pending?.resolve(reader);
    else pending?.reject(Object.assign(new Error(`ZooKeeper answered ${code}`), { code }));
  }

  #fail(error: Error): void {
    clearInterval(this.#pings);
    for (const { reject } of this.#pending.splice(0)) reject(error);
  }
}
