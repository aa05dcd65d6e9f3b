import { isCode, TenonError } from "../../contracts/errors.ts";
import type { KeyValueEngine } from "../../contracts/key-value.ts";
import type { LeaseEngine } from "../../contracts/leases.ts";
import type { MessageEngine } from "../../contracts/messages.ts";
import type { RateEngine } from "../../contracts/rates.ts";
import type { World } from "../../world/world.ts";
import { DatabaseConnection } from "./connection.ts";
import type { Dialect } from "./dialect.ts";
import { RelationalKeyValues } from "./key-values/relational-key-values.ts";
import { RelationalLeases } from "./leases/relational-leases.ts";
import { Listener } from "./listener.ts";
import { RelationalMessages } from "./messages/relational-messages.ts";
import type { RelationalSettings } from "./options.ts";
import { RelationalRates } from "./rates/relational-rates.ts";
import type { Requirement, ServerState } from "./requirements.ts";
import { command } from "./sql.ts";

/** An engine whose state is in tables of a database. */
export interface RelationalEngine extends AsyncDisposable {
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

/** What an engine brings beside its dialect. */
export interface EngineParts<Name extends string> {
  readonly name: Name;
  readonly dialect: Dialect;
  /** What its tables' version has to be. */
  readonly tablesVersion: number;
  /** Which function answers the statements that make the tables. */
  readonly tablesFunction: string;
  /** Refuses a server on which the engine's promises cannot be kept. */
  readonly requirements: (connection: DatabaseConnection) => Promise<ServerState>;
  /** Makes what is missing, and brings tables of an earlier version up to date, once, whoever else starts at the same time. */
  readonly makeTables: (connection: DatabaseConnection) => Promise<unknown>;
}

/** Connects, looks at the server and at the tables. */
export async function openEngine<Name extends string>(
  parts: EngineParts<Name>,
  settings: RelationalSettings,
): Promise<RelationalEngine & { readonly name: Name }> {
  const { dialect } = parts;
  const { world, connectionsMax, commandTimeoutMs, connectTimeoutMs } = settings;
  const connectionSettings = { world, dialect, connectionsMax, commandTimeoutMs, connectTimeoutMs };
  const listener = new Listener(connectionSettings);
  const connection = new DatabaseConnection(connectionSettings, () => listener.lookNow());
  try {
    await connection.open();
    const state = await parts.requirements(connection);
    if (settings.makeTables) await parts.makeTables(connection);
    await checkTables(connection, parts, settings.tables.prefix, settings.tables.meta);
    return new ConnectedEngine(parts, settings, { connection, listener, state });
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function checkTables(
  connection: DatabaseConnection,
  { tablesVersion, tablesFunction }: EngineParts<string>,
  prefix: string,
  meta: string,
): Promise<void> {
  const find = command(`${prefix}_tables`, `SELECT value FROM ${meta} WHERE name = 'tables'`);
  let version: unknown;
  try {
    version = (await connection.read("reading the tables' version", find))[0]?.value;
  } catch (error) {
    if (!isCode(error, "not-found")) throw error;
    const text = `The tables ${prefix}_… are not there. Make them with the option tables: "make", or with what ${tablesFunction}() answers.`;
    throw new TenonError("not-found", text, { fields: { prefix } });
  }
  if (version === tablesVersion) return;
  const isEarlier = Number(version) < tablesVersion;
  const next = isEarlier
    ? `Bring them up to date with the option tables: "make", or with what ${tablesFunction}("${prefix}", ${version}) answers`
    : "Use another prefix, or the release of Tenon that made them";
  const text = `The tables ${prefix}_… are of version ${version}, and this engine works on version ${tablesVersion}. ${next}.`;
  throw new TenonError("conflict", text, { fields: { version: String(version), needed: tablesVersion } });
}

interface Connected {
  readonly connection: DatabaseConnection;
  readonly listener: Listener;
  readonly state: ServerState;
}

class ConnectedEngine<Name extends string> implements RelationalEngine {
  readonly name: Name;
  readonly world: World;
  readonly topicCreation: "ifMissing" | "never";
  readonly messages: RelationalMessages;
  readonly keyValue: RelationalKeyValues;
  readonly leases: RelationalLeases;
  readonly rates: RelationalRates;
  readonly requirements: readonly Requirement[];
  readonly #server: string;
  readonly #connection: DatabaseConnection;
  readonly #listener: Listener;
  readonly #ended = new AbortController();
  #closing: Promise<void> | undefined;

  constructor(
    { name, dialect }: EngineParts<Name>,
    settings: RelationalSettings,
    { connection, listener, state }: Connected,
  ) {
    const { world, tables } = settings;
    const { prefix } = tables;
    const { survives, requirements } = state;
    const { messages, keyValues, leases, rates } = dialect.commands(tables);
    this.name = name;
    this.world = world;
    this.topicCreation = settings.topicCreation;
    this.requirements = requirements;
    this.#server = dialect.server;
    this.#connection = connection;
    this.#listener = listener;
    this.messages = new RelationalMessages(connection, listener, { world, commands: messages, prefix, survives });
    this.keyValue = new RelationalKeyValues(connection, listener, { world, commands: keyValues, prefix, survives });
    this.leases = new RelationalLeases(connection, listener, { world, commands: leases, prefix, survives });
    this.rates = new RelationalRates(connection, { world, commands: rates, survives });
    for (const { setting, value, ok, meaning } of requirements) {
      world.log.log(ok ? "debug" : "info", `${dialect.server}: ${setting} is ${value}`, { meaning });
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
    const reason = new TenonError("closed", `the ${this.#server} engine was closed`);
    this.keyValue.close(reason);
    const leases = this.leases.close(reason);
    this.rates.close(reason);
    // In the same turn, so that a watch with this signal ends quietly.
    this.#ended.abort(reason);
    await Promise.all([leases, this.messages.close()]);
    this.#listener.close();
    await this.#connection.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
