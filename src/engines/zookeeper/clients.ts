/**
 * What is used of a client of the package node-zookeeper-client. Changes go through `transaction()` alone, which the client never repeats; only writes that may be
 * repeated go through `setData`. A version of 0 means "any" to the client, so no node that is compared ever has it.
 */
export interface ZookeeperClient {
  connect(): void;
  close(): void;
  getState(): { readonly code: number };
  on(event: "state", listener: (state: { readonly code: number }) => void): unknown;
  getData(path: string, callback: DataCallback): void;
  getData(path: string, watcher: () => void, callback: DataCallback): void;
  exists(path: string, watcher: () => void, callback: (error: unknown, stat: ZookeeperStat) => void): void;
  getChildren(path: string, callback: (error: unknown, children: string[]) => void): void;
  setData(path: string, data: Buffer, callback: (error: unknown, stat: ZookeeperStat) => void): void;
  transaction(): ZookeeperTransaction;
  /** What it writes to, so that a connection that is dead can be cut: taking leave would wait for an answer. */
  readonly connectionManager?: { readonly socket?: { destroy(): unknown } } | undefined;
}

type DataCallback = (error: unknown, data: Buffer, stat: ZookeeperStat) => void;

/** Numbers of 64 bits are eight bytes. */
export interface ZookeeperStat {
  readonly mzxid: Buffer;
  readonly mtime: Buffer;
  readonly version: number;
}

export interface ZookeeperTransaction {
  create(path: string, data: Buffer, acls?: ZookeeperAcl[]): this;
  setData(path: string, data: Buffer, version?: number): this;
  check(path: string, version: number): this;
  remove(path: string, version: number): this;
  commit(callback: (error: unknown, results: unknown) => void): void;
}

/** An `ACL` of the package. */
export interface ZookeeperAcl {
  perms: number;
  id: { scheme: string; id: string };
}
