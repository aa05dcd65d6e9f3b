import { TenonError } from "../../contracts/errors.ts";
import type { KeyValueEngine } from "../../contracts/key-value.ts";
import type { LeaseEngine } from "../../contracts/leases.ts";
import type { MessageEngine } from "../../contracts/messages.ts";
import type { RateEngine } from "../../contracts/rates.ts";
import { systemWorld } from "../../world/system/system-world.ts";
import type { World } from "../../world/world.ts";
import type { PostgresClient } from "./clients.ts";
import { type ConnectionSettings, PostgresConnection } from "./connection.ts";
import { PostgresKeyValues } from "./key-values/postgres-key-values.ts";
import { PostgresLeases } from "./leases/postgres-leases.ts";
import { Listener } from "./listener.ts";
import { PostgresMessages } from "./messages/postgres-messages.ts";
import { PostgresRates } from "./rates/postgres-rates.ts";
import { type Requirement, readRequirements, type ServerState, type Survives } from "./requirements.ts";
import { postgresTables, type Tables, tablesOf, tablesVersion } from "./tables.ts";

export interface PostgresEngineOptions {
  /**
   * Answers a new client whenever it is called, not yet connected: `() => new Client({ connectionString })` of the package pg. The engine calls it for its
   * connections, and again after one was lost; it closes what it was given.
   */
  readonly connect: () => PostgresClient;
  /** What the names of its tables begin with; `"tenon"` if left out. Engines that share database, schema and prefix share everything. */
  readonly prefix?: string | undefined;
  /** `"make"`: makes the tables that are missing. `"expect"`, also when left out: they are there, by `"make"` at some time or by `postgresTables()`. */
  readonly tables?: "make" | "expect" | undefined;
  /** How many connections are open at most, beside the one that listens; 8 if left out. */
  readonly connectionsMax?: number | undefined;
  /** What a confirmed change survives, at least; a server that promises less is refused. What it promises if left out. */
  readonly survives?: Survives | undefined;
  /** Whether publishing and consuming create a topic that is missing; `"ifMissing"` if left out. In production say `"never"` and create topics on purpose. */
  readonly topicCreation?: "ifMissing" | "never" | undefined;
  /** How long an operation waits for a connection or a lock, and then for each answer; 5,000 ms if left out. */
  readonly commandTimeoutMs?: number | undefined;
  /** How long the first connection may take; 10,000 ms if left out. */
  readonly connectTimeoutMs?: number | undefined;
  /** The system's if left out. */
  readonly world?: World | undefined;
}

/** PostgreSQL as an engine; see docs/postgres.md. */
export interface PostgresEngine extends AsyncDisposable {
  readonly name: "postgres";
  readonly world: World;
  /** What topics do that say nothing about it. */
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: MessageEngine;
  readonly keyValue: KeyValueEngine;
  readonly leases: LeaseEngine;
  readonly rates: RateEngine;
  /** What the server's settings mean, as they were when the engine connected. */
  readonly requirements: readonly Requirement[];
  /** Aborts when the engine was closed. An outage does not end it. */
  readonly ended: AbortSignal;
  /** Gives every lane back and closes the connections; takes a few seconds at most, also when the server does not answer. Idempotent. */
  close(): Promise<void>;
}

/**
 * Connects to PostgreSQL 13 or later and looks at its settings and its tables.
 *
 * `unavailable` when it cannot be reached or is a standby, `denied` when it refuses the credentials, `not-found` when the tables are not there and may not be made, `conflict` when they are another
 * version's, `unsupported` when it is too old.
 */
export async function postgresEngine(options: PostgresEngineOptions): Promise<PostgresEngine> {
  if (typeof options?.connect !== "function") {
    throw new TenonError(
      "invalid",
      "postgresEngine() needs options with connect, a function that answers a new Client",
    );
  }
  const { connect, prefix = "tenon", tables = "expect", survives, world = systemWorld() } = options;
  const {
    connectionsMax = 8,
    commandTimeoutMs = 5_000,
    connectTimeoutMs = 10_000,
    topicCreation = "ifMissing",
  } = options;
  for (const [name, value] of Object.entries({ commandTimeoutMs, connectTimeoutMs })) {
    if (typeof value === "number" && value > 0 && value < 2 ** 31) continue;
    throw new TenonError("invalid", `${name} must be a number of milliseconds above 0, not ${value}`);
  }
  if (!(Number.isInteger(connectionsMax) && connectionsMax >= 1)) {
    throw new TenonError("invalid", `connectionsMax must be a whole number of at least 1, not ${connectionsMax}`);
  }
  oneOf("tables", tables, ["make", "expect"]);
  oneOf("topicCreation", topicCreation, ["ifMissing", "never"]);
  if (survives !== undefined) oneOf("survives", survives, ["nothing", "process", "machine", "replicas"]);
  return ConnectedEngine.open({
    connection: { world, connect, connectionsMax, commandTimeoutMs: Math.ceil(commandTimeoutMs), connectTimeoutMs },
    tables: tablesOf(prefix),
    makeTables: tables === "make",
    survives,
    topicCreation,
  });
}

