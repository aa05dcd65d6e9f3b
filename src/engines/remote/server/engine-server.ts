import { TenonError } from "../../../contracts/errors.ts";
import type { Address, Cancel, Listener, World } from "../../../world/world.ts";
import type { Hello, Welcome } from "../wire/operations.ts";
import { requestBytesMin } from "../wire/protocol.ts";
import { handlersOf, type ServedEngine } from "./handlers.ts";
import { ServedConnection } from "./served-connection.ts";
import type { ServedMember } from "./served-member.ts";

/** Serves an engine until it is closed, or the engine ends. */
export interface EngineServer extends AsyncDisposable {
  /** Where it listens, with the port that it was given. */
  readonly address: Address;
  /** Aborts when it was closed, or the engine ended. */
  readonly ended: AbortSignal;
  /**
   * Takes no more requests, answers those that are under way (for a second at most), and ends every connection and membership. The engine stays open. What members had
   * fetched is suspect for those who follow, as nobody knows whether it is at work. Idempotent.
   */
  close(): Promise<void>;
}

/** How long closing waits for requests that are under way. */
const drainMs = 1_000;

export class ListeningServer implements EngineServer {
  readonly #world: World;
  readonly #connections = new Set<ServedConnection>();
  /** By client, the last of its connections. */
  readonly #clients = new Map<string, ServedConnection>();
  readonly #members = new Map<string, ServedMember>();
  readonly #ended = new AbortController();
  #listener: Listener | undefined;
  #closing: Promise<void> | undefined;

  static async open(engine: ServedEngine, world: World, address: Address): Promise<ListeningServer> {
    const server = new ListeningServer(world);
    engine.ended.throwIfAborted();
    const handlers = handlersOf(engine, world, server.#members);
    const welcome = welcomeOf(engine);
    try {
      server.#listener = await world.network.listen(address, (connection) => {
        if (server.#closing !== undefined) {
          connection.destroy();
          return;
        }
        server.#connections.add(
          new ServedConnection(connection, {
            world,
            handlers,
            welcome,
            greeted: (served, hello) => server.#greeted(served, hello),
            ended: (served) => server.#forget(served),
          }),
        );
      });
    } catch (cause) {
      const { host, port } = address;
      const text = `cannot serve an engine at ${host}:${port}; the cause says why. Choose another port or host, or end what listens there`;
      throw new TenonError("unavailable", text, { fields: { host, port }, cause });
    }
    engine.ended.addEventListener("abort", () => void server.close(), { once: true });
    if (engine.ended.aborted) await server.close();
    return server;
  }

  private constructor(world: World) {
    this.#world = world;
  }

  get address(): Address {
    return this.#listener!.address;
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Ends what a client sent over connections that it has given up; nothing more is taken from them. */
  #greeted(connection: ServedConnection, { client, connection: number }: Hello): boolean {
    const former = this.#clients.get(client);
    if (former !== undefined && former.number >= number) return false;
    this.#clients.set(client, connection);
    former?.end();
    return true;
  }

  #forget(connection: ServedConnection): void {
    this.#connections.delete(connection);
    const { client } = connection;
    if (client !== undefined && this.#clients.get(client) === connection) this.#clients.delete(client);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#listener?.close();
    const idle = Promise.all([...this.#connections].map((connection) => connection.finish()));
    await this.#within(drainMs, idle);
    for (const connection of [...this.#connections]) connection.end();
    await this.#within(drainMs, Promise.all([...this.#members.values()].map((member) => member.abandon())));
    this.#ended.abort(new TenonError("closed", "the server was closed, or the engine that it served has ended"));
  }

  async #within(ms: number, work: Promise<unknown>): Promise<void> {
    let cancel: Cancel | undefined;
    const overdue = new Promise<void>((resolve) => {
      cancel = this.#world.timers.schedule(ms, resolve, { keepsAlive: true });
    });
    await Promise.race([work, overdue]);
    cancel?.();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

function welcomeOf({ name, topicCreation, messages, keyValue, leases, rates, log }: ServedEngine): Welcome {
  const capabilities = {
    messages: messages.capabilities,
    keyValue: keyValue.capabilities,
    leases: leases.capabilities,
    rates: rates.capabilities,
    log: log?.capabilities,
  };
  const requestBytesMax = Math.max(requestBytesMin, 2 * messages.capabilities.batchBytesMax);
  return { requestBytesMax, engine: name, topicCreation, capabilities };
}
