import { type Outcome, TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import type { PostgresClient } from "./clients.ts";
import { commandOf } from "./pool.ts";
import { closed, failureOf, isCollision, isEnd, overdue, plain, unreachable } from "./server-failures.ts";
import { Overdue, type Parameter, type Row, Session, type Statement } from "./session.ts";

export interface ConnectionSettings {
  readonly world: World;
  /** Answers a new client each time; it belongs to the engine from then on. */
  readonly connect: () => PostgresClient;
  readonly connectionsMax: number;
  /** How long an operation waits for a connection, and then for each answer. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** Sessions that are being made, so that closing ends them. */
export type Making = Set<Session>;

/** A transaction at work. */
export interface Transaction {
  run(statement: Statement, values?: readonly Parameter[]): Promise<readonly Row[]>;
  /** Several statements in one text, without values. */
  simple(text: string): Promise<void>;
}

const backoffMs = { first: 50, longest: 2_000 };
const collisionsMax = 10;
/** How long closing waits for what is under way. */
const drainMs = 1_000;

interface Waiting {
  readonly resolve: (session: Session) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A few sessions, made when they are needed. One that breaks is thrown away together with its transaction, and the next is made with growing pauses; operations wait for it
 * for as long as a command may take. Nothing is repeated but transactions that the server rolled back as they collided.
 */
export class PostgresConnection {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #idle: Session[] = [];
  readonly #busy = new Set<Session>();
  readonly #waiting = new Set<Waiting>();
  readonly #making: Making = new Set();
  #makingCount = 0;
  #failures = 0;
  #retrying = false;
  #trouble: unknown;
  #closing: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#world = settings.world;
  }

  /** The first session; rejects when there is none in time, at once when the credentials are refused. */
  async open(): Promise<void> {
    const { connectTimeoutMs } = this.#settings;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#world.timers.schedule(connectTimeoutMs, () =>
      reject(unreachable("the first statement", connectTimeoutMs, this.#trouble)),
    );
    try {
      await Promise.race([this.#first(), late]);
    } finally {
      cancel();
    }
  }

  async #first(): Promise<void> {
    while (this.#closing === undefined) {
      try {
        this.#give(await this.#make());
        return;
      } catch (error) {
        this.#trouble = error;
        const failure = failureOf(error, "the connection", "not-applied");
        if (failure.code !== "unavailable" && failure.code !== "overloaded") throw failure;
        await this.#world.timers.sleep(backoffMs.first);
      }
    }
  }

  /** One statement by itself that changes nothing. */
  async read(what: string, statement: Statement, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    return this.#alone(what, statement, values, "not-applied");
  }

  /** One statement by itself; when its answer is lost, nobody knows. */
  async write(what: string, statement: Statement, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    for (let collisions = 1; ; collisions++) {
      try {
        return await this.#alone(what, statement, values, "unknown");
      } catch (error) {
        if (!(error instanceof TenonError && isAgain(error)) || collisions >= collisionsMax) throw error;
      }
    }
  }

  /** Commits when `work` resolves, rolls back when it rejects. `work` runs again when the server rolled it back for a collision. */
  async transaction<T>(what: string, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    for (let collisions = 1; ; collisions++) {
      const session = await this.#take(what);
      try {
        return await this.#transact(session, what, work);
      } catch (error) {
        if (!isCollision(error)) throw error;
        if (collisions >= collisionsMax) throw failureOf(error, what, "not-applied");
      } finally {
        this.#giveBack(session);
      }
    }
  }

  async #alone(
    what: string,
    statement: Statement,
    values: readonly Parameter[],
    outcome: Outcome,
  ): Promise<readonly Row[]> {
    const session = await this.#take(what);
    try {
      return (await session.run(statement, values)).rows as readonly Row[];
    } catch (error) {
      throw this.#failed(session, error, what, outcome);
    } finally {
      this.#giveBack(session);
    }
  }

  async #transact<T>(session: Session, what: string, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    let result: T;
    try {
      await session.simple("BEGIN");
      result = await work({
        run: async (statement, values) => (await session.run(statement, values)).rows as readonly Row[],
        simple: async (text) => {
          await session.simple(text);
        },
      });
    } catch (error) {
      if (isRefusal(error)) {
        await this.#rollBack(session);
        throw error;
      }
      if (isEnd(error)) session.destroy();
      else await this.#rollBack(session);
      throw isCollision(error) ? error : this.#failed(session, error, what, "not-applied");
    }
    try {
      const answered = await session.simple("COMMIT");
      if (commandOf(answered) === "ROLLBACK") throw new Error("a statement had failed");
      return result;
    } catch (error) {
      throw isCollision(error) ? error : this.#failed(session, error, what, "unknown");
    }
  }

  async #rollBack(session: Session): Promise<void> {
    try {
      await session.simple("ROLLBACK");
    } catch {
      session.destroy();
    }
  }

  #failed(session: Session, error: unknown, what: string, outcome: Outcome): TenonError {
    if (this.#closing !== undefined && session.ended) return closed(what, outcome);
    if (error instanceof Overdue) return overdue(what, error.timeoutMs, outcome);
    if (isEnd(error)) {
      this.#trouble = error;
      session.destroy();
    }
    return failureOf(error, what, outcome);
  }

  // Sessions -----------------------------------------------------------------------------------------------------------

  #take(what: string): Promise<Session> {
    if (this.#closing !== undefined) return Promise.reject(closed(what));
    for (let session = this.#idle.pop(); session !== undefined; session = this.#idle.pop()) {
      if (session.ended) continue;
      this.#busy.add(session);
      return Promise.resolve(session);
    }
    return this.#wait(what);
  }

  #wait(what: string): Promise<Session> {
    const { commandTimeoutMs } = this.#settings;
    return new Promise((resolve, reject) => {
      const cancel = this.#world.timers.schedule(commandTimeoutMs, () => {
        if (this.#waiting.delete(waiting)) reject(unreachable(what, commandTimeoutMs, this.#trouble));
      });
      const waiting: Waiting = {
        resolve: (session) => {
          cancel();
          this.#busy.add(session);
          resolve(session);
        },
        reject: (error) => {
          cancel();
          reject(error);
        },
      };
      this.#waiting.add(waiting);
      this.#makeMore();
    });
  }

  #makeMore(): void {
    if (this.#retrying || this.#closing !== undefined || this.#makingCount >= this.#waiting.size) return;
    if (this.#busy.size + this.#idle.length + this.#makingCount >= this.#settings.connectionsMax) return;
    this.#make().then(
      (session) => {
        this.#failures = 0;
        this.#give(session);
      },
      (error: unknown) => this.#notMade(error),
    );
  }

  #notMade(error: unknown): void {
    this.#trouble = error;
    this.#world.log.log("warn", "trouble with a connection to PostgreSQL", { error: plain(error)?.message ?? "" });
    const delayMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(10, this.#failures));
    this.#failures += 1;
    this.#retrying = true;
    this.#world.timers.schedule(delayMs * (0.5 + this.#world.random.float() / 2), () => {
      this.#retrying = false;
      this.#makeMore();
    });
  }

  /** A client of the user's that has become a session; `invalid` when it is none. */
  async #make(): Promise<Session> {
    this.#makingCount += 1;
    try {
      return await openSession(this.#settings, this.#making);
    } finally {
      this.#makingCount -= 1;
    }
  }

  #giveBack(session: Session): void {
    this.#busy.delete(session);
    if (this.#busy.size === 0) this.#drained?.();
    if (session.ended) this.#makeMore();
    else this.#give(session);
  }

  #give(session: Session): void {
    if (this.#closing !== undefined) {
      session.destroy();
      return;
    }
    for (const waiting of this.#waiting) {
      this.#waiting.delete(waiting);
      waiting.resolve(session);
      this.#makeMore();
      return;
    }
    this.#idle.push(session);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const each of waiting) each.reject(closed("an operation"));
    if (this.#busy.size > 0) await this.#drain();
    for (const session of [...this.#idle, ...this.#busy, ...this.#making]) session.destroy();
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#world.timers.schedule(drainMs, resolve);
      this.#drained = () => {
        cancel();
        resolve();
      };
    });
  }
}

