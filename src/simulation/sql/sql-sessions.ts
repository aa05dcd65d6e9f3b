import { TenonError } from "../../contracts/errors.ts";
import type { Cancel, Connection, World } from "../../world/world.ts";
import { FramedConnection } from "../http/framed-connection.ts";
import { decodeRequest, encodeReply, failureOf, type SqlReply, type SqlRequest } from "./sql-messages.ts";
import type { SqlMoment } from "./sql-moment.ts";
import type { SqlStorage } from "./sql-storage.ts";

export const SQL_MESSAGE_BYTES_MAX = 64 * 1024 * 1024;
/** How often a side that waits for the other one makes sure that it is there, as TCP's keep-alive does. */
const KEEP_ALIVE_MS = 5_000;
/** How long the server works on a statement. */
const WORK_MS = { min: 0.05, max: 1 };

/** Sends a sign of life from time to time, so that a connection whose other side is gone breaks in the end. Whoever reads skips it. */
export function keepAlive(world: World, connection: FramedConnection): Cancel {
  let cancel = (): void => {};
  const next = (): void => {
    cancel = world.timers.schedule(KEEP_ALIVE_MS, () => {
      // Reading tells that it broke.
      connection.write(new Uint8Array(0)).catch(() => {});
      next();
    });
  };
  next();
  return () => cancel();
}

/** The sessions of one incarnation of a database's process: one of them at a time owns the transaction, the others stand in line. */
export class SqlSessions {
  readonly #world: World;
  readonly #storage: SqlStorage;
  readonly #lockTimeoutMs: number;
  readonly #connections = new Set<Connection>();
  readonly #line: { readonly own: () => void }[] = [];
  #owned = false;

  constructor(world: World, storage: SqlStorage, lockTimeoutMs: number) {
    this.#world = world;
    this.#storage = storage;
    this.#lockTimeoutMs = lockTimeoutMs;
  }

  /** Serves a client until its connection ends. Never rejects. */
  async serve(connection: Connection): Promise<void> {
    const framed = new FramedConnection(connection, SQL_MESSAGE_BYTES_MAX);
    const session = new Session(this);
    this.#connections.add(connection);
    try {
      for (let frame = await framed.read(); frame !== undefined; frame = await framed.read()) {
        if (frame.byteLength === 0) continue;
        const reply = await session.answer(decodeRequest(frame), () => keepAlive(this.#world, framed));
        await framed.write(encodeReply(reply));
      }
      await connection.close();
    } catch {
      connection.destroy();
    } finally {
      this.#connections.delete(connection);
      session.end();
    }
  }

  /** Breaks every connection; what is not committed is rolled back. */
  end(): void {
    for (const connection of this.#connections) connection.destroy();
  }

  get storage(): SqlStorage {
    return this.#storage;
  }

  /** Resolves when the transaction is the caller's. */
  async own(): Promise<void> {
    if (!this.#owned) {
      this.#owned = true;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const place = { own: resolve };
    const cancel = this.#world.timers.schedule(this.#lockTimeoutMs, () => {
      this.#line.splice(this.#line.indexOf(place), 1);
      reject(lockTimeout(this.#lockTimeoutMs));
    });
    this.#line.push(place);
    await promise;
    cancel();
  }

  disown(): void {
    const first = this.#line.shift();
    if (first === undefined) this.#owned = false;
    else first.own();
  }

  work(): Promise<void> {
    const { timers, random } = this.#world;
    return timers.sleep(WORK_MS.min + random.float() * (WORK_MS.max - WORK_MS.min));
  }

  moment(): SqlMoment {
    const { clock, random } = this.#world;
    return { epochMs: clock.now(), seed: Math.floor(random.float() * 2 ** 52) };
  }
}

/** What one client does, one request after the other. */
class Session {
  readonly #sessions: SqlSessions;
  /** While the transaction is this session's. */
  #cancelKeepAlive: Cancel | undefined;

  constructor(sessions: SqlSessions) {
    this.#sessions = sessions;
  }

  async answer(request: SqlRequest, stayAwake: () => Cancel): Promise<SqlReply> {
    try {
      await this.#sessions.work();
      if (request.type !== "begin") return this.#answer(request);
      await this.#sessions.own();
      this.#cancelKeepAlive = stayAwake();
      this.#sessions.storage.begin();
      return { type: "done" };
    } catch (error) {
      return { type: "failed", failure: failureOf(error) };
    }
  }

  /** The client is gone. */
  end(): void {
    if (this.#cancelKeepAlive === undefined) return;
    this.#sessions.storage.rollBack();
    this.#disown();
  }

  #answer(request: Exclude<SqlRequest, { type: "begin" }>): SqlReply {
    const { storage } = this.#sessions;
    if (request.type === "rollback") {
      this.end();
      return { type: "done" };
    }
    if (!storage.inTransaction) {
      if (request.type === "commit") this.end();
      throw rolledBack();
    }
    if (request.type === "commit") {
      this.#commit();
      return { type: "done" };
    }
    const moment = this.#sessions.moment();
    return request.type === "execute"
      ? {
          type: "changed",
          count: storage.run(request, moment, (statements, statement) => statements.change(statement)),
        }
      : { type: "rows", rows: storage.run(request, moment, (statements, statement) => statements.all(statement)) };
  }

  #commit(): void {
    try {
      this.#sessions.storage.commit();
    } finally {
      // Also when SQLite refused, such as for a constraint that is looked at only now.
      this.end();
    }
  }

  #disown(): void {
    this.#cancelKeepAlive?.();
    this.#cancelKeepAlive = undefined;
    this.#sessions.disown();
  }
}

function lockTimeout(lockTimeoutMs: number): TenonError {
  return new TenonError(
    "timeout",
    `The simulated database was busy with other transactions for ${lockTimeoutMs} ms. Try again, or raise lockTimeoutMs.`,
  );
}

function rolledBack(): TenonError {
  return new TenonError(
    "conflict",
    "SQLite has already rolled this transaction back because of an earlier error. Let that error pass out of the work.",
  );
}
