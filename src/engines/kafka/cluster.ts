import { type Outcome, TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import type { KafkaClient, KafkaConnection, MetadataAnswer } from "./clients.ts";
import { Again, type BrokerAddress, type ConnectionSettings, Connections } from "./connections.ts";
import {
  answeredCode,
  answerOf,
  closed,
  failureOf,
  isPassingCode,
  kafkaCode,
  overdue,
  unreachable,
} from "./failures.ts";
import { Fetching } from "./fetching/fetching.ts";
import { Overdue, type Session } from "./session.ts";

export interface ClusterSettings extends ConnectionSettings {
  readonly client: KafkaClient;
  readonly brokers: readonly BrokerAddress[];
  readonly decompressedBytesMax: number;
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
  /** The number that the topic should have: what is known of its name may be from before it was removed and made anew, and is then read anew. */
  readonly kafkaId?: string | undefined;
}

/** Of the two kinds of coordinators, those of transactions. */
const transactionKey = 1;
const backoffMs = { first: 20, longest: 500 };
/** The end of a transaction takes its coordinator some milliseconds more after it was confirmed. */
const busyMs = 3;

/**
 * The brokers: who leads what. What fails without having been carried out is asked again, elsewhere when the leader
 * moved, for as long as a command may take.
 */
export class Cluster {
  readonly client: KafkaClient;
  readonly world: World;
  readonly commandTimeoutMs: number;
  readonly fetching: Fetching;
  readonly #settings: ClusterSettings;
  readonly #addresses = new Map<number, BrokerAddress>();
  readonly #topics = new Map<string, KafkaTopic>();
  /** By transactional id. */
  readonly #coordinators = new Map<string, BrokerAddress>();
  readonly #connections: Connections;
  readonly #closing = new AbortController();
  #underWay = 0;
  #drained: (() => void) | undefined;
  #trouble: unknown;

  constructor(settings: ClusterSettings) {
    this.#settings = settings;
    this.client = settings.client;
    this.world = settings.world;
    this.commandTimeoutMs = settings.commandTimeoutMs;
    this.fetching = new Fetching(settings.client, settings.decompressedBytesMax);
    this.#connections = new Connections(settings);
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Of those that were heard of. */
  get brokerCount(): number {
    return this.#addresses.size;
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
        if (asked.kafkaId !== undefined && found?.id !== asked.kafkaId) found = await this.readTopic(topic);
        const leader = found?.leaders[partition];
        const address = leader === undefined ? undefined : this.#addresses.get(leader);
        if (address === undefined) this.#topics.delete(topic);
        return address;
      },
      () => this.#topics.delete(topic),
    );
  }

  /** Asks the broker that keeps the transactions of an id. */
  coordinator<Answer>(
    asked: Asked,
    transactionalId: string,
    ask: (connection: KafkaConnection) => Promise<Answer>,
  ): Promise<Answer> {
    return this.#repeat(
      asked,
      ask,
      () => this.#coordinatorOf(transactionalId),
      (reason) => {
        // It is the right one, and busy with the transaction before.
        if (answeredCode(reason) !== kafkaCode.concurrentTransactions) this.#coordinators.delete(transactionalId);
      },
    );
  }

  async #coordinatorOf(transactionalId: string): Promise<BrokerAddress | undefined> {
    const known = this.#coordinators.get(transactionalId);
    if (known !== undefined) return known;
    const asked = { what: "finding a coordinator", outcome: "not-applied" } as const;
    const { coordinators } = await this.anywhere(asked, (connection) =>
      this.client.findCoordinatorV4.api.async(connection, transactionKey, [transactionalId]),
    );
    const [found] = coordinators;
    if (found !== undefined) this.#coordinators.set(transactionalId, { host: found.host, port: found.port });
    return found;
  }

  async #repeat<Answer>(
    { what, outcome, check, timeoutMs = this.commandTimeoutMs }: Asked,
    ask: (connection: KafkaConnection) => Promise<Answer>,
    locate: () => Promise<BrokerAddress | undefined>,
    forget?: (reason: unknown) => void,
  ): Promise<Answer> {
    const { clock } = this.world;
    const deadline = clock.monotonic() + this.commandTimeoutMs;
    this.#underWay += 1;
    try {
      for (let failures = 0; ; failures++) {
        let reason: unknown;
        if (this.isClosed) throw closed(what);
        check?.();
        try {
          const address = await locate();
          if (address !== undefined) return await this.#ask(what, outcome, address, ask, timeoutMs, deadline);
        } catch (error) {
          if (!(error instanceof Again)) throw error;
          reason = error.reason;
          this.#trouble = reason;
        }
        forget?.(reason);
        const firstMs = answeredCode(reason) === kafkaCode.concurrentTransactions ? busyMs : backoffMs.first;
        const pauseMs = Math.min(backoffMs.longest, firstMs * 2 ** Math.min(10, failures));
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
    const session = await this.#connections.take(address, deadline);
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
      this.#connections.giveBack(address, session);
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

  /** A connection of the caller's own; who asked for it discards it. */
  dedicated(address: BrokerAddress): Promise<Session> {
    return this.#connections.dedicated(address);
  }

  discard(session: Session): void {
    this.#connections.discard(session);
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
    this.#connections.close();
  }
}
