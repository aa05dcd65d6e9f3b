import { TenonError } from "../../contracts/errors.ts";
import type { IoredisClient, IoredisCluster, RedisClient } from "./clients.ts";
import type { Argument } from "./connection.ts";
import type { Session, SessionEvents } from "./session.ts";

export function ioredisSession(client: IoredisClient, events: SessionEvents): Session {
  const { autoResendUnfulfilledCommands, keyPrefix, stringNumbers } = client.options;
  if (autoResendUnfulfilledCommands !== false) {
    refuse(
      client,
      "This ioredis client would send commands a second time after a lost connection, and so make changes twice. Give it autoResendUnfulfilledCommands: false.",
    );
  }
  if (keyPrefix)
    refuse(client, "An ioredis client with a keyPrefix would change the keys of scripts. Use the engine's prefix.");
  if (stringNumbers) refuse(client, "stringNumbers of the ioredis client changes what scripts answer. Leave it out.");
  return new IoredisSession(client, events);
}

const thisTurn = Promise.resolve();

class IoredisSession implements Session {
  readonly isCluster = false;
  readonly #client: IoredisClient;
  #gathering = false;
  #destroyed = false;

  constructor(client: IoredisClient, events: SessionEvents) {
    this.#client = client;
    follow(client, events, () => this.#destroyed);
    client.on("messageBuffer", (channel: Buffer, payload: Buffer) => {
      if (!this.#destroyed) events.message(channel.toString(), payload);
    });
  }

  send(_key: string | undefined, args: readonly Argument[]): Promise<unknown> | undefined {
    return this.#client.status === "ready" ? call(this.#client, args) : undefined;
  }

  gather(): void {
    const { stream } = this.#client;
    if (this.#gathering || stream === undefined) return;
    this.#gathering = true;
    stream.cork();
    // A promise's reaction comes in the same order as queueMicrotask's, at a third of its price.
    void thisTurn.then(() => {
      this.#gathering = false;
      stream.uncork();
    });
  }

  flush(): void {
    const { stream } = this.#client;
    if (!this.#gathering || stream === undefined) return;
    stream.uncork();
    stream.cork();
  }

  subscribe(channel: string): Promise<unknown> {
    return this.#client.subscribe(channel);
  }

  unsubscribe(channel: string): Promise<unknown> {
    return this.#client.unsubscribe(channel);
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    disconnect(this.#client);
  }
}

export function ioredisClusterSession(client: IoredisCluster, events: SessionEvents): Session {
  const { retryDelayOnFailover, scaleReads, keyPrefix } = client.options;
  if (retryDelayOnFailover !== 0) {
    refuse(
      client,
      "This ioredis Cluster would send commands a second time after a lost connection, and so make changes twice. Give it retryDelayOnFailover: 0.",
    );
  }
  if (scaleReads !== undefined && scaleReads !== "master") {
    refuse(
      client,
      'This ioredis Cluster reads from replicas, which answer what is out of date. Leave scaleReads at "master".',
    );
  }
  if (keyPrefix)
    refuse(client, "An ioredis client with a keyPrefix would change the keys of scripts. Use the engine's prefix.");
  return new IoredisClusterSession(client, events);
}

class IoredisClusterSession implements Session {
  readonly isCluster = true;
  readonly #client: IoredisCluster;
  #destroyed = false;

  constructor(client: IoredisCluster, events: SessionEvents) {
    this.#client = client;
    follow(client, events, () => this.#destroyed);
  }

  send(_key: string | undefined, args: readonly Argument[]): Promise<unknown> | undefined {
    return this.#client.status === "ready" ? call(this.#client, args) : undefined;
  }

  subscribe(): Promise<unknown> {
    return Promise.reject(new Error("subscriptions belong to a node of their own"));
  }

  unsubscribe(): Promise<unknown> {
    return this.subscribe();
  }

  async node(): Promise<RedisClient> {
    const nodes = this.#client.nodes("master");
    const node = nodes[Math.trunc(nodes.length / 2)];
    if (node === undefined) throw new Error("the cluster has no primary that is known");
    const retryStrategy = (times: number) => Math.min(times * 50, 2_000);
    return node.duplicate({ lazyConnect: false, readOnly: false, retryStrategy, autoResendUnfulfilledCommands: false });
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    this.#client.disconnect();
  }
}

function follow(client: IoredisClient | IoredisCluster, events: SessionEvents, destroyed: () => boolean): void {
  let wasReady = false;
  let trouble: unknown;
  client.on("error", (error: unknown) => {
    trouble = error;
    if (!destroyed()) events.trouble(error);
  });
  const ready = () => {
    if (wasReady || destroyed()) return;
    wasReady = true;
    events.ready();
  };
  client.on("ready", ready);
  // Before it was ready the client tries again by itself; after `end` it never will.
  client.on("close", () => {
    if (wasReady && !destroyed()) events.lost(trouble ?? new Error("the connection was closed"));
  });
  client.on("end", () => {
    if (!destroyed()) events.lost(trouble ?? new Error("the client has ended"));
  });
  if (client.status === "ready") queueMicrotask(ready);
  // A client with lazyConnect waits for its first command.
  if (client.status === "wait") client.callBuffer("PING", []).catch(() => undefined);
}

function call(client: IoredisClient | IoredisCluster, args: readonly Argument[]): Promise<unknown> {
  const rest: (string | Buffer | number)[] = [];
  for (let index = 1; index < args.length; index++) {
    const argument = args[index]!;
    rest.push(argument instanceof Uint8Array ? asBuffer(argument) : argument);
  }
  return client.callBuffer(String(args[0]), rest);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function disconnect(client: IoredisClient): void {
  client.disconnect();
  // It waits some seconds for the server to end the stream too, which a stalled server does not do.
  (client as { readonly stream?: { destroy?(): void } }).stream?.destroy?.();
  // When its first look at the server ends with the stream, it disconnects once more, by a timer that keeps the process alive for those seconds.
  client.disconnect = () => undefined;
}

function refuse(client: IoredisClient | IoredisCluster, message: string): never {
  client.on("error", () => undefined);
  client.disconnect();
  throw new TenonError("invalid", message);
}
