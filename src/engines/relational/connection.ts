import { type Outcome, TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import { readOf } from "../shared/passing.ts";
import type { Dialect } from "./dialect.ts";
import { closed, overdue, plain, unreachable } from "./failures.ts";
import { Overdue, Session } from "./session.ts";
import type { Command, Parameter, Row } from "./sql.ts";
import { OpenTransaction, type Transaction } from "./transaction.ts";

export interface ConnectionSettings {
  readonly world: World;
  readonly dialect: Dialect;
  readonly connectionsMax: number;
  /** How long an operation waits for a connection, and then for each answer. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

/** Sessions that are being made, so that closing ends them. */
export type Making = Set<Session>;

const backoffMs = { first: 50, longest: 2_000 };
const collisionsMax = 10;
const collisionPauseMs = 5;
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
export class DatabaseConnection {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #dialect: Dialect;
  readonly #told: () => void;
  readonly #asRead: (error: unknown) => never;
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

  /** `told`: there may be news. */
  constructor(settings: ConnectionSettings, told: () => void) {
    this.#settings = settings;
    this.#told = told;
    this.#world = settings.world;
    this.#dialect = settings.dialect;
    this.#asRead = readOf(settings.dialect.server);
  }

  /** The first session; rejects when there is none in time, at once when the credentials are refused. */
  async open(): Promise<void> {
    const { connectTimeoutMs } = this.#settings;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#world.timers.schedule(connectTimeoutMs, () =>
      reject(unreachable(this.server, "the first statement", connectTimeoutMs, this.#trouble)),
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
        const failure = this.#dialect.failureOf(error, "the connection", "not-applied");
        if (failure.code !== "unavailable" && failure.code !== "overloaded") throw failure;
        await this.#world.timers.sleep(backoffMs.first);
      }
    }
  }

  get server(): string {
    return this.#dialect.server;
  }

  /** By itself what changes nothing. */
  read(what: string, command: Command, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    return this.#repeated(() => this.#alone(what, command, values, "not-applied"));
  }

  /** One statement by itself; when its answer is lost, nobody knows. */
  write(what: string, command: Command, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    return this.#repeated(() => this.#alone(what, command, values, "unknown"));
  }

  /** One statement by itself that changes nothing that anybody sees: when its answer is lost, it is as if it had not happened. */
  note(what: string, command: Command, values: readonly Parameter[] = []): Promise<readonly Row[]> {
    return this.write(what, command, values).catch(this.#asRead);
  }

  /** Commits when `work` resolves, rolls back when it rejects. `work` runs again when the server rolled it back for a collision. */
  transaction<T>(what: string, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    return this.#repeated(async () => {
      const session = this.#takeIdle() ?? (await this.#take(what));
      try {
        return await this.#transact(session, what, work);
      } finally {
        this.#giveBack(session);
      }
    });
  }

  async #repeated<T>(attempt: () => Promise<T>): Promise<T> {
    for (let collisions = 1; ; collisions++) {
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof Collision)) throw error;
        if (collisions >= collisionsMax) throw error.failure;
      }
      // The first times at once; then those that collide again and again part.
      if (collisions > 2) await this.#world.timers.sleep(this.#world.random.float() * collisions * collisionPauseMs);
    }
  }

  async #alone(
    what: string,
    command: Command,
    values: readonly Parameter[],
    outcome: Outcome,
  ): Promise<readonly Row[]> {
    const session = this.#takeIdle() ?? (await this.#take(what));
    try {
      const rows = await command(session, values);
      if (this.#dialect.hasTold?.(session)) this.#told();
      return rows;
    } catch (error) {
      throw this.#failed(session, error, what, outcome);
    } finally {
      this.#giveBack(session);
    }
  }

  async #transact<T>(session: Session, what: string, work: (transaction: Transaction) => Promise<T>): Promise<T> {
    const transaction = new OpenTransaction(session);
    let result: T;
    try {
      result = await work(transaction);
    } catch (error) {
      if (isRefusal(error)) {
        await this.#rollBack(session);
        throw error;
      }
      if (this.#dialect.isEnd(error)) session.destroy();
      else await this.#rollBack(session);
      throw this.#failed(session, error, what, "not-applied");
    }
    try {
      await transaction.commit();
      if (this.#dialect.hasTold?.(session)) this.#told();
      return result;
    } catch (error) {
      throw this.#failed(session, error, what, "unknown");
    }
  }

  async #rollBack(session: Session): Promise<void> {
    try {
      await session.simple("ROLLBACK");
    } catch {
      session.destroy();
    }
  }

  #failed(session: Session, error: unknown, what: string, outcome: Outcome): TenonError | Collision {
    const { server } = this.#dialect;
    if (this.#closing !== undefined && session.ended) return closed(server, what, outcome);
    if (error instanceof Overdue) return overdue(server, what, error.timeoutMs, outcome);
    const failure = this.#dialect.failureOf(error, what, outcome);
    if (this.#dialect.isCollision(error)) return new Collision(failure);
    if (this.#dialect.isEnd(error)) {
      this.#trouble = error;
      session.destroy();
    }
    return failure;
  }

  // Sessions -----------------------------------------------------------------------------------------------------------

  /** Whoever need not wait for a session goes on in the same turn. */
  #takeIdle(): Session | undefined {
    if (this.#closing !== undefined) return undefined;
    for (let session = this.#idle.pop(); session !== undefined; session = this.#idle.pop()) {
      if (session.ended) continue;
      if (session.idleMs > this.#dialect.idleMsMax) {
        session.destroy();
        continue;
      }
      this.#busy.add(session);
      return session;
    }
    return undefined;
  }

  #take(what: string): Promise<Session> {
    if (this.#closing !== undefined) return Promise.reject(closed(this.server, what));
    const { commandTimeoutMs } = this.#settings;
    return new Promise((resolve, reject) => {
      const cancel = this.#world.timers.schedule(commandTimeoutMs, () => {
        if (this.#waiting.delete(waiting)) reject(unreachable(this.server, what, commandTimeoutMs, this.#trouble));
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
    this.#world.log.log("warn", `trouble with a connection to ${this.server}`, { error: plain(error)?.message ?? "" });
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
    for (const each of waiting) each.reject(closed(this.server, "an operation"));
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

/** A new session. A client that is none is `invalid`. */
export async function openSession(
  { dialect, world, commandTimeoutMs }: ConnectionSettings,
  making: Making,
): Promise<Session> {
  const session = new Session(dialect.wire(), world, commandTimeoutMs);
  making.add(session);
  try {
    await session.open();
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

/** The server has rolled back, as what was asked for collided with others; what to say when it does so again and again. */
class Collision extends Error {
  readonly failure: TenonError;
  constructor(failure: TenonError) {
    super(failure.message);
    this.failure = failure;
  }
}
