import type { Cancel, Connection, World } from "../../world/world.ts";
import { codes, ZookeeperError } from "./failures.ts";
import {
  anyVersion,
  connectFrame,
  corrupt,
  everybody,
  type NodeData,
  type Operation,
  ProtocolReader,
  readResults,
  requestOf,
  type Stat,
  types,
  writeOperations,
  xids,
  type ZookeeperAcl,
} from "./protocol.ts";

export interface Credentials {
  /** Such as `"digest"`. */
  readonly scheme: string;
  /** Such as `"user:password"`. */
  readonly value: string;
}

export interface SessionSettings {
  readonly world: World;
  readonly timeoutMs: number;
  readonly credentials: readonly Credentials[];
  /** The greatest number of a change that was seen; a server that is behind it is not talked to. */
  readonly lastChange: number;
  /** Something has happened to a node that was watched. */
  readonly told: (path: string) => void;
}

interface Pending {
  readonly xid: number;
  readonly resolve: (reply: ProtocolReader) => void;
  readonly reject: (error: unknown) => void;
}

/** Far more than jute.maxbuffer, and less than what would hurt. */
const frameBytesMax = 64 * 1024 * 1024;
const xidMax = 2 ** 31 - 1;

/** One session over one connection; both end together. Requests are answered in their order, and none is repeated. */
export class ZookeeperSession {
  readonly #connection: Connection;
  readonly #settings: SessionSettings;
  readonly #pending: Pending[] = [];
  readonly #broken = Promise.withResolvers<void>();
  #xid = 1;
  #ended: ZookeeperError | undefined;
  #buffer = Buffer.alloc(0);
  #timeoutMs: number;
  #heardAt: number;
  #pings: Cancel | undefined;
  lastChange: number;

  static async open(connection: Connection, settings: SessionSettings): Promise<ZookeeperSession> {
    const session = new ZookeeperSession(connection, settings);
    await session.#begin();
    return session;
  }

  private constructor(connection: Connection, settings: SessionSettings) {
    this.#connection = connection;
    this.#settings = settings;
    this.lastChange = settings.lastChange;
    this.#timeoutMs = settings.timeoutMs;
    this.#heardAt = settings.world.clock.monotonic();
  }

  /** Resolves when it has ended. */
  get broken(): Promise<void> {
    return this.#broken.promise;
  }

