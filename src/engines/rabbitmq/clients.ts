/** What is used of a `ChannelModel` of the package amqplib, as its `connect()` answers it. */
export interface RabbitmqClient {
  createConfirmChannel(): Promise<RabbitmqClientChannel>;
  close(): Promise<void>;
  readonly connection: {
    readonly serverProperties: object;
    /** As it was agreed on with the server, in seconds; 0: none. */
    readonly heartbeat?: number | undefined;
    /** What it writes to, so that small requests go out at once, and a connection that is dead can be cut. */
    readonly stream?: { setNoDelay?(noDelay: boolean): unknown; destroy(error?: Error): unknown } | undefined;
  };
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "close" | "unblocked", listener: () => void): unknown;
  on(event: "blocked", listener: (reason: string) => void): unknown;
}

export interface RabbitmqMessage {
  readonly content: Buffer;
  readonly fields: { readonly deliveryTag: number; readonly messageCount?: number | undefined };
}

export interface RabbitmqPublishOptions {
  readonly persistent?: boolean;
  readonly mandatory?: boolean;
}

export interface RabbitmqQueueOptions {
  readonly durable?: boolean;
  readonly exclusive?: boolean;
  readonly autoDelete?: boolean;
  readonly expires?: number;
  readonly arguments?: Record<string, unknown>;
}

/** What is used of a `ConfirmChannel`. */
export interface RabbitmqClientChannel {
  assertQueue(queue: string, options?: RabbitmqQueueOptions): Promise<{ queue: string; messageCount: number }>;
  checkQueue(queue: string): Promise<{ messageCount: number; consumerCount: number }>;
  deleteQueue(queue: string): Promise<unknown>;
  bindQueue(queue: string, source: string, pattern: string): Promise<unknown>;
  unbindQueue(queue: string, source: string, pattern: string): Promise<unknown>;
  assertExchange(exchange: string, type: string, options?: { readonly durable?: boolean }): Promise<unknown>;
  deleteExchange(exchange: string): Promise<unknown>;
  publish(
    exchange: string,
    routingKey: string,
    content: Buffer,
    options: RabbitmqPublishOptions,
    callback: (error: unknown) => void,
  ): boolean;
  // biome-ignore lint/suspicious/noExplicitAny: the client's own type of a message has many more fields, all required when it is given back.
  get(queue: string): Promise<any>;
  consume(
    queue: string,
    // biome-ignore lint/suspicious/noExplicitAny: as above.
    onMessage: (message: any) => void,
    options?: { readonly noAck?: boolean },
  ): Promise<{ consumerTag: string }>;
  cancel(consumerTag: string): Promise<unknown>;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  ack(message: any): void;
  // biome-ignore lint/suspicious/noExplicitAny: as above.
  nack(message: any, allUpTo?: boolean, requeue?: boolean): void;
  prefetch(count: number): Promise<unknown>;
  close(): Promise<void>;
  on(event: "error", listener: (error: Error) => void): unknown;
  on(event: "close", listener: () => void): unknown;
  on(event: "return", listener: (message: { readonly fields: { readonly routingKey: string } }) => void): unknown;
}
