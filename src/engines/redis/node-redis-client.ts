import type { NodeRedisClient, NodeRedisCluster, NodeRedisOptions, RedisClient } from "./clients.ts";
import type { Argument } from "./connection.ts";
import type { Session, SessionEvents } from "./session.ts";

/**
 * Bytes stay bytes, by the types' marks in the protocol (`+`, `$`, `=`); maps and sets come as flat arrays (`%`, `~`). The client's own timeout
 * does not end a command that was sent, and costs a timer for each, so it is switched off.
 */
const commandOptions: NodeRedisOptions = {
  typeMapping: { 43: Buffer, 36: Buffer, 61: Buffer, 37: Array, 126: Array },
  timeout: undefined,
};

export function nodeRedisSession(client: NodeRedisClient, events: SessionEvents): Session {
  return new NodeRedisSession(client, events);
}

class NodeRedisSession implements Session {
  readonly isCluster = false;
  readonly #client: NodeRedisClient;
  readonly #events: SessionEvents;
  #state: "connecting" | "ready" | "lost" | "destroyed" = "connecting";
  /** Its socket is not connected yet: destroying the client now would leave that one open for ever. */
  #dialling = false;

  constructor(client: NodeRedisClient, events: SessionEvents) {
    this.#client = client;
    this.#events = events;
    client.on("reconnecting", () => this.#dial());
    client.on("connect", () => this.#dialled());
    client.on("error", (error: unknown) => {
      this.#dialled();
      this.#failed(error);
    });
    client.on("end", () => this.#lost(new Error("the client has ended")));
    client.on("ready", () => this.#ready());
    if (client.isReady) queueMicrotask(() => this.#ready());
    else if (!client.isOpen) {
      this.#dial();
      client.connect().catch((error: unknown) => this.#lost(error));
    }
  }

  #dial(): void {
    this.#dialling = true;
  }

  #dialled(): void {
    this.#dialling = false;
    if (this.#state === "destroyed") destroy(this.#client);
  }

  send(_key: string | undefined, args: readonly Argument[]): Promise<unknown> | undefined {
    return this.#client.isReady ? this.#client.sendCommand(texts(args), commandOptions) : undefined;
  }

  subscribe(channel: string): Promise<unknown> {
    return this.#client.subscribe(channel, this.#heard, true);
  }

  readonly #heard = (payload: Buffer, channel: Buffer): void => {
    if (this.#state !== "destroyed") this.#events.message(channel.toString(), payload);
  };

  unsubscribe(channel: string): Promise<unknown> {
    return this.#client.unsubscribe(channel);
  }

  destroy(): void {
    if (this.#state === "destroyed") return;
    this.#state = "destroyed";
    if (!this.#dialling) destroy(this.#client);
  }

  #ready(): void {
    if (this.#state !== "connecting") return;
    this.#state = "ready";
    this.#events.ready();
  }

  /** Every error after `ready` leaves the connection broken or the stream of replies out of step. */
  #failed(error: unknown): void {
    if (this.#state === "ready") this.#lost(error);
    else if (this.#state === "connecting") this.#events.trouble(error);
  }

  #lost(error: unknown): void {
    if (this.#state === "destroyed" || this.#state === "lost") return;
    this.#state = "lost";
    this.#events.lost(error);
  }
}

export function nodeRedisClusterSession(client: NodeRedisCluster, events: SessionEvents): Session {
  return new NodeRedisClusterSession(client, events);
}

/** The cluster's nodes lose and remake their connections by themselves; commands that were under way are rejected. */
class NodeRedisClusterSession implements Session {
  readonly isCluster = true;
  readonly #client: NodeRedisCluster;
  #destroyed = false;
  #ready = false;

  constructor(client: NodeRedisCluster, events: SessionEvents) {
    this.#client = client;
    client.on("error", (error: unknown) => {
      if (!this.#destroyed) events.trouble(error);
    });
    const opened = client.isOpen ? Promise.resolve() : client.connect();
    opened.then(
      () => {
        // One that was destroyed while it was connecting has connections again.
        if (this.#destroyed) return destroy(client);
        this.#ready = true;
        events.ready();
      },
      (error: unknown) => {
        if (!this.#destroyed) events.lost(error);
      },
    );
  }

  send(key: string | undefined, args: readonly Argument[]): Promise<unknown> | undefined {
    if (!this.#ready) return undefined;
    return this.#client.sendCommand(key, false, texts(args), commandOptions);
  }

  subscribe(): Promise<unknown> {
    return Promise.reject(new Error("subscriptions belong to a node of their own"));
  }

  unsubscribe(): Promise<unknown> {
    return this.subscribe();
  }

  async node(): Promise<RedisClient> {
    const { masters } = this.#client;
    const master = masters[Math.trunc(masters.length / 2)];
    if (master === undefined) throw new Error("the cluster has no primary that is known");
    const node = (await this.#client.nodeClient(master)) as NodeRedisClient;
    return node.duplicate();
  }

  destroy(): void {
    if (this.#destroyed) return;
    this.#destroyed = true;
    destroy(this.#client);
  }
}

function texts(args: readonly Argument[]): (string | Buffer)[] {
  const converted: (string | Buffer)[] = [];
  for (const argument of args) {
    if (typeof argument === "string") converted.push(argument);
    else if (typeof argument === "number") converted.push(String(argument));
    else if (Buffer.isBuffer(argument)) converted.push(argument);
    else converted.push(Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength));
  }
  return converted;
}

/** Clients before version 6 throw when they were never connected. */
function destroy(client: NodeRedisClient | NodeRedisCluster): void {
  try {
    client.destroy();
  } catch {
    // Nothing was open.
  }
}
