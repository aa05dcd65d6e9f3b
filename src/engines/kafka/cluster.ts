import { type Outcome, TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import type { KafkaClient, KafkaConnection, MetadataAnswer } from "./clients.ts";
import { answeredCode, answerOf, closed, failureOf, isPassingCode, overdue, plain, unreachable } from "./failures.ts";
import { Overdue, Session } from "./session.ts";

export interface BrokerAddress {
  readonly host: string;
  readonly port: number;
}

export interface ClusterSettings {
  readonly world: World;
  readonly client: KafkaClient;
  /** Answers a new connection each time; it belongs to the engine from then on. */
  readonly connect: () => KafkaConnection;
  readonly brokers: readonly BrokerAddress[];
  /** To each broker, beside those that wait for news. */
  readonly connectionsMax: number;
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** A topic as Kafka's metadata shows it. */
export interface KafkaTopic {
  readonly name: string;
  readonly id: string;
  /** The leading broker of each partition; -1: there is none now. */
  readonly leaders: readonly number[];
  readonly replicas: number;
}

export interface Asked {
  /** What it is, for messages. */
  readonly what: string;
  /** When the answer is lost: a read is repeated, of a change nobody knows. */
  readonly outcome: "not-applied" | "unknown";
  /** Asked before it is repeated; an error ends it. */
  readonly check?: (() => void) | undefined;
  /** How long one answer may take; `commandTimeoutMs` when left out. */
  readonly timeoutMs?: number | undefined;
}

const backoffMs = { first: 20, longest: 500 };

interface Waiting {
  readonly resolve: (session: Session | undefined) => void;
}

/** The connections to one broker: each carries one request at a time, as a broker answers a connection's requests one after the other. */
interface Broker {
  readonly idle: Session[];
  readonly waiting: Waiting[];
  count: number;
}

/**
 * The brokers: who leads what, and a few connections to each, made when they are needed. What fails without having been carried out is asked again, elsewhere when the leader
 * moved, for as long as a command may take.
 */
export class Cluster {
  readonly client: KafkaClient;
  readonly world: World;
  readonly commandTimeoutMs: number;
  readonly #settings: ClusterSettings;
  readonly #addresses = new Map<number, BrokerAddress>();
  readonly #topics = new Map<string, KafkaTopic>();
  readonly #brokers = new Map<string, Broker>();
  readonly #sessions = new Set<Session>();
  readonly #closing = new AbortController();
  #underWay = 0;
  #drained: (() => void) | undefined;
  #trouble: unknown;

  constructor(settings: ClusterSettings) {
    this.#settings = settings;
    this.client = settings.client;
    this.world = settings.world;
    this.commandTimeoutMs = settings.commandTimeoutMs;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Why the last try failed. */
  get trouble(): unknown {
    return this.#trouble;
  }

  // Asking -------------------------------------------------------------------------------------------------------------

  /** Asks any broker. */
  anywhere<Answer>(asked: Asked, ask: (connection: KafkaConnection) => Promise<Answer>): Promise<Answer> {
    let turn = 0;
    return this.#repeat(asked, ask, async () => {
      const known = [...this.#addresses.values(), ...this.#settings.brokers];
      return known[turn++ % known.length]!;
    });
  }

  /** Asks the controller, who makes and removes topics. */
  controller<Answer>(asked: Asked, ask: (connection: KafkaConnection) => Promise<Answer>): Promise<Answer> {
    return this.#repeat(asked, ask, async () => {
      const { controllerId } = await this.#readMetadata([]);
      return this.#addresses.get(controllerId);
    });
  }

  /** Asks the leader of a partition. */
  leader<Answer>(
    asked: Asked,
    topic: string,
    partition: number,
    ask: (connection: KafkaConnection, topic: KafkaTopic) => Promise<Answer>,
  ): Promise<Answer> {
    let found: KafkaTopic | undefined;
    return this.#repeat(
      asked,
      (connection) => ask(connection, found!),
      async () => {
        found = await this.topic(topic);
        const leader = found?.leaders[partition];
        const address = leader === undefined ? undefined : this.#addresses.get(leader);
        if (address === undefined) this.#topics.delete(topic);
        return address;
      },
      () => this.#topics.delete(topic),
    );
  }

  async #repeat<Answer>(
    { what, outcome, check, timeoutMs = this.commandTimeoutMs }: Asked,
    ask: (connection: KafkaConnection) => Promise<Answer>,
    locate: () => Promise<BrokerAddress | undefined>,
    forget?: () => void,
  ): Promise<Answer> {
    const { clock } = this.world;
    const deadline = clock.monotonic() + this.commandTimeoutMs;
    this.#underWay += 1;
    try {
      for (let failures = 0; ; failures++) {
        if (this.isClosed) throw closed(what);
        check?.();
        try {
          const address = await locate();
          if (address !== undefined) return await this.#ask(what, outcome, address, ask, timeoutMs, deadline);
        } catch (error) {
          if (!(error instanceof Again)) throw error;
          this.#trouble = error.reason;
        }
        forget?.();
        const pauseMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(10, failures));
        const leftMs = deadline - clock.monotonic();
        if (leftMs <= pauseMs) throw unreachable(what, this.commandTimeoutMs, this.#trouble);
        await this.#pause(pauseMs);
      }
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#drained?.();
    }
  }

  async #ask<Answer>(
    what: string,
    outcome: Outcome,
    address: BrokerAddress,
    ask: (connection: KafkaConnection) => Promise<Answer>,
    timeoutMs: number,
    deadline: number,
  ): Promise<Answer> {
    const session = await this.#take(address, deadline);
    try {
      return await session.within(timeoutMs, ask);
    } catch (error) {
      if (error instanceof TenonError) throw error;
      const code = answeredCode(error);
      if (isPassingCode(code)) throw new Again(error);
      if (code !== undefined) throw error;
      session.destroy();
      if (this.isClosed) throw closed(what, outcome);
      if (outcome === "not-applied") throw new Again(error);
      if (error instanceof Overdue) throw overdue(what, error.timeoutMs, outcome);
      throw failureOf(error, what, outcome);
    } finally {
      this.#giveBack(address, session);
    }
  }

  // Topics -------------------------------------------------------------------------------------------------------------

  /** As it was seen last; `undefined` when it is not there. */
  async topic(name: string): Promise<KafkaTopic | undefined> {
    return this.#topics.get(name) ?? (await this.readTopic(name));
  }

  async readTopic(name: string): Promise<KafkaTopic | undefined> {
    await this.#readMetadata([name]);
    return this.#topics.get(name);
  }

  forget(name: string): void {
    this.#topics.delete(name);
  }

  addressOf(node: number): BrokerAddress | undefined {
    return this.#addresses.get(node);
  }

  async #readMetadata(names: readonly string[]): Promise<MetadataAnswer> {
    const asked = { what: "reading metadata", outcome: "not-applied" } as const;
    const topics = names.map((name) => ({ name }));
    const answer = await this.anywhere(asked, async (connection) => {
      try {
        return await this.client.metadataV12.api.async(connection, topics, false);
      } catch (error) {
        // A topic that is not there, or has a partition without leader, is an error of the whole answer.
        return answerOf<MetadataAnswer>(error);
      }
    });
    for (const { nodeId, host, port } of answer.brokers) this.#addresses.set(nodeId, { host, port });
    for (const name of names) this.#topics.delete(name);
    for (const { errorCode, name, topicId, partitions } of answer.topics) {
      if (errorCode !== 0 || typeof name !== "string") continue;
      const leaders = new Array<number>(partitions.length).fill(-1);
      for (const { partitionIndex, leaderId } of partitions) leaders[partitionIndex] = leaderId;
      const replicas = Math.min(...partitions.map((partition) => partition.replicaNodes.length));
      this.#topics.set(name, { name, id: topicId, leaders, replicas });
    }
    return answer;
  }

  // Connections --------------------------------------------------------------------------------------------------------

  /** A connection of the caller's own; who asked for it destroys it. */
  async dedicated(address: BrokerAddress): Promise<Session> {
    const { connect, connectTimeoutMs } = this.#settings;
    if (this.isClosed) throw closed("a connection");
    const connection = connect();
    if (typeof connection?.connect !== "function" || typeof connection.close !== "function") {
      throw new TenonError("invalid", "connect must answer a new Connection of the package @platformatic/kafka");
    }
    const session = new Session(connection, this.world);
    this.#sessions.add(session);
    try {
      await session.connect(address.host, address.port, connectTimeoutMs);
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
  async #take(address: BrokerAddress, deadline: number): Promise<Session> {
    const broker = this.#brokerAt(address);
    for (;;) {
      for (let session = broker.idle.pop(); session !== undefined; session = broker.idle.pop()) {
        if (!session.ended) return session;
        broker.count -= 1;
        this.#sessions.delete(session);
      }
      if (broker.count < this.#settings.connectionsMax) return this.#make(address, broker);
      const handed = await this.#wait(broker, deadline);
      if (handed !== undefined) return handed;
      if (this.world.clock.monotonic() >= deadline) throw new Again(new Error("all connections are busy"));
    }
  }

  async #make(address: BrokerAddress, broker: Broker): Promise<Session> {
    broker.count += 1;
    try {
      return await this.dedicated(address);
    } catch (error) {
      broker.count -= 1;
      broker.waiting.shift()?.resolve(undefined);
      if (error instanceof TenonError) throw error;
      this.world.log.log("warn", "trouble with a connection to Kafka", { error: plain(error)?.message ?? "" });
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
      const cancel = this.world.timers.schedule(Math.max(1, deadline - this.world.clock.monotonic()), () => {
        broker.waiting.splice(broker.waiting.indexOf(waiting), 1);
        resolve(undefined);
      });
      broker.waiting.push(waiting);
    });
  }

  #giveBack(address: BrokerAddress, session: Session): void {
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

  #pause(ms: number): Promise<void> {
    return this.world.timers
      .sleep(ms * (0.5 + this.world.random.float() / 2), { signal: this.#closing.signal })
      .catch(() => undefined);
  }

  /** Waits a little for what is under way. */
  async drain(drainMs: number): Promise<void> {
    if (this.#underWay === 0) return;
    await new Promise<void>((resolve) => {
      const cancel = this.world.timers.schedule(drainMs, resolve);
      this.#drained = () => {
        cancel();
        resolve();
      };
    });
  }

  /** Ends every connection. */
  close(): void {
    this.#closing.abort();
    for (const { waiting } of this.#brokers.values()) for (const { resolve } of waiting.splice(0)) resolve(undefined);
    for (const session of this.#sessions) session.destroy();
  }
}

/** It was not carried out, and is worth another try. */
class Again extends Error {
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