  async #begin(): Promise<void> {
    const { credentials, lastChange, timeoutMs } = this.#settings;
    this.#send(connectFrame(lastChange, timeoutMs));
    const reader = new ProtocolReader(await this.#frame());
    reader.int();
    this.#timeoutMs = reader.int();
    if (this.#timeoutMs <= 0) throw new ZookeeperError(codes.sessionExpired);
    for (const { scheme, value } of credentials) {
      const request = requestOf(xids.authenticate, types.authenticate).int(0).text(scheme).text(value);
      this.#send(request.frame());
    }
    void this.#listen();
    this.#ping();
  }

  async getData(path: string, watch = false): Promise<NodeData | undefined> {
    try {
      const reply = await this.#ask(types.getData, (request) => request.text(path).bool(watch));
      return { data: reply.bytes(), stat: reply.stat() };
    } catch (error) {
      if (error instanceof ZookeeperError && error.code === codes.noNode) return undefined;
      throw error;
    }
  }

  /** Whether it is there; its coming or its next change is told once. */
  async watchExistence(path: string): Promise<boolean> {
    try {
      await this.#ask(types.exists, (request) => request.text(path).bool(true));
      return true;
    } catch (error) {
      if (error instanceof ZookeeperError && error.code === codes.noNode) return false;
      throw error;
    }
  }

  async setData(path: string, data: Buffer, version = anyVersion): Promise<Stat> {
    return (await this.#ask(types.setData, (request) => request.text(path).bytes(data).int(version))).stat();
  }

  async create(path: string, data: Buffer, acls: readonly ZookeeperAcl[] = everybody): Promise<void> {
    await this.#ask(types.create, (request) => request.text(path).bytes(data).acls(acls).int(0));
  }

  async getChildren(path: string): Promise<readonly string[]> {
    return (await this.#ask(types.getChildren, (request) => request.text(path).bool(false))).texts();
  }

  /** What is asked after it shows all that any server had confirmed before. */
  async sync(path: string): Promise<void> {
    await this.#ask(types.sync, (request) => request.text(path));
  }

  /** All of it or nothing; answers what each `setData` made of its node. */
  async transact(operations: readonly Operation[]): Promise<readonly Stat[]> {
    const reply = await this.#ask(types.multi, (request) => writeOperations(request, operations));
    const { failed, written } = readResults(reply);
    if (failed !== 0) throw new ZookeeperError(failed);
    return written;
  }

  #ask(type: number, write: (request: ReturnType<typeof requestOf>) => unknown): Promise<ProtocolReader> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const xid = this.#xid;
    this.#xid = xid === xidMax ? 1 : xid + 1;
    const request = requestOf(xid, type);
    write(request);
    return new Promise((resolve, reject) => {
      this.#pending.push({ xid, resolve, reject });
      this.#send(request.frame());
    });
  }

  #send(frame: Buffer): void {
    this.#connection.write(frame).catch(() => this.end());
  }

  async #listen(): Promise<void> {
    try {
      while (this.#ended === undefined) this.#heard(new ProtocolReader(await this.#frame()));
    } catch {
      this.end();
    }
  }

  #heard(reader: ProtocolReader): void {
    const [xid, change, code] = [reader.int(), Number(reader.long()), reader.int()];
    if (change > this.lastChange) this.lastChange = change;
    if (xid === xids.ping) return;
    if (xid === xids.event) {
      reader.int();
      reader.int();
      this.#settings.told(reader.text());
    } else if (xid === xids.authenticate) {
      if (code !== 0) this.end(new ZookeeperError(codes.authFailed));
    } else {
      const pending = this.#pending.shift();
      if (pending === undefined) throw corrupt();
      if (pending.xid !== xid) {
        this.#pending.unshift(pending);
        throw corrupt();
      }
      if (code === 0) pending.resolve(reader);
      else pending.reject(new ZookeeperError(code));
    }
  }

  async #frame(): Promise<Buffer> {
    for (;;) {
      const size = this.#buffer.length < 4 ? 0 : this.#buffer.readInt32BE();
      if (size < 0 || size > frameBytesMax) throw corrupt();
      if (this.#buffer.length >= size + 4 && this.#buffer.length >= 4) {
        const frame = this.#buffer.subarray(4, size + 4);
        this.#buffer = this.#buffer.subarray(size + 4);
        return frame;
      }
      const bytes = await this.#connection.read();
      if (bytes === undefined) throw new ZookeeperError(codes.connectionLoss);
      this.#heardAt = this.#settings.world.clock.monotonic();
      this.#buffer = Buffer.concat([this.#buffer, bytes]);
    }
  }

  /** So often that the server does not take it for dead; and a server that has not answered for two thirds of the time is taken for dead. */
  #ping(): void {
    const { timers, clock } = this.#settings.world;
    this.#pings = timers.schedule(this.#timeoutMs / 3, () => {
      if (this.#ended !== undefined) return;
      if (clock.monotonic() - this.#heardAt > (this.#timeoutMs * 2) / 3) this.end();
      else {
        this.#send(requestOf(xids.ping, types.ping).frame());
        this.#ping();
      }
    });
  }

  /** Takes leave, so that the server need not wait for the end of the session. */
  async leave(): Promise<void> {
    await this.#ask(types.closeSession, () => undefined).catch(() => undefined);
    this.end();
  }

  /** What is under way may have happened or not. */
  end(reason = new ZookeeperError(codes.connectionLoss)): void {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#pings?.();
    this.#connection.destroy();
    for (const { reject } of this.#pending.splice(0)) reject(reason);
    this.#broken.resolve();
  }

  get reason(): ZookeeperError | undefined {
    return this.#ended;
  }
}
