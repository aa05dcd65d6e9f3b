import { checkCodec } from "../codec/codec.ts";
import type { Codec } from "../codec/index.ts";
import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import type { MessageHeaders, Stored } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { checkName } from "./names.ts";
import { countOption, durationMsMax, durationOption } from "./options.ts";
import { ReplyInbox } from "./reply-inbox.ts";
import {
  checkRequestHeaders,
  correlationHeader,
  decodeReplyError,
  replyByHeader,
  replyErrorHeader,
  replyingGroupDefault,
  replyToHeader,
} from "./request-protocol.ts";
import { type MessagingEngine, type Topic, topic } from "./topic.ts";

export interface RequesterOptions<Request, Reply> {
  readonly request: Codec<Request>;
  readonly reply: Codec<Reply>;
  /** The group that answers; `"repliers"` when left out. It is declared with the topic, so that a request waits for its replier. */
  readonly group?: string | undefined;
  /** Of the topic of the requests; 8 when left out. */
  readonly partitions?: number | undefined;
  /** How long a request waits for its reply; 10,000 when left out. */
  readonly timeoutMs?: number | undefined;
  /** Requests that may wait at a time; more are refused at once. 10,000 when left out. */
  readonly waitingMax?: number | undefined;
}

export interface RequestOptions {
  /** Requests with equal keys are handled in order, one at a time. */
  readonly key?: string | undefined;
  readonly headers?: MessageHeaders | undefined;
  readonly tag?: string | undefined;
  /** Instead of the requester's. */
  readonly timeoutMs?: number | undefined;
  /** Ends the wait; a request that was sent may be handled all the same. */
  readonly signal?: AbortSignal | undefined;
}

export interface RequestCounts {
  /** Requests without a reply yet. */
  readonly waiting: number;
  /** Error replies count too. */
  readonly replied: number;
  /** Replies for which nobody waited any more: they came late, or were a second one. */
  readonly late: number;
}

export interface Requester<Request, Reply> extends AsyncDisposable {
  readonly name: string;
  /**
   * Publishes the request and waits for the reply. Rejects with `timeout` when none came in time (`outcome: "unknown"` when it had been sent), with the
   * replier's error (`fields.replied`), with `overloaded` when too many wait already.
   */
  request(value: Request, options?: RequestOptions): Promise<Reply>;
  readonly counts: RequestCounts;
  /** Rejects the requests that wait with `closed`. Idempotent. */
  close(): Promise<void>;
}

/** Asks over a topic, and gets the replies in a topic of this process' own. Nothing is asked of the engine before the first request. */
export function requester<Request, Reply>(
  engine: MessagingEngine,
  name: string,
  options: RequesterOptions<Request, Reply>,
): Requester<Request, Reply> {
  checkEngine("requester()", engine, "messages");
  return new TopicRequester(engine, name, options);
}

interface Waiting<Reply> {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
  /** Given to the engine: it may be handled. */
  sent: boolean;
}

class TopicRequester<Request, Reply> implements Requester<Request, Reply> {
  readonly name: string;
  readonly #world: World;
  readonly #requests: Topic<Request>;
  readonly #replyCodec: Codec<Reply>;
  readonly #inbox: ReplyInbox;
  readonly #timeoutMs: number;
  readonly #waitingMax: number;
  readonly #waiting = new Map<string, Waiting<Reply>>();
  #number = 0;
  #replied = 0;
  #late = 0;
  #closing: Promise<void> | undefined;

