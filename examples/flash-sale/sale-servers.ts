import type { KeyValueEngine, MessageEngine, RateEngine } from "tenon/contracts";
import type { World } from "tenon/world";
import type { EngineName } from "../../scripts/engines/addresses.ts";

/** What a process must be told to use a server; every name there begins with the prefix, which is this sale's alone. */
export interface ServerStore {
  readonly type: ServerType;
  readonly url: string;
  readonly prefix: string;
}

/** What a sale uses of an engine on a server. */
export interface ServerEngine {
  readonly world: World;
  readonly messages: MessageEngine;
  readonly keyValue?: KeyValueEngine | undefined;
  readonly rates?: RateEngine | undefined;
  close(): Promise<void>;
}

/** A server of a run's own, to be killed and started again. */
export interface OwnServer {
  readonly url: string;
  stop(signal: NodeJS.Signals): Promise<void>;
  start(): Promise<void>;
  dispose(): Promise<void>;
}

export interface ServerDriver {
  /** Makes what a sale needs there before its first engine. Rejects when no server answers within the time, or it is none that an engine takes. */
  prepare(store: ServerStore, connectTimeoutMs: number): Promise<void>;
  open(store: ServerStore): Promise<ServerEngine>;
  /** Removes what the sale left there. */
  remove(store: ServerStore): Promise<void>;
  /** Where such a server can be started by hand. `UsageError` when it is not installed. */
  readonly startOwn?: ((directory: string) => Promise<OwnServer>) | undefined;
}

export interface SaleServer {
  /** As people call it. */
  readonly title: string;
  /** As `npm run engines` calls it. */
  readonly engine: EngineName;
  readonly protocols: readonly string[];
  /** Whether it can hold the stock and the requests, which change several keys at once. */
  readonly keyValue: boolean;
  /** Loading a client takes time, so only who is asked for is loaded. */
  readonly load: () => Promise<ServerDriver>;
}

export const serverTypes = ["redis", "postgres", "mysql", "rabbitmq", "nats", "kafka"] as const;

export type ServerType = (typeof serverTypes)[number];

export const saleServers: Readonly<Record<ServerType, SaleServer>> = {
  redis: {
    title: "Redis",
    engine: "redis",
    protocols: ["redis:", "rediss:"],
    keyValue: true,
    load: async () => (await import("./servers/redis.ts")).redisDriver,
  },
  postgres: {
    title: "PostgreSQL",
    engine: "postgres",
    protocols: ["postgres:", "postgresql:"],
    keyValue: true,
    load: async () => (await import("./servers/postgres.ts")).postgresDriver,
  },
  mysql: {
    title: "MySQL",
    engine: "mariadb",
    protocols: ["mysql:"],
    keyValue: true,
    load: async () => (await import("./servers/mysql.ts")).mysqlDriver,
  },
  rabbitmq: {
    title: "RabbitMQ",
    engine: "rabbitmq",
    protocols: ["amqp:", "amqps:"],
    keyValue: false,
    load: async () => (await import("./servers/rabbitmq.ts")).rabbitmqDriver,
  },
  nats: {
    title: "NATS",
    engine: "nats",
    protocols: ["nats:"],
    // It has key-values, but one key in each commit.
    keyValue: false,
    load: async () => (await import("./servers/nats.ts")).natsDriver,
  },
  kafka: {
    title: "Kafka",
    engine: "kafka",
    protocols: ["kafka:"],
    keyValue: false,
    load: async () => (await import("./servers/kafka.ts")).kafkaDriver,
  },
};

export const keyValueTypes = serverTypes.filter((type) => saleServers[type].keyValue);
