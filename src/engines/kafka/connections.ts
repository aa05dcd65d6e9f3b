import { TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import type { KafkaConnection } from "./clients.ts";
import { closed, failureOf, plain } from "./failures.ts";
import { Session } from "./session.ts";

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

export interface ConnectionSettings {
  readonly world: World;
  /** Answers a new connection each time; it belongs to the engine from then on. */
  readonly connect: () => KafkaConnection;
  /** To each broker, beside those that wait for news. */
  readonly connectionsMax: number;
  /** How long a connection may take to be made, too. */
  readonly commandTimeoutMs: number;
}

interface Waiting {
  readonly resolve: (session: Session | undefined) => void;
}

/** The connections to one broker: each carries one request at a time, as a broker answers a connection's requests one after the other. */
interface Broker {
  readonly idle: Session[];
  readonly waiting: Waiting[];
  count: number;
}

/** A few connections to each broker, made when they are needed. */
export class Connections {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #brokers = new Map<string, Broker>();
  readonly #sessions = new Set<Session>();
  #isClosed = false;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#world = settings.world;
  }

  /** A connection of the caller's own; who asked for it destroys it. */
  async dedicated(address: BrokerAddress, timeoutMs = this.#settings.commandTimeoutMs): Promise<Session> {
    const { connect } = this.#settings;
    if (this.#isClosed) throw closed("a connection");
    const connection = connect();
    if (typeof connection?.connect !== "function" || typeof connection.close !== "function") {
      throw new TenonError("invalid", "connect must answer a new Connection of the package @platformatic/kafka");
    }
    const session = new Session(connection, this.#world);
    this.#sessions.add(session);
    try {
      await session.connect(address.host, address.port, timeoutMs);
      return session;
    } catch (error) {
      this.discard(session);
      throw error;
    }
  }

  discard(session: Session): void {
    this.#sessions.delete(session);
    session.destroy();
  }

  #brokerAt({ host, port }: BrokerAddress): Broker {
    const name = `${host}:${port}`;
    let broker = this.#brokers.get(name);
    if (broker === undefined) {
      broker = { idle: [], waiting: [], count: 0 };
      this.#brokers.set(name, broker);
    }
    return broker;
  }

  /** Rejects with `Again` when there is none in time. */
  async take(address: BrokerAddress, deadline: number): Promise<Session> {
    const broker = this.#brokerAt(address);
    for (;;) {
      for (let session = broker.idle.pop(); session !== undefined; session = broker.idle.pop()) {
        if (!session.ended) return session;
        broker.count -= 1;
        this.#sessions.delete(session);
      }
      if (broker.count < this.#settings.connectionsMax) return this.#make(address, broker, deadline);
      const handed = await this.#wait(broker, deadline);
      if (handed !== undefined) return handed;
      if (this.#world.clock.monotonic() >= deadline) throw new Again(new Error("all connections are busy"));
    }
  }

  async #make(address: BrokerAddress, broker: Broker, deadline: number): Promise<Session> {
    broker.count += 1;
    try {
      return await this.dedicated(address, Math.max(1, deadline - this.#world.clock.monotonic()));
    } catch (error) {
      broker.count -= 1;
      broker.waiting.shift()?.resolve(undefined);
      if (error instanceof TenonError) throw error;
      this.#world.log.log("warn", "trouble with a connection to Kafka", { error: plain(error)?.message ?? "" });
      throw isRefusal(error) ? failureOf(error, "a connection", "not-applied") : new Again(error);
    }
  }

  /** A session, or `undefined`: look again. */
  #wait(broker: Broker, deadline: number): Promise<Session | undefined> {
    return new Promise((resolve) => {
      const waiting: Waiting = {
        resolve: (session) => {
          cancel();
          resolve(session);
        },
      };
      const cancel = this.#world.timers.schedule(Math.max(1, deadline - this.#world.clock.monotonic()), () => {
        broker.waiting.splice(broker.waiting.indexOf(waiting), 1);
        resolve(undefined);
      });
      broker.waiting.push(waiting);
    });
  }

  giveBack(address: BrokerAddress, session: Session): void {
    const broker = this.#brokerAt(address);
    if (session.ended) {
      broker.count -= 1;
      this.#sessions.delete(session);
      broker.waiting.shift()?.resolve(undefined);
      return;
    }
    const next = broker.waiting.shift();
    if (next !== undefined) next.resolve(session);
    else broker.idle.push(session);
  }

  close(): void {
    this.#isClosed = true;
    for (const { waiting } of this.#brokers.values()) for (const { resolve } of waiting.splice(0)) resolve(undefined);
    for (const session of this.#sessions) session.destroy();
  }
}

/** It was not carried out, and is worth another try. */
export class Again extends Error {
  readonly reason: unknown;
  constructor(reason: unknown) {
    super("again");
    this.reason = reason;
  }
}

/** The credentials were refused; it will not get better. */
function isRefusal(error: unknown): boolean {
  const { code, cause } = (error ?? {}) as { code?: unknown; cause?: unknown };
  if (code === "PLT_KFK_AUTHENTICATION") return true;
  return cause !== undefined && isRefusal(cause);
}
