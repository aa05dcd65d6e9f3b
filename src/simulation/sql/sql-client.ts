import { AsyncLocalStorage } from "node:async_hooks";
import { TenonError } from "../../contracts/errors.ts";
import type { SqlEngine, SqlRow, SqlTransaction, SqlValue } from "../../contracts/sql.ts";
import { type Address, type Cancel, NetworkError, type World } from "../../world/world.ts";
import { FramedConnection } from "../http/framed-connection.ts";
import { decodeReply, encodeRequest, errorOf, requireValues, type SqlReply, type SqlRequest } from "./sql-messages.ts";
import { keepAlive, SQL_MESSAGE_BYTES_MAX } from "./sql-sessions.ts";

/** Transactions on a simulated database, each on a connection of its own. Connections are made when they are needed, and kept. */
export class SqlClient implements SqlEngine, AsyncDisposable {
  readonly dialect = "sqlite";
  readonly #world: World;
  readonly #address: Address;
  readonly #idleMax: number;
  /** Knows which transaction the running code belongs to. */
  readonly #current = new AsyncLocalStorage<ClientTransaction>();
  #idle: SqlConnection[] = [];
  readonly #underWay = new Set<Promise<unknown>>();
  #disposed = false;

  constructor(world: World, address: Address, idleMax: number) {
    this.#world = world;
    this.#address = address;
    this.#idleMax = idleMax;
  }

