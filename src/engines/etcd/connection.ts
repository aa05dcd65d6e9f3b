import { isCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import type { World } from "../../world/world.ts";
import { plain } from "../shared/losses.ts";
import { isPassing } from "../shared/passing.ts";
import type { EtcdFetch, EtcdFetchResponse } from "./clients.ts";
import {
  closed,
  isNeverSent,
  isUnauthenticated,
  lost,
  overdue,
  type Refusal,
  refusalOf,
  refused,
  unreachable,
} from "./failures.ts";
import { lines } from "./lines.ts";
import type { TransactionReply, TransactionRequest, WatchReply } from "./wire.ts";

export interface ConnectionSettings {
  readonly world: World;
  readonly fetch: EtcdFetch;
  readonly endpoints: readonly string[];
  readonly credentials: Credentials | undefined;
  /** How long an operation waits for a server that can be reached, and then for its answer. */
  readonly commandTimeoutMs: number;
  readonly connectTimeoutMs: number;
}

export interface Credentials {
  readonly name: string;
  readonly password: string;
}

const backoffMs = { first: 25, longest: 500 };
/** How long closing waits for what is under way. */
const drainMs = 1_000;

/** The request did not leave this process. */
class NeverSent extends Error {}
/** The token has ended: the request was refused before anything else was looked at. */
class Unauthenticated extends Error {
  readonly refusal: Refusal;
  constructor(refusal: Refusal) {
    super(refusal.text);
    this.refusal = refusal;
  }
}

/**
 * Requests to one of the endpoints, the same until it fails. What was never sent is sent again, to the next endpoint, for as long as a command may take; so are reads that
 * failed. A change whose answer was lost is not repeated.
 */
export class EtcdConnection {
  readonly #settings: ConnectionSettings;
  readonly #world: World;
  readonly #underWay = new Set<AbortController>();
  #endpoint = 0;
  #token: Promise<string> | undefined;
  #closing: Promise<void> | undefined;
  #isClosed = false;
  #drained: (() => void) | undefined;

  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#world = settings.world;
  }

  read<T>(what: string, path: string, body: object): Promise<T> {
    return this.#call(what, path, body, "not-applied");
  }

  write<T>(what: string, path: string, body: object): Promise<T> {
    return this.#call(what, path, body, "unknown");
  }

  transact(what: string, body: TransactionRequest): Promise<TransactionReply> {
    return this.#call(what, "kv/txn", body, "unknown");
  }

  /** A transaction that only reads. */
  look(what: string, body: TransactionRequest): Promise<TransactionReply> {
    return this.#call(what, "kv/txn", body, "not-applied");
  }

  async #call<T>(what: string, path: string, body: object, outcome: Outcome): Promise<T> {
    const { commandTimeoutMs } = this.#settings;
    const { clock, timers, random } = this.#world;
    const until = clock.monotonic() + commandTimeoutMs;
    for (let failures = 0; ; failures++) {
      if (this.#closing !== undefined) throw closed(what);
      const endpoint = this.#endpoint;
      let trouble: unknown;
      try {
        return await this.#authenticated<T>(what, path, body, outcome);
      } catch (error) {
        if (this.#isClosed) throw error;
        if (!(error instanceof NeverSent) && !(outcome === "not-applied" && isPassing(error))) throw error;
        trouble = error;
      }
      this.#turnFrom(endpoint);
      const delayMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** failures) * (0.5 + random.float() / 2);
      if (clock.monotonic() + delayMs >= until) {
        throw trouble instanceof TenonError ? trouble : unreachable(what, commandTimeoutMs, (trouble as Error).cause);
      }
      await timers.sleep(delayMs);
    }
  }

  /** Whoever meets trouble at an endpoint goes on to the next one, once for all who met it. */
  #turnFrom(endpoint: number): void {
    if (this.#endpoint === endpoint) this.#endpoint = (endpoint + 1) % this.#settings.endpoints.length;
  }

  async #authenticated<T>(what: string, path: string, body: object, outcome: Outcome): Promise<T> {
    const token = await this.#authenticate();
    try {
      return await this.#once<T>(what, path, body, outcome, token);
    } catch (error) {
      if (!(error instanceof Unauthenticated)) throw error;
      if (this.#settings.credentials === undefined) throw refused(error.refusal, what, outcome);
    }
    this.#token = undefined;
    try {
      return await this.#once<T>(what, path, body, outcome, await this.#authenticate());
    } catch (error) {
      throw error instanceof Unauthenticated ? refused(error.refusal, what, outcome) : error;
    }
  }

  async #authenticate(): Promise<string | undefined> {
    const { credentials } = this.#settings;
    if (credentials === undefined) return undefined;
    const asking = this.#token ?? this.#askToken(credentials);
    this.#token = asking;
    try {
      return await asking;
    } catch (error) {
      if (this.#token === asking) this.#token = undefined;
      throw error;
    }
  }

  async #askToken(credentials: Credentials): Promise<string> {
    const path = "auth/authenticate";
    try {
      const reply = await this.#once<{ token: string }>("authenticating", path, credentials, "not-applied", undefined);
      return reply.token;
    } catch (error) {
      if (!isCode(error, "invalid", "conflict")) throw error;
      const text = "etcd refused the credentials, or its authentication is off. Mend them, or leave them out.";
      throw new TenonError("denied", text, { cause: error });
    }
  }

  async #once<T>(what: string, path: string, body: object, outcome: Outcome, token: string | undefined): Promise<T> {
    const { commandTimeoutMs } = this.#settings;
    const controller = new AbortController();
    let isLate = false;
    const cancel = this.#world.timers.schedule(commandTimeoutMs, () => {
      isLate = true;
      controller.abort();
    });
    this.#underWay.add(controller);
    const endpoint = this.#endpoint;
    try {
      const response = await this.#post(path, body, token, controller.signal);
      const text = await response.text();
      if (response.status === 200) return JSON.parse(text) as T;
      const refusal = refusalOf(response.status, text);
      if (isUnauthenticated(refusal)) throw new Unauthenticated(refusal);
      throw refused(refusal, what, outcome);
    } catch (error) {
      if (error instanceof TenonError || error instanceof Unauthenticated) throw error;
      if (this.#isClosed) throw closed(what, outcome);
      if (isNeverSent(error)) throw new NeverSent("", { cause: error });
      this.#turnFrom(endpoint);
      throw isLate ? overdue(what, commandTimeoutMs, outcome) : lost(what, error, outcome);
    } finally {
      cancel();
      this.#underWay.delete(controller);
      if (this.#underWay.size === 0) this.#drained?.();
    }
  }

  #post(path: string, body: object, token: string | undefined, signal: AbortSignal): Promise<EtcdFetchResponse> {
    const { fetch: send, endpoints } = this.#settings;
    const headers: Record<string, string> = { "content-type": "application/json" };
    if (token !== undefined) headers.authorization = token;
    const url = `${endpoints[this.#endpoint]}/v3/${path}`;
    return send(url, { method: "POST", headers, body: JSON.stringify(body), signal, redirect: "error" });
  }

  /** What a watch hears, until the signal aborts or the connection breaks; a `TenonError` says why it ended. */
  async *hear(body: object, signal: AbortSignal): AsyncGenerator<WatchReply> {
    const endpoint = this.#endpoint;
    try {
      const response = await this.#post("watch", { create_request: body }, await this.#authenticate(), signal);
      if (response.status !== 200 || response.body === null) {
        const refusal = refusalOf(response.status, await response.text());
        if (isUnauthenticated(refusal)) this.#token = undefined;
        throw refused(refusal, "a watch", "not-applied");
      }
      for await (const line of lines(response.body)) {
        const { result, error } = JSON.parse(line) as {
          result?: WatchReply;
          error?: { grpc_code?: number; message?: string };
        };
        if (result !== undefined) yield result;
        else
          throw refused({ status: 200, code: error?.grpc_code, text: error?.message ?? "" }, "a watch", "not-applied");
      }
      throw lost("a watch", undefined, "not-applied");
    } catch (error) {
      if (signal.aborted) return;
      this.#turnFrom(endpoint);
      this.#world.log.log("info", "a watch of etcd was cut and begins anew", { error: plain(error)?.message ?? "" });
      throw error instanceof TenonError ? error : lost("a watch", error, "not-applied");
    }
  }

  /** What is done before there is an engine, within the time for that; whatever it is, it is no change. */
  async open<T>(work: () => Promise<T>): Promise<T> {
    const { connectTimeoutMs } = this.#settings;
    const { promise: late, reject } = Promise.withResolvers<never>();
    const cancel = this.#world.timers.schedule(connectTimeoutMs, () =>
      reject(unreachable("the first request", connectTimeoutMs, undefined)),
    );
    try {
      return await Promise.race([work(), late]);
    } catch (error) {
      await this.close();
      throw error;
    } finally {
      cancel();
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#underWay.size > 0) {
      await new Promise<void>((resolve) => {
        const cancel = this.#world.timers.schedule(drainMs, resolve);
        this.#drained = () => {
          cancel();
          resolve();
        };
      });
    }
    this.#isClosed = true;
    for (const controller of this.#underWay) controller.abort();
  }
}
