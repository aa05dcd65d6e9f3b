import { TenonError } from "../../contracts/errors.ts";
import type { Cancel, World } from "../../world/world.ts";
import type { RedisClient } from "./clients.ts";
import type { Argument } from "./connection.ts";
import { closed, failureOf, lost, overdue, plain, unreachable } from "./failures.ts";
import { openSession, type Session } from "./session.ts";

const backoffMs = { first: 50, longest: 2_000 };
/** A session that held so long was a good one: the next is made at once. */
const steadyMs = 1_000;
/** How long closing waits for answers that are under way. */
const drainMs = 1_000;

export interface LinkSettings {
  readonly world: World;
  readonly connect: () => RedisClient | Promise<RedisClient>;
  /** How long a command waits to be sent, and then for its answer. */
  readonly commandTimeoutMs: number;
  /** What comes before a session is used. Never rejects; a session that is lost meanwhile is not used. */
  readonly prepare?: ((session: Session) => Promise<void>) | undefined;
  /** A session stands: what must be said first on each is said here. */
  readonly ready?: ((session: Session) => void) | undefined;
  readonly message?: ((channel: string, payload: Buffer) => void) | undefined;
}

/** What is to be sent, and who hears of its outcome. */
export interface Pending {
  readonly what: string;
  /** Answers `undefined` when it could not be sent; then it is asked again on the next session. */
  send(session: Session): Promise<unknown> | undefined;
  /** From when its time counts, by the monotonic clock: issued, or later sent. The link's. */
  since: number;
  /** A command of a former session settles nobody. */
  resolve(reply: unknown): void;
  reject(error: unknown): void;
}

/**
 * Keeps one session standing: makes the next when one is lost, keeps commands in order until then, and gives up what takes too long.
 */