  transaction<T>(work: (transaction: SqlTransaction) => Promise<T> | T): Promise<T> {
    if (this.#current.getStore()?.ended === false) return Promise.reject(nested());
    if (this.#disposed) return Promise.reject(closed());
    const running = this.#transact(work);
    const settled = running.then(ignore, ignore);
    this.#underWay.add(settled);
    void settled.then(() => this.#underWay.delete(settled));
    return running;
  }

  /** Waits for the transactions under way, and ends the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true;
    await Promise.all(this.#underWay);
    const idle = this.#idle;
    this.#idle = [];
    await Promise.all(idle.map((connection) => connection.close()));
  }

  async #transact<T>(work: (transaction: SqlTransaction) => Promise<T> | T): Promise<T> {
    const connection = await this.#begin();
    try {
      const result = await this.#work(new ClientTransaction(connection), connection, work);
      await commit(connection);
      return result;
    } finally {
      this.#release(connection);
    }
  }

  async #work<T>(
    transaction: ClientTransaction,
    connection: SqlConnection,
    work: (transaction: SqlTransaction) => Promise<T> | T,
  ): Promise<T> {
    try {
      return await this.#current.run(transaction, work, transaction);
    } catch (error) {
      transaction.ended = true;
      // A connection that breaks rolls back as well; the first error is the one to report.
      await connection.ask({ type: "rollback" }).catch(ignore);
      throw error;
    } finally {
      transaction.ended = true;
    }
  }

  async #begin(): Promise<SqlConnection> {
    let connection: SqlConnection | undefined;
    try {
      connection = this.#idle.pop() ?? (await SqlConnection.open(this.#world, this.#address));
      await connection.ask({ type: "begin" });
      return connection;
    } catch (cause) {
      if (connection !== undefined) this.#release(connection);
      throw cause instanceof NetworkError ? noConnection(this.#address, cause) : cause;
    }
  }

  #release(connection: SqlConnection): void {
    if (connection.broken) return;
    if (this.#idle.length >= this.#idleMax) void connection.close();
    else this.#idle.push(connection);
    connection.whenBroken = () => {
      this.#idle = this.#idle.filter((other) => other !== connection);
    };
  }
}

async function commit(connection: SqlConnection): Promise<void> {
  try {
    await connection.ask({ type: "commit" });
  } catch (cause) {
    if (cause instanceof NetworkError) throw lostCommit(cause);
    throw cause instanceof TenonError ? cause : refusedCommit(cause);
  }
}

class ClientTransaction implements SqlTransaction {
  readonly #connection: SqlConnection;
  ended = false;

  constructor(connection: SqlConnection) {
    this.#connection = connection;
  }

  async execute(sql: string, parameters: readonly SqlValue[] = []): Promise<number> {
    requireValues(parameters);
    const reply = await this.#run({ type: "execute", sql, parameters });
    return reply.type === "changed" ? reply.count : 0;
  }

  async query(sql: string, parameters: readonly SqlValue[] = []): Promise<readonly SqlRow[]> {
    requireValues(parameters);
    const reply = await this.#run({ type: "query", sql, parameters });
    return reply.type === "rows" ? reply.rows : [];
  }

  async #run(request: SqlRequest): Promise<SqlReply> {
    if (this.ended) throw endedBefore();
    try {
      return await this.#connection.ask(request);
    } catch (cause) {
      throw cause instanceof NetworkError ? lostStatement(cause) : cause;
    }
  }
}

/** A connection to the database: requests are answered in the order in which they were made. */
class SqlConnection {
  readonly #world: World;
  readonly #framed: FramedConnection;
  readonly #waiting: PromiseWithResolvers<SqlReply>[] = [];
  #cancelKeepAlive: Cancel | undefined;
  #failure: NetworkError | undefined;
  whenBroken: () => void = () => {};

  constructor(world: World, framed: FramedConnection) {
    this.#world = world;
    this.#framed = framed;
    void this.#listen();
  }

  static async open(world: World, address: Address): Promise<SqlConnection> {
    return new SqlConnection(world, new FramedConnection(await world.network.connect(address), SQL_MESSAGE_BYTES_MAX));
  }

  get broken(): boolean {
    return this.#failure !== undefined;
  }

  async ask(request: SqlRequest): Promise<SqlReply> {
    if (this.#failure !== undefined) throw this.#failure;
    const waiting = Promise.withResolvers<SqlReply>();
    this.#waiting.push(waiting);
    this.#cancelKeepAlive ??= keepAlive(this.#world, this.#framed);
    // Reading tells that it broke.
    this.#framed.write(encodeRequest(request)).catch(ignore);
    const reply = await waiting.promise;
    if (reply.type === "failed") throw errorOf(reply.failure);
    return reply;
  }

  async close(): Promise<void> {
    await this.#framed.connection.close().catch(ignore);
  }

  async #listen(): Promise<void> {
    const { connection } = this.#framed;
    try {
      for (let frame = await this.#framed.read(); frame !== undefined; frame = await this.#framed.read()) {
        if (frame.byteLength > 0) this.#take(decodeReply(frame));
      }
      throw new NetworkError("broken", connection.remote, "the database ended the connection");
    } catch (error) {
      connection.destroy();
      this.#break(error as NetworkError);
    }
  }

  #take(reply: SqlReply): void {
    this.#waiting.shift()?.resolve(reply);
    if (this.#waiting.length === 0) this.#rest();
  }

  #break(failure: NetworkError): void {
    this.#failure = failure;
    this.#rest();
    for (const { reject } of this.#waiting.splice(0)) reject(failure);
    this.whenBroken();
  }

  #rest(): void {
    this.#cancelKeepAlive?.();
    this.#cancelKeepAlive = undefined;
  }
}

function noConnection({ host, port }: Address, cause: NetworkError): TenonError {
  const message = `No connection to the database at ${host}:${port} could be had: look at the cause, and try again. The transaction was not begun.`;
  return new TenonError("unavailable", message, { cause, fields: { host, port } });
}

function lostStatement(cause: NetworkError): TenonError {
  const { host, port } = cause.address;
  const message = `The connection to the database at ${host}:${port} was lost within a transaction, which is rolled back. Repeat the transaction from its beginning.`;
  return new TenonError("unavailable", message, { cause, fields: { host, port } });
}

function lostCommit(cause: NetworkError): TenonError {
  const { host, port } = cause.address;
  const message = `The connection to the database at ${host}:${port} was lost while a transaction was being committed: it may be committed or not. Repeat it only if it is idempotent.`;
  return new TenonError("unavailable", message, { cause, outcome: "unknown", fields: { host, port } });
}

function refusedCommit(cause: unknown): TenonError {
  return new TenonError("conflict", "A SQLite transaction could not be committed: look at the cause.", { cause });
}

function endedBefore(): TenonError {
  return new TenonError(
    "closed",
    "A statement came after the end of its transaction. Await every statement before the work resolves.",
  );
}

function nested(): TenonError {
  return new TenonError(
    "conflict",
    "transaction() was called inside a transaction of the same database, which would wait for itself. Use the transaction at hand, or start the other one after its end.",
  );
}

function closed(): TenonError {
  return new TenonError("closed", "The SQL engine was disposed of. The transaction was not begun.");
}

function ignore(): void {}