/** Connects and sets what the engine rests on. A transaction of a process that stands still must not hold its locks for ever. */
export async function openSession(
  { connect, world, commandTimeoutMs }: ConnectionSettings,
  making: Making,
): Promise<Session> {
  const client = connect();
  const wanted = ["connect", "query", "end", "on"] as const;
  if (typeof client !== "object" || client === null || wanted.some((name) => typeof client[name] !== "function")) {
    throw new TenonError("invalid", "connect must answer a new Client of the package pg, not yet connected");
  }
  const session = new Session(client, world, commandTimeoutMs);
  making.add(session);
  try {
    await session.connect();
    await session.simple(
      `SET client_encoding = 'UTF8'; SET default_transaction_isolation = 'read committed'; SET lock_timeout = ${commandTimeoutMs}; SET idle_in_transaction_session_timeout = ${commandTimeoutMs}; SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')`,
    );
    return session;
  } catch (error) {
    session.destroy();
    throw error;
  } finally {
    making.delete(session);
  }
}

/** An error that the engine itself threw in a transaction, to refuse. */
function isRefusal(error: unknown): boolean {
  return error instanceof TenonError || error instanceof Abandoned;
}

/** Ends a transaction without an error of its own: it is rolled back, and who threw it knows what to do. */
export class Abandoned extends Error {}

function isAgain(error: TenonError): boolean {
  const { sqlState } = error.fields;
  return sqlState === "40001" || sqlState === "40P01";
}