function oneOf(option: string, value: string, allowed: readonly string[]): void {
  if (allowed.includes(value)) return;
  throw new TenonError("invalid", `${option} is one of ${allowed.join(", ")}, not ${JSON.stringify(value)}`);
}

interface EngineSettings {
  readonly connection: ConnectionSettings;
  readonly tables: Tables;
  readonly makeTables: boolean;
  readonly survives: Survives | undefined;
  readonly topicCreation: PostgresEngine["topicCreation"];
}

class ConnectedEngine implements PostgresEngine {
  readonly name = "postgres";
  readonly world: World;
  readonly topicCreation: PostgresEngine["topicCreation"];
  readonly messages: PostgresMessages;
  readonly keyValue: PostgresKeyValues;
  readonly leases: PostgresLeases;
  readonly rates: PostgresRates;
  readonly requirements: readonly Requirement[];
  readonly #connection: PostgresConnection;
  readonly #listener: Listener;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  static async open(settings: EngineSettings): Promise<ConnectedEngine> {
    const connection = new PostgresConnection(settings.connection);
    try {
      await connection.open();
      const state = await readRequirements(connection, settings.connection.connectionsMax, settings.survives);
      await checkTables(connection, settings);
      return new ConnectedEngine(settings, connection, state);
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(settings: EngineSettings, connection: PostgresConnection, state: ServerState) {
    const { tables } = settings;
    const { world } = settings.connection;
    const { survives, requirements } = state;
    this.world = world;
    this.topicCreation = settings.topicCreation;
    this.requirements = requirements;
    this.#connection = connection;
    this.#listener = new Listener(settings.connection);
    this.messages = new PostgresMessages(connection, this.#listener, { world, tables, survives });
    this.keyValue = new PostgresKeyValues(connection, this.#listener, { world, tables, survives });
    this.leases = new PostgresLeases(connection, this.#listener, { world, tables, survives });
    this.rates = new PostgresRates(connection, { world, tables, survives });
    for (const { setting, value, ok, meaning } of requirements) {
      world.log.log(ok ? "debug" : "info", `PostgreSQL: ${setting} is ${value}`, { meaning });
    }
  }

  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const reason = new TenonError("closed", "the PostgreSQL engine was closed");
    this.keyValue.close(reason);
    this.leases.close(reason);
    this.rates.close(reason);
    // In the same turn, so that a watch with this signal ends quietly.
    this.#ended.abort(reason);
    await this.messages.close();
    this.#listener.close();
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Any number that nothing else locks by. */
const makingLock = 7_316_023_341;

async function checkTables(connection: PostgresConnection, { tables, makeTables }: EngineSettings): Promise<void> {
  if (makeTables) {
    await connection.transaction("making tables", async (transaction) => {
      // Engines that start together would make the same ones.
      await transaction.run({ name: "tenon_making", text: "SELECT pg_advisory_xact_lock($1)" }, [makingLock]);
      const [row] = await transaction.run({ name: "tenon_find", text: "SELECT to_regclass($1) IS NOT NULL AS there" }, [
        tables.meta,
      ]);
      if (row!.there === 0) await transaction.simple(postgresTables(tables.prefix));
    });
  }
  let version: unknown;
  try {
    const text = `SELECT value FROM ${tables.meta} WHERE name = 'tables'`;
    version = (await connection.read("reading the tables' version", { name: `${tables.prefix}_tables`, text }))[0]
      ?.value;
  } catch (error) {
    if (!(error instanceof TenonError && error.code === "not-found")) throw error;
    const text = `The tables ${tables.prefix}_… are not there. Make them with the option tables: "make", or with what postgresTables() answers.`;
    throw new TenonError("not-found", text, { fields: { prefix: tables.prefix } });
  }
  if (version === tablesVersion) return;
  const text = `The tables ${tables.prefix}_… are of version ${version}, and this engine works on version ${tablesVersion}. Use another prefix, or the release of Tenon that made them.`;
  throw new TenonError("conflict", text, { fields: { version: String(version), needed: tablesVersion } });
}
