import { TenonError } from "../../../contracts/errors.ts";
import type { Address, Cancel, Connection, World } from "../../../world/world.ts";
import { isPassing } from "../../shared/passing.ts";
import type { Capabilities, Operation, Welcome } from "../wire/operations.ts";
import { asRead, closed, named, overdue, unreachable } from "./failures.ts";
import { pause } from "./pause.ts";
import { type Moment, Session } from "./session.ts";

const backoffMs = { first: 50, longest: 2_000 };
/** A session that held so long was a good one: the next is made at once. */
const steadyMs = 1_000;
/** How long closing waits for answers that are under way. */
const drainMs = 1_000;

export interface LinkSettings {
  readonly world: World;
  readonly address: Address;
  /** How long a request waits to be sent, and then for its answer; and how long an attempt to connect may take. */
  readonly requestTimeoutMs: number;
  readonly heartbeatMs: number;
}

export interface CallOptions<Answer> {
  readonly signal?: AbortSignal | undefined;
  /** Hears of an answer that came after the signal had aborted. */
  readonly late?: ((answer: Answer) => void) | undefined;
}

/** Who has to be told of each session. */
export interface LinkListener {
  /** A session stands: what must be said first on each is said here. */
  ready(): void;
  lost(): void;
  heard(sent: Moment): void;
}

interface Pending {
  readonly operation: Operation<unknown, unknown>;
  readonly request: unknown;
  /** From when its time counts, by the monotonic clock: issued, or later sent. */
  since: number;
  isSent: boolean;
  readonly settle: (settlement: { readonly answer: unknown } | { readonly error: unknown }) => void;
  /** When it was sent: says that the answer is not wanted. */
  cancel: (() => void) | undefined;
}

/**
 * Keeps one session standing: makes the next when one is lost, keeps requests in order until then, and gives up what takes too long.
 */
export class Link {
  readonly #settings: LinkSettings;
  readonly #world: World;
  readonly #client: string;
  readonly #listeners = new Set<LinkListener>();
  readonly #waiting = new Set<Pending>();
  /** Those whose time counts, oldest first. */
  readonly #timed = new Set<Pending>();
  readonly #opened = Promise.withResolvers<Welcome>();
  #session: Session | undefined;
  #state: "connecting" | "ready" | "closing" | "closed" = "connecting";
  #trouble: unknown;
  #attempts = 0;
  /** Which attempt the session, or the connection that is awaited, belongs to. */
  #generation = 0;
  #readySince = 0;
  #beatMs: number;
  #capabilities: Capabilities | undefined;
  #connecting: AbortController | undefined;
  #watchdog: Cancel | undefined;
  #retry: Cancel | undefined;
  #deadline: Cancel | undefined;
  #drained: (() => void) | undefined;
  #closing: Promise<void> | undefined;

  constructor(settings: LinkSettings) {
    this.#settings = settings;
    this.#world = settings.world;
    this.#client = settings.world.random.uuid();
    this.#beatMs = settings.heartbeatMs;
    this.#opened.promise.catch(() => undefined);
    this.#open();
  }

  /** Resolves at the first session; rejects when the server refuses it. */
  get opened(): Promise<Welcome> {
    return this.#opened.promise;
  }

  get ready(): boolean {
    return this.#session !== undefined && (this.#state === "ready" || this.#state === "closing");
  }

  get requestTimeoutMs(): number {
    return this.#settings.requestTimeoutMs;
  }

