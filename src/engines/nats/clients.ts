/** What is used of a connection of the package `@nats-io/transport-node`, or of `@nats-io/nats-core` over another transport. */
export interface NatsConnection {
  readonly info?: NatsServerInfo | undefined;
  request(
    subject: string,
    payload?: Uint8Array | string,
    options?: { timeout: number; headers?: NatsHeaders },
  ): Promise<NatsMessage>;
  publish(subject: string, payload?: Uint8Array | string): void;
  subscribe(
    subject: string,
    options: { callback: (error: Error | null, message: NatsMessage) => void },
  ): { unsubscribe(): void };
  flush(): Promise<void>;
  status(): AsyncIterable<{ readonly type: string }>;
  closed(): Promise<unknown>;
  close(): Promise<void>;
}

export interface NatsServerInfo {
  readonly server_id: string;
  readonly version: string;
  readonly max_payload: number;
  readonly headers?: boolean | undefined;
  readonly jetstream?: boolean | undefined;
}

export interface NatsMessage {
  readonly subject: string;
  readonly data: Uint8Array;
  readonly headers?: NatsHeaders | undefined;
}

export interface NatsHeaders {
  /** The status that a server answers with instead of a message. */
  readonly code: number;
  get(name: string): string;
  set(name: string, value: string): void;
}
