import type { Purchase } from "./demand.ts";
import { HttpConnection, type HttpConnectionEvents, type HttpTarget } from "./http-client.ts";
import { type Answer, statusOfAnswer } from "./model.ts";

export interface LoadOptions {
  /** Where the gateways listen, such as `http://127.0.0.1:8080/purchase`; connections are spread over them. */
  readonly urls: readonly string[];
  readonly purchases: readonly Purchase[];
  /** Requests under way at the same time. */
  readonly connections?: number | undefined;
  /** Send in the order of the purchases without regard to their arrival times. */
  readonly immediately?: boolean | undefined;
  /** How long a buyer goes on asking with the same request id before giving up. */
  readonly patienceMs?: number | undefined;
  /** How long one attempt may take before the buyer breaks the connection. */
  readonly attemptTimeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** `unanswered`: gave up without knowing. `rejected`: an HTTP status that no gateway of the sale sends. */
export type Ending = Exclude<Answer, "timed-out" | "unavailable"> | "unanswered" | "rejected";

export interface LoadResult {
  /** The ending of each purchase, in the order of the purchases. */
  readonly endings: readonly Ending[];
  readonly counts: Readonly<Record<Ending, number>>;
  /** From sending a request for the first time to its final answer, sorted ascending; without the unanswered. */
  readonly latenciesMs: Float64Array;
  readonly durationMs: number;
  /** How often a request was sent again with the same id. */
  readonly retries: number;
}

const reconnectMs = 50;
const answers = new Map<number, Answer>(
  Object.entries(statusOfAnswer).map(([answer, status]) => [status, answer as Answer]),
);

/** Drives a server with purchases and reports how each of them ended. Rejects with the signal's reason on abort. */
export class Load implements HttpConnectionEvents {
  readonly #purchases: readonly Purchase[];
  readonly #options: LoadOptions;
  readonly #connections: HttpConnection[] = [];
  readonly #idle: HttpConnection[] = [];
  readonly #underWay = new Map<HttpConnection, Attempt>();
  readonly #waitingAgain: Attempt[] = [];
  readonly #paths = new Map<HttpTarget, string>();
  readonly #endings: Ending[];
  readonly #counts: Record<Ending, number>;
  readonly #latenciesMs: Float64Array;
  #latencyCount = 0;
  #next = 0;
  #finished = 0;
  #retries = 0;
  #startedAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #sweep: NodeJS.Timeout | undefined;
  #settle: { resolve: (result: LoadResult) => void; reject: (reason: unknown) => void } | undefined;
  #done = false;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.#purchases = options.purchases;
    this.#endings = new Array<Ending>(options.purchases.length).fill("unanswered");
    this.#latenciesMs = new Float64Array(options.purchases.length);
    this.#counts = {
      accepted: 0,
      "sold-out": 0,
      "already-bought": 0,
      denied: 0,
      expired: 0,
      limited: 0,
      unanswered: 0,
      rejected: 0,
    };
  }

  /** Live figures, for a progress display. */
  get finished(): number {
    return this.#finished;
  }
  get counts(): Readonly<Record<Ending, number>> {
    return this.#counts;
  }
  get elapsedMs(): number {
    return performance.now() - this.#startedAt;
  }

  run(): Promise<LoadResult> {
    const { promise, resolve, reject } = Promise.withResolvers<LoadResult>();
    this.#settle = { resolve, reject };
    this.#startedAt = performance.now();
    this.#options.signal?.addEventListener("abort", () => this.#end(), { once: true });
    if (this.#purchases.length === 0 || this.#options.signal?.aborted) {
      this.#end();
      return promise;
    }
    const targets = this.#options.urls.map((url) => this.#target(url));
    const count = Math.min(this.#options.connections ?? 512, this.#purchases.length);
    for (let index = 0; index < count; index += 1) {
      const connection = new HttpConnection(targets[index % targets.length]!, this);
      this.#connections.push(connection);
      connection.connect();
    }
    this.#sweep = setInterval(() => this.#breakSlowAttempts(), 500);
    return promise;
  }

  connected(connection: HttpConnection): void {
    this.#idle.push(connection);
    this.#pump();
  }

  response(connection: HttpConnection, status: number): void {
    const attempt = this.#underWay.get(connection)!;
    this.#underWay.delete(connection);
    if (connection.idle) this.#idle.push(connection);
    const answer = answers.get(status);
    if (answer === undefined) this.#finish(attempt, "rejected");
    else if (answer === "unavailable" || answer === "timed-out") this.#again(attempt);
    // After a first attempt whose answer was lost, a refusal by the limiter does not say how the request ended.
    else if (answer === "limited" && attempt.count > 1) this.#again(attempt);
    else this.#finish(attempt, answer);
    this.#pump();
  }

  broken(connection: HttpConnection): void {
    const attempt = this.#underWay.get(connection)!;
    this.#underWay.delete(connection);
    this.#again(attempt);
    this.#reconnectLater(connection);
  }

  closed(connection: HttpConnection): void {
    const index = this.#idle.indexOf(connection);
    if (index !== -1) this.#idle.splice(index, 1);
    this.#reconnectLater(connection);
  }

  #target(url: string): HttpTarget {
    const { hostname, port, pathname } = new URL(url);
    const target = { host: hostname, port: Number(port) };
    this.#paths.set(target, `POST ${pathname} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nContent-Length: `);
    return target;
  }

  #pump(): void {
    if (this.#done) return;
    const now = performance.now();
    while (this.#idle.length > 0) {
      const attempt = this.#nextAttempt(now);
      if (attempt === undefined) return;
      const connection = this.#idle.pop()!;
      attempt.count += 1;
      attempt.sentAt = now;
      this.#underWay.set(connection, attempt);
      const { requestId, buyer, item, quantity } = this.#purchases[attempt.index]!;
      const body = `{"requestId":"${requestId}","buyer":"${buyer}","item":"${item}","quantity":${quantity}}`;
      connection.send(`${this.#paths.get(connection.target)}${body.length}\r\n\r\n${body}`);
    }
  }

  #nextAttempt(now: number): Attempt | undefined {
    const again = this.#waitingAgain[0];
    if (again !== undefined && again.notBefore <= now) return this.#waitingAgain.shift();
    const purchase = this.#purchases[this.#next];
    const dueAt = purchase === undefined || this.#options.immediately ? 0 : this.#startedAt + purchase.atMs;
    if (purchase !== undefined && dueAt <= now) {
      const attempt = { index: this.#next, count: 0, firstSentAt: now, sentAt: now, notBefore: 0 };
      this.#next += 1;
      return attempt;
    }
    const waitUntil = Math.min(again?.notBefore ?? Infinity, purchase === undefined ? Infinity : dueAt);
    if (waitUntil !== Infinity) this.#pumpAt(waitUntil - now);
    return undefined;
  }

  #pumpAt(delayMs: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.#pump();
      },
      Math.max(1, delayMs),
    );
  }

  #again(attempt: Attempt): void {
    const now = performance.now();
    if (now - attempt.firstSentAt > (this.#options.patienceMs ?? 60_000)) {
      this.#finish(attempt, "unanswered");
      return;
    }
    this.#retries += 1;
    attempt.notBefore = now + reconnectMs;
    this.#waitingAgain.push(attempt);
    this.#pumpAt(reconnectMs);
  }

  #finish(attempt: Attempt, ending: Ending): void {
    this.#endings[attempt.index] = ending;
    this.#counts[ending] += 1;
    if (ending !== "unanswered") {
      this.#latenciesMs[this.#latencyCount] = performance.now() - attempt.firstSentAt;
      this.#latencyCount += 1;
    }
    this.#finished += 1;
    if (this.#finished === this.#purchases.length) this.#end();
  }

  #reconnectLater(connection: HttpConnection): void {
    if (this.#done) return;
    setTimeout(() => {
      if (!this.#done) connection.connect();
    }, reconnectMs);
  }

  #breakSlowAttempts(): void {
    const before = performance.now() - (this.#options.attemptTimeoutMs ?? 20_000);
    for (const [connection, attempt] of this.#underWay) if (attempt.sentAt < before) connection.destroy();
    // Nothing can be asked again while no connection comes up; patience ends here too.
    while (this.#waitingAgain.length > 0) {
      const attempt = this.#waitingAgain[0]!;
      if (performance.now() - attempt.firstSentAt <= (this.#options.patienceMs ?? 60_000)) return;
      this.#waitingAgain.shift();
      this.#finish(attempt, "unanswered");
    }
  }

  #end(): void {
    if (this.#done) return;
    this.#done = true;
    const durationMs = performance.now() - this.#startedAt;
    clearTimeout(this.#timer);
    clearInterval(this.#sweep);
    for (const connection of this.#connections) connection.destroy();
    if (this.#options.signal?.aborted) {
      this.#settle!.reject(this.#options.signal.reason);
      return;
    }
    this.#settle!.resolve({
      endings: this.#endings,
      counts: this.#counts,
      latenciesMs: this.#latenciesMs.subarray(0, this.#latencyCount).sort(),
      durationMs,
      retries: this.#retries,
    });
  }
}

/** One purchase that is being tried. */
interface Attempt {
  readonly index: number;
  count: number;
  readonly firstSentAt: number;
  sentAt: number;
  notBefore: number;
}

export function percentile(sorted: Float64Array, fraction: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * fraction) - 1)] ?? 0;
}