  overdue(operation: { readonly name: string }, timeoutMs: number): TenonError {
    return overdue(operation.name, this.#settings.address, timeoutMs);
  }

  /** Why there is no session. */
  get trouble(): unknown {
    return this.#trouble;
  }

  listen(listener: LinkListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Pings at least so often from now on. */
  beatWithin(ms: number): void {
    this.#beatMs = Math.min(this.#beatMs, ms);
    this.#session?.beatWithin(ms);
  }

  /** Waits for a session, for a while, and for the answer: for a while, unless the operation may take as long as it likes. */
  call<Request, Answer>(
    operation: Operation<Request, Answer>,
    request: Request,
    { signal, late }: CallOptions<Answer> = {},
  ): Promise<Answer> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#state === "closing" || this.#state === "closed") return Promise.reject(closed(operation.name));
    return new Promise<Answer>((resolve, reject) => {
      let isOver = false;
      const pending: Pending = {
        operation: operation as Operation<unknown, unknown>,
        request,
        since: this.#world.clock.monotonic(),
        isSent: false,
        cancel: undefined,
        settle: (settlement) => {
          if (isOver) {
            if ("answer" in settlement) late?.(settlement.answer as Answer);
            return;
          }
          isOver = true;
          signal?.removeEventListener("abort", abort);
          if ("answer" in settlement) resolve(settlement.answer as Answer);
          else reject(settlement.error);
        },
      };
      const abort = (): void => {
        isOver = true;
        this.#waiting.delete(pending);
        this.#timed.delete(pending);
        this.#disarmDeadline();
        pending.cancel?.();
        reject(signal?.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#timed.add(pending);
      if (this.#state !== "ready" || this.#waiting.size > 0 || !this.#give(pending)) this.#waiting.add(pending);
      this.#armDeadline();
    });
  }

  /** Sends at once, over the present session only; `undefined` when there is none. Nothing is waited for and no time counts. Throws what `Session.send` throws. */
  send<Request, Answer>(operation: Operation<Request, Answer>, request: Request): Promise<Answer> | undefined {
    if (!this.ready) return undefined;
    return this.#session!.send(operation, request).answer;
  }

  /** False when it has to wait. */
  #give(pending: Pending): boolean {
    const session = this.#session;
    if (session === undefined || !session.hasRoom) return false;
    const { operation } = pending;
    let sent: ReturnType<Session["send"]>;
    try {
      sent = session.send(operation, pending.request);
    } catch (error) {
      this.#timed.delete(pending);
      pending.settle({ error: named(operation.name, error) });
      return true;
    }
    pending.isSent = true;
    pending.since = this.#world.clock.monotonic();
    this.#timed.delete(pending);
    if (!operation.waits) this.#timed.add(pending);
    pending.cancel = () => session.cancel(sent.id);
    sent.answer.then(
      (answer) => this.#settle(pending, { answer }),
      (error: unknown) => this.#settle(pending, { error: failureOf(operation, error) }),
    );
    return true;
  }

  #settle(pending: Pending, settlement: Parameters<Pending["settle"]>[0]): void {
    this.#timed.delete(pending);
    pending.settle(settlement);
    this.#disarmDeadline();
    if (this.#timed.size === 0) this.#drained?.();
  }

  #open(): void {
    const { address, requestTimeoutMs } = this.#settings;
    const generation = ++this.#generation;
    const failed = (error: unknown) => {
      if (generation === this.#generation) this.#lost(error);
    };
    this.#retry = undefined;
    const connecting = new AbortController();
    this.#connecting = connecting;
    // A connection that is accepted and then never answers would be waited for without end.
    this.#watchdog = this.#world.timers.schedule(requestTimeoutMs, () =>
      failed(new Error(`connecting took longer than ${requestTimeoutMs} ms`)),
    );
    this.#world.network
      .connect(address, { signal: connecting.signal })
      .then((connection) => this.#use(connection, generation), failed);
  }

  #use(connection: Connection, generation: number): void {
    if (this.#state === "closed" || generation !== this.#generation) {
      connection.destroy();
      return;
    }
    const { world, address, heartbeatMs } = this.#settings;
    const current = () => this.#session === session;
    const session: Session = new Session(
      connection,
      { world, address, client: this.#client, number: generation, heartbeatMs },
      {
        ready: (welcome) => current() && this.#welcomed(welcome),
        lost: (error) => current() && this.#lost(error),
        heard: (sent) => {
          if (current()) for (const listener of this.#listeners) listener.heard(sent);
        },
        drained: () => current() && this.#flush(),
      },
    );
    this.#session = session;
  }

  #welcomed(welcome: Welcome): void {
    const different = this.#difference(welcome.capabilities);
    if (different !== undefined) {
      this.#lost(different);
      return;
    }
    this.#watchdog?.();
    this.#capabilities = welcome.capabilities;
    this.#state = this.#state === "closing" ? "closing" : "ready";
    this.#readySince = this.#world.clock.monotonic();
    this.#trouble = undefined;
    this.#session!.beatWithin(this.#beatMs);
    this.#opened.resolve(welcome);
    for (const listener of this.#listeners) listener.ready();
    this.#flush();
  }

  /** What was promised to those who looked at the capabilities would not hold any more. */
  #difference(found: Capabilities): TenonError | undefined {
    if (this.#capabilities === undefined || JSON.stringify(found) === JSON.stringify(this.#capabilities)) return;
    const text = "the server serves an engine with other capabilities than before; connect anew";
    return new TenonError("conflict", text);
  }

  #flush(): void {
    for (const pending of this.#waiting) {
      if (this.#state !== "ready" || !this.#give(pending)) return;
      this.#waiting.delete(pending);
    }
    this.#armDeadline();
  }

  /** Everything that was sent is lost; what waits goes on waiting for the next session. */
  #lost(error: unknown): void {
    if (this.#state === "closed") return;
    this.#trouble = error;
    this.#generation++;
    this.#watchdog?.();
    this.#connecting?.abort(new Error("the attempt was given up"));
    const wasReady = this.#state === "ready";
    const session = this.#session;
    this.#session = undefined;
    session?.destroy();
    if (this.#state === "ready") this.#state = "connecting";
    for (const listener of this.#listeners) listener.lost();
    if (error instanceof TenonError && !isPassing(error)) this.#opened.reject(error);
    this.#disarmDeadline();
    if (this.#state === "closing") return;
    this.#world.log.log("warn", "there is no connection to the remote engine", { error: String(error) });
    if (wasReady && this.#world.clock.monotonic() - this.#readySince >= steadyMs) this.#attempts = 0;
    const delayMs = this.#attempts === 0 ? 0 : Math.min(backoffMs.longest, backoffMs.first * 2 ** this.#attempts);
    this.#attempts++;
    this.#retry?.();
    // Calls hold the process by their deadline; members wait for as long as an outage takes.
    this.#retry = this.#world.timers.schedule(delayMs * (0.5 + this.#world.random.float() / 2), () => this.#open(), {
      keepsAlive: this.#listeners.size > 0,
    });
  }

  #armDeadline(): void {
    if (this.#deadline !== undefined) return;
    const [oldest] = this.#timed;
    if (oldest === undefined) return;
    const delayMs = oldest.since + this.#settings.requestTimeoutMs - this.#world.clock.monotonic();
    const expire = () => {
      this.#deadline = undefined;
      this.#expire();
      this.#armDeadline();
    };
    // During an outage nothing else holds the process of those who wait.
    this.#deadline = this.#world.timers.schedule(Math.max(1, delayMs), expire, { keepsAlive: true });
  }

  /** When nobody waits, an outage holds no process. A connection that stands holds it anyway, and the deadline need not be armed for each call. */
  #disarmDeadline(): void {
    if (this.#timed.size > 0 || this.ready) return;
    this.#deadline?.();
    this.#deadline = undefined;
  }

  #expire(): void {
    const { requestTimeoutMs, address } = this.#settings;
    const due = this.#world.clock.monotonic() - requestTimeoutMs;
    for (const pending of this.#timed) {
      if (pending.since > due) break;
      this.#timed.delete(pending);
      this.#waiting.delete(pending);
      const { name, reads } = pending.operation;
      const error = pending.isSent
        ? overdue(name, address, requestTimeoutMs)
        : unreachable(name, address, requestTimeoutMs, this.#trouble);
      pending.settle({ error: reads ? asRead(error) : error });
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const pending of waiting) {
      this.#timed.delete(pending);
      pending.settle({ error: closed(pending.operation.name) });
    }
    const draining = this.#state === "ready" && this.#timed.size > 0;
    this.#state = "closing";
    this.#opened.reject(closed("the connection"));
    if (draining) await this.#drain();
    const flushed = new AbortController();
    void this.#session?.flushed().then(() => flushed.abort());
    if (this.#session !== undefined) await pause(this.#world, drainMs, flushed.signal);
    this.#state = "closed";
    for (const cancel of [this.#watchdog, this.#retry, this.#deadline]) cancel?.();
    this.#connecting?.abort(new Error("the engine was closed"));
    const unanswered = [...this.#timed];
    this.#timed.clear();
    for (const pending of unanswered) pending.settle({ error: closed(pending.operation.name, "unknown") });
    this.#session?.destroy();
    this.#session = undefined;
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#world.timers.schedule(drainMs, resolve, { keepsAlive: true });
      this.#drained = () => {
        cancel();
        resolve();
      };
    });
  }
}

function failureOf(operation: Operation<unknown, unknown>, error: unknown): unknown {
  return operation.reads && error instanceof TenonError ? asRead(error) : error;
}
