/**
 * The structural subset of the clients that the engine uses: ioredis (`Redis`, also with Sentinels, and `Cluster`) and node-redis 5 or later
 * (`createClient`, `createCluster`). `clients.types.ts` proves that the real ones fit.
 */
export type RedisClient = IoredisClient | IoredisCluster | NodeRedisClient | NodeRedisCluster;

interface Emitter {
  // biome-ignore lint/suspicious/noExplicitAny: the clients' overloads of `on` cannot be written otherwise.
  on(event: any, listener: any): unknown;
}

export interface IoredisClient extends Emitter {
  readonly status: string;
  readonly isCluster: boolean;
  readonly options: {
    readonly autoResendUnfulfilledCommands?: boolean | undefined;
    readonly keyPrefix?: string | undefined;
    readonly stringNumbers?: boolean | undefined;
  };
  /** While there is a connection. */
  readonly stream?: { cork(): void; uncork(): void } | undefined;
  callBuffer(command: string, args: (string | Buffer | number)[]): Promise<unknown>;
  subscribe(...channels: string[]): Promise<unknown>;
  unsubscribe(...channels: string[]): Promise<unknown>;
  disconnect(reconnect?: boolean): void;
}

export interface IoredisCluster extends Emitter {
  readonly status: string;
  readonly isCluster: boolean;
  readonly options: {
    readonly retryDelayOnFailover?: number | undefined;
    readonly scaleReads?: unknown;
    readonly keyPrefix?: string | undefined;
  };
  callBuffer(command: string, args: (string | Buffer | number)[]): Promise<unknown>;
  nodes(role?: "master"): readonly IoredisNode[];
  disconnect(): void;
}

/** A node's own client, from which one for subscriptions is made. */
export interface IoredisNode {
  duplicate(override?: {
    lazyConnect?: boolean;
    readOnly?: boolean;
    retryStrategy?: (times: number) => number;
    autoResendUnfulfilledCommands?: boolean;
  }): IoredisClient;
}

export interface NodeRedisOptions {
  readonly typeMapping?: object;
  readonly timeout?: number | undefined;
}

export interface NodeRedisClient extends Emitter {
  readonly isReady: boolean;
  readonly isOpen: boolean;
  sendCommand(args: (string | Buffer)[], options?: NodeRedisOptions): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: the real methods are generic over what the listener is given.
  subscribe(channel: string, listener: any, bufferMode?: any): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  duplicate(): NodeRedisClient;
  connect(): Promise<unknown>;
  destroy(): void;
}

export interface NodeRedisCluster extends Emitter {
  readonly isOpen: boolean;
  readonly masters: readonly object[];
  sendCommand(
    firstKey: string | undefined,
    isReadonly: boolean | undefined,
    args: (string | Buffer)[],
    options?: NodeRedisOptions,
  ): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: what stands in `masters` is a type that the client does not export.
  nodeClient(node: any): unknown;
  connect(): Promise<unknown>;
  destroy(): void;
}