export class Link {
  readonly #settings: LinkSettings;
  readonly #world: World;
  readonly #waiting = new Set<Pending>();
  readonly #sent = new Set<Pending>();
  readonly #opened = Promise.withResolvers<void>();
  #session: Session | undefined;
  #state: "connecting" | "ready" | "closing" | "closed" = "connecting";
  #trouble: unknown;
  #attempts = 0;
  /** Which attempt the session, or the client that is awaited, belongs to. */
  #generation = 0;
  #readySince = 0;
  #isCluster: boolean | undefined;
  #watchdog: Cancel | undefined;
  #retry: Cancel | undefined;
  #deadline: Cancel | undefined;
  #drained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(settings: LinkSettings) {
    this.#settings = settings;
    this.#world = settings.world;
    this.#opened.promise.catch(() => undefined);
    this.#open();
  }

  /** Resolves at the first session; rejects when the client or its credentials are refused. */
  get opened(): Promise<void> {
    return this.#opened.promise;
  }

  get isCluster(): boolean {
    return this.#isCluster ?? false;
  }

  get ready(): boolean {
    return this.#state === "ready";
  }

  /** Why there is no session, as far as the client has said. */
  get trouble(): Error | undefined {
    return plain(this.#trouble);
  }

  /** A client for one node of the cluster; rejects when there is none now. */
  node(): Promise<RedisClient> {
    return this.#session?.node?.() ?? Promise.reject(new Error("there is no connection to a cluster"));
  }

  command(key: string | undefined, args: readonly Argument[], what = String(args[0])): Promise<unknown> {
    return this.perform(what, (session) => session.send(key, args));
  }

  perform(what: string, send: Pending["send"]): Promise<unknown> {
    return new Promise((resolve, reject) => this.tell({ what, send, since: 0, resolve, reject }));
  }

  /** The same, for those who have a promise of their own already. */
  tell(pending: Pending): void {
    if (this.#state === "closing" || this.#state === "closed") {
      pending.reject(closed(pending.what));
      return;
    }
    pending.since = this.#world.clock.monotonic();
    if (this.#state !== "ready" || this.#waiting.size > 0 || !this.#give(pending)) this.#waiting.add(pending);
    this.#armDeadline();
  }

  /** Writes what the session has gathered. */
  flush(): void {
    this.#session?.flush?.();
  }

  #give(pending: Pending): boolean {
    const session = this.#session!;
    let reply: Promise<unknown> | undefined;
    try {
      // While nothing is under way there is nothing to wait for.
      if (this.#sent.size > 0) session.gather?.();
      reply = pending.send(session);
    } catch (error) {
      // A client that throws has sent nothing.
      pending.reject(new TenonError("unavailable", `${pending.what} was not sent`, { cause: plain(error) }));
      return true;
    }
    if (reply === undefined) return false;
    this.#sent.add(pending);
    reply.then(
      (value) => {
        if (this.#settle(pending)) pending.resolve(value);
      },
      (error: unknown) => {
        if (this.#settle(pending)) pending.reject(failureOf(error, pending.what));
      },
    );
    return true;
  }

  #settle(pending: Pending): boolean {
    if (!this.#sent.delete(pending)) return false;
    if (this.#drained !== undefined && this.#sent.size === 0) this.#drained();
    return true;
  }

  #open(): void {
    const { connect, commandTimeoutMs } = this.#settings;
    const generation = ++this.#generation;
    const failed = (error: unknown) => generation === this.#generation && this.#lost(error);
    this.#retry = undefined;
    // A connection that is accepted and then never answers would be waited for without end.
    this.#watchdog = this.#world.timers.schedule(commandTimeoutMs * 2, () =>
      failed(new Error("connecting took too long")),
    );
    let client: RedisClient | Promise<RedisClient>;
    try {
      client = connect();
    } catch (error) {
      failed(error);
      return;
    }
    if (client instanceof Promise) client.then((made) => this.#use(made, generation), failed);
    else this.#use(client, generation);
  }

  #use(client: RedisClient, generation: number): void {
    let session: Session;
    const current = () => this.#session === session;
    try {
      session = openSession(client, {
        ready: () => current() && this.#prepare(session),
        trouble: (error) => current() && this.#note(error),
        lost: (error) => current() && this.#lost(error),
        message: (channel, payload) => this.#settings.message?.(channel, payload),
      });
    } catch (error) {
      this.#opened.reject(error);
      this.#lost(error);
      return;
    }
    if (this.#state === "closed" || generation !== this.#generation) {
      session.destroy();
      return;
    }
    this.#isCluster = session.isCluster;
    this.#session = session;
  }

  #prepare(session: Session): void {
    const { prepare } = this.#settings;
    if (prepare === undefined) this.#ready(session);
    else void prepare(session).then(() => this.#session === session && this.#ready(session));
  }

  #ready(session: Session): void {
    this.#watchdog?.();
    this.#state = this.#state === "closing" ? "closing" : "ready";
    this.#readySince = this.#world.clock.monotonic();
    this.#trouble = undefined;
    this.#settings.ready?.(session);
    this.#opened.resolve();
    this.#flush();
  }

  #flush(): void {
    for (const pending of this.#waiting) {
      if (this.#state !== "ready") return;
      this.#waiting.delete(pending);
      const issued = pending.since;
      pending.since = this.#world.clock.monotonic();
      if (this.#give(pending)) continue;
      pending.since = issued;
      // In front of those behind it again.
      const behind = [...this.#waiting];
      this.#waiting.clear();
      for (const each of [pending, ...behind]) this.#waiting.add(each);
      return;
    }
  }

  #note(error: unknown): void {
    const cause = plain(error);
    this.#trouble = error;
    this.#world.log.log("warn", "trouble with the connection to Redis", { error: cause?.message ?? "" });
    if (this.#state === "connecting") this.#refuseOpening(error);
  }

  /** Wrong credentials do not become right by trying again. */
  #refuseOpening(error: unknown): void {
    const failure = failureOf(error, "the connection");
    if (failure.code === "denied") this.#opened.reject(failure);
  }

  /** Everything that was sent is lost; what waits goes on waiting for the next session. */
  #lost(error: unknown): void {
    if (this.#state === "closed") return;
    this.#note(error);
    this.#generation++;
    this.#watchdog?.();
    const wasReady = this.#state === "ready";
    const now = this.#world.clock.monotonic();
    this.#session?.destroy();
    this.#session = undefined;
    if (this.#state === "ready") this.#state = "connecting";
    this.#giveUp((pending) => lost(pending.what, error));
    if (this.#state === "closing") return;
    if (wasReady && now - this.#readySince >= steadyMs) this.#attempts = 0;
    const delayMs = this.#attempts === 0 ? 0 : Math.min(backoffMs.longest, backoffMs.first * 2 ** this.#attempts);
    this.#attempts++;
    this.#retry?.();
    this.#retry = this.#world.timers.schedule(delayMs * (0.5 + this.#world.random.float() / 2), () => this.#open());
  }

  #giveUp(reason: (pending: Pending) => TenonError): void {
    const sent = [...this.#sent];
    this.#sent.clear();
    this.#drained?.();
    for (const pending of sent) pending.reject(reason(pending));
  }

  #armDeadline(): void {
    if (this.#deadline !== undefined) return;
    const oldest = Math.min(this.#oldest(this.#sent), this.#oldest(this.#waiting));
    if (oldest === Number.POSITIVE_INFINITY) return;
    const delayMs = oldest + this.#settings.commandTimeoutMs - this.#world.clock.monotonic();
    this.#deadline = this.#world.timers.schedule(Math.max(1, delayMs), () => {
      this.#deadline = undefined;
      this.#expire();
      this.#armDeadline();
    });
  }

  #oldest(among: ReadonlySet<Pending>): number {
    for (const pending of among) return pending.since;
    return Number.POSITIVE_INFINITY;
  }

  #expire(): void {
    const { commandTimeoutMs } = this.#settings;
    const due = this.#world.clock.monotonic() - commandTimeoutMs;
    for (const pending of this.#waiting) {
      if (pending.since > due) break;
      this.#waiting.delete(pending);
      pending.reject(unreachable(pending.what, commandTimeoutMs, this.#trouble));
    }
    if (this.#oldest(this.#sent) > due) return;
    // Replies come in order, so nothing after it can be trusted to come either.
    this.#giveUp((pending) => overdue(pending.what, commandTimeoutMs));
    this.#lost(new Error(`the server did not answer within ${commandTimeoutMs} ms`));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const draining = this.#state === "ready" && this.#sent.size > 0;
    this.#state = "closing";
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const pending of waiting) pending.reject(closed(pending.what));
    this.#opened.reject(closed("the connection"));
    if (draining) await this.#drain();
    this.#state = "closed";
    for (const cancel of [this.#watchdog, this.#retry, this.#deadline]) cancel?.();
    this.#giveUp((pending) => closed(pending.what, "unknown"));
    this.#session?.destroy();
    this.#session = undefined;
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
