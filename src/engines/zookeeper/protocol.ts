import { TenonError } from "../../contracts/errors.ts";

/** The part of ZooKeeper's protocol that is used, as it is since 3.4: frames with a length, whole numbers in network order, texts and bytes with their lengths before them. */

export const types = {
  create: 1,
  remove: 2,
  exists: 3,
  getData: 4,
  setData: 5,
  getChildren: 8,
  sync: 9,
  ping: 11,
  check: 13,
  multi: 14,
  authenticate: 100,
  closeSession: -11,
} as const;

/** Replies that answer no request of ours in turn. */
export const xids = { event: -1, ping: -2, authenticate: -4 } as const;

export interface Stat {
  /** The number of the change that wrote it last. */
  readonly change: number;
  /** The leader's clock at that change, in ms since the epoch. */
  readonly changedAt: number;
  readonly version: number;
}

export interface NodeData {
  readonly data: Buffer;
  readonly stat: Stat;
}

/** Who may do what with a node. */
export interface ZookeeperAcl {
  /** The sum of read 1, write 2, create 4, delete 8, administer 16. */
  readonly permissions: number;
  /** Such as `"digest"`, `"world"` or `"x509"`. */
  readonly scheme: string;
  readonly id: string;
}

export const everybody: readonly ZookeeperAcl[] = [{ permissions: 31, scheme: "world", id: "anyone" }];

/** A part of a transaction. `version`: what the node must have. */
export type Operation =
  | { readonly type: "create"; readonly path: string; readonly data: Buffer; readonly acls: readonly ZookeeperAcl[] }
  | { readonly type: "setData"; readonly path: string; readonly data: Buffer; readonly version: number }
  | { readonly type: "check" | "remove"; readonly path: string; readonly version: number };

/** Any version will do. */
export const anyVersion = -1;

export class ProtocolWriter {
  /** The frame's length comes first. */
  readonly #parts: Buffer[] = [Buffer.alloc(4)];

  int(value: number): this {
    const bytes = Buffer.allocUnsafe(4);
    bytes.writeInt32BE(value);
    this.#parts.push(bytes);
    return this;
  }

  long(value: bigint): this {
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeBigInt64BE(value);
    this.#parts.push(bytes);
    return this;
  }

  bool(value: boolean): this {
    this.#parts.push(Buffer.from([value ? 1 : 0]));
    return this;
  }

  bytes(value: Uint8Array): this {
    this.int(value.length);
    this.#parts.push(Buffer.from(value.buffer, value.byteOffset, value.byteLength));
    return this;
  }

  text(value: string): this {
    return this.bytes(Buffer.from(value));
  }

  acls(list: readonly ZookeeperAcl[]): this {
    this.int(list.length);
    for (const { permissions, scheme, id } of list) this.int(permissions).text(scheme).text(id);
    return this;
  }

  frame(): Buffer {
    const frame = Buffer.concat(this.#parts);
    frame.writeInt32BE(frame.length - 4);
    return frame;
  }
}

/** Reads a frame. What does not fit is `corrupt`: the other side is no ZooKeeper, or bytes were lost. */
export class ProtocolReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  int(): number {
    return this.#take(4).readInt32BE();
  }

  long(): bigint {
    return this.#take(8).readBigInt64BE();
  }

  bool(): boolean {
    return this.#take(1)[0] !== 0;
  }

  /** Bytes that are not there are none. */
  bytes(): Buffer {
    return this.#take(Math.max(0, this.int()));
  }

  text(): string {
    return this.bytes().toString();
  }

  texts(): readonly string[] {
    const count = this.int();
    if (count > this.#bytes.length) throw corrupt();
    return Array.from({ length: Math.max(0, count) }, () => this.text());
  }

  stat(): Stat {
    this.long(); // Of its creation.
    const change = Number(this.long());
    this.long();
    const changedAt = Number(this.long());
    const version = this.int();
    this.#take(statRestBytes);
    return { change, changedAt, version };
  }

  #take(count: number): Buffer {
    const end = this.#at + count;
    if (end > this.#bytes.length) throw corrupt();
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }
}

/** The versions of children and access lists, the owner, two lengths, and the last change of children. */
const statRestBytes = 4 + 4 + 8 + 4 + 4 + 8;

export function corrupt(): TenonError {
  return new TenonError("corrupt", "what ZooKeeper answered cannot be read; something else may listen there");
}

export function connectFrame(lastChange: number, timeoutMs: number): Buffer {
  // Always a new session, as nothing hangs on one.
  const writer = new ProtocolWriter().int(0).long(BigInt(lastChange)).int(timeoutMs).long(0n);
  return writer.bytes(Buffer.alloc(16)).bool(false).frame();
}

export function requestOf(xid: number, type: number): ProtocolWriter {
  return new ProtocolWriter().int(xid).int(type);
}

const transactionTypes = {
  create: types.create,
  setData: types.setData,
  check: types.check,
  remove: types.remove,
} as const;

export function writeOperations(writer: ProtocolWriter, operations: readonly Operation[]): ProtocolWriter {
  for (const operation of operations) {
    const { type, path } = operation;
    writer.int(transactionTypes[type]).bool(false).int(-1).text(path);
    if (type === "create") writer.bytes(operation.data).acls(operation.acls).int(0);
    else if (type === "setData") writer.bytes(operation.data).int(operation.version);
    else writer.int(operation.version);
  }
  return writer.int(-1).bool(true).int(-1);
}

export interface TransactionResults {
  /** The first error, 0 when there is none. */
  readonly failed: number;
  /** What each `setData` made of its node, in their order; the other parts do not say. */
  readonly written: readonly Stat[];
}

export function readResults(reader: ProtocolReader): TransactionResults {
  let failed = 0;
  const written: Stat[] = [];
  for (;;) {
    const type = reader.int();
    if (reader.bool()) return { failed, written };
    reader.int();
    if (type === -1) failed ||= reader.int();
    else if (type === types.create) reader.text();
    else if (type === types.setData) written.push(reader.stat());
  }
}