  constructor(engine: MessagingEngine, name: string, options: RequesterOptions<Request, Reply>) {
    const { group = replyingGroupDefault, partitions, request, reply } = options;
    checkName("group", group);
    this.name = name;
    this.#world = engine.world;
    this.#timeoutMs = durationOption("timeoutMs", options.timeoutMs, 10_000);
    this.#waitingMax = countOption("waitingMax", options.waitingMax, 10_000);
    this.#requests = topic(engine, name, {
      codec: checkCodec(`The requester of "${name}"`, request),
      partitions,
      groups: [group],
    });
    this.#replyCodec = checkCodec(`The requester of "${name}"`, reply);
    this.#inbox = new ReplyInbox({
      engine: engine.messages,
      world: engine.world,
      topic: name,
      receive: (stored) => this.#receive(stored),
      ended: () => this.#rejectAll((sent) => this.#engineClosed(sent)),
    });
  }

  get counts(): RequestCounts {
    return { waiting: this.#waiting.size, replied: this.#replied, late: this.#late };
  }

  async request(value: Request, options: RequestOptions = {}): Promise<Reply> {
    const { signal } = options;
    const timeoutMs = durationOption("timeoutMs", options.timeoutMs, this.#timeoutMs);
    checkRequestHeaders(this.name, options.headers);
    if (this.#closing !== undefined) throw this.#closed();
    signal?.throwIfAborted();
    if (this.#waiting.size >= this.#waitingMax) throw this.#full();
    const id = String(++this.#number);
    const { promise, resolve, reject } = Promise.withResolvers<Reply>();
    const waiting: Waiting<Reply> = { resolve, reject, sent: false };
    this.#waiting.set(id, waiting);
    const over = new AbortController();
    const abort = (): void => reject(signal?.reason);
    signal?.addEventListener("abort", abort, { once: true });
    const timeout = this.#world.timers.sleep(timeoutMs, { signal: over.signal });
    timeout.then(
      () => reject(this.#timedOut(waiting, timeoutMs)),
      () => {},
    );
    this.#send(id, waiting, value, options, this.#world.clock.now() + timeoutMs, over.signal).catch(reject);
    try {
      return await promise;
    } finally {
      this.#waiting.delete(id);
      over.abort();
      signal?.removeEventListener("abort", abort);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#rejectAll((sent) => this.#closed(sent));
    await this.#requests.close();
    await this.#inbox.close();
  }

  #rejectAll(reason: (sent: boolean) => TenonError): void {
    for (const { reject, sent } of this.#waiting.values()) reject(reason(sent));
  }

  /** `over` takes the request back when nobody waits any more and it has not left yet. */
  async #send(
    id: string,
    waiting: Waiting<Reply>,
    value: Request,
    { key, tag, headers }: RequestOptions,
    replyBy: number,
    over: AbortSignal,
  ): Promise<void> {
    const replyTo = await this.#inbox.open();
    if (over.aborted) return;
    waiting.sent = true;
    await this.#requests.publish(value, {
      key,
      tag,
      headers: {
        ...headers,
        [replyToHeader]: replyTo,
        [correlationHeader]: id,
        [replyByHeader]: String(Math.ceil(replyBy)),
      },
      // Its own timeout is the longest that it is repeated: the wait for the reply ends before.
      timeoutMs: Math.min(durationMsMax, Math.max(1, replyBy - this.#world.clock.now() + publishMarginMs)),
      signal: over,
    });
  }

  #receive({ headers, body }: Stored): void {
    const waiting = this.#waiting.get(headers?.[correlationHeader] ?? "");
    if (waiting === undefined) {
      this.#late += 1;
      return;
    }
    // At once, so that a second reply is late even if both came together.
    this.#waiting.delete(headers![correlationHeader]!);
    this.#replied += 1;
    const failure = headers![replyErrorHeader];
    if (failure !== undefined) {
      waiting.reject(decodeReplyError(this.name, failure));
      return;
    }
    try {
      waiting.resolve(this.#replyCodec.decode(body));
    } catch (cause) {
      waiting.reject(this.#notDecoded(cause));
    }
  }

  #timedOut({ sent }: Waiting<Reply>, timeoutMs: number): TenonError {
    return new TenonError(
      "timeout",
      `No reply to a request to "${this.name}" came within ${timeoutMs} ms. ${fate(sent)}`,
      {
        outcome: sent ? "unknown" : "not-applied",
        fields: { topic: this.name, timeoutMs },
      },
    );
  }

  #full(): TenonError {
    return new TenonError(
      "overloaded",
      `${this.#waitingMax} requests to "${this.name}" wait for their replies already. Shed the work, add repliers, or raise waitingMax.`,
      { fields: { topic: this.name, waitingMax: this.#waitingMax } },
    );
  }

  #closed(sent = false): TenonError {
    return new TenonError("closed", `The requester of "${this.name}" was closed; make a new one.`, {
      outcome: sent ? "unknown" : "not-applied",
      fields: { topic: this.name },
    });
  }

  #engineClosed(sent: boolean): TenonError {
    return new TenonError(
      "closed",
      `The engine was closed before a reply to a request to "${this.name}" came. ${fate(sent)}`,
      {
        outcome: sent ? "unknown" : "not-applied",
        fields: { topic: this.name },
      },
    );
  }

  #notDecoded(cause: unknown): TenonError {
    return new TenonError(
      "invalid",
      `A reply to a request to "${this.name}" cannot be decoded as ${this.#replyCodec.contentType}. Give requester and replier the same codec.`,
      { outcome: "applied", fields: { topic: this.name }, cause },
    );
  }
}

const publishMarginMs = 1_000;

function fate(sent: boolean): string {
  return sent ? "It may have been handled, or may still be." : "It was not sent.";
}
