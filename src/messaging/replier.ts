import { checkCodec } from "../codec/codec.ts";
import { bytes, type Codec } from "../codec/index.ts";
import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import type { MessageEngine, NewMessage } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import type { ConsumeOptions, Consumer } from "./consumer.ts";
import type { MessageContext } from "./context.ts";
import { DeadLetter } from "./dead-letter.ts";
import { describeError } from "./failures.ts";
import { messageBytes } from "./publication.ts";
import { ReplySenders } from "./reply-senders.ts";
import {
  correlationHeader,
  encodeReplyError,
  replyByHeader,
  replyErrorHeader,
  replyingGroupDefault,
  replyToHeader,
  replyTopicMadeAt,
} from "./request-protocol.ts";
import { type MessagingEngine, type Topic, topic } from "./topic.ts";

export interface ReplierOptions<Request, Reply> extends ConsumeOptions {
  readonly request: Codec<Request>;
  readonly reply: Codec<Reply>;
  /** The group that answers; `"repliers"` when left out. */
  readonly group?: string | undefined;
  /** Of the topic of the requests; 8 when left out. */
  readonly partitions?: number | undefined;
}

/** What it answers or throws is the reply. */
export type RequestHandler<Request, Reply> = (value: Request, context: MessageContext) => Reply | Promise<Reply>;

export interface ReplierCounts {
  /** Error replies count too. */
  readonly replied: number;
  /** Requests that were not handled because nobody waited for the reply any more. */
  readonly expired: number;
  /** Replies whose requester was gone. */
  readonly unheard: number;
}

export interface Replier extends AsyncDisposable {
  readonly name: string;
  readonly counts: ReplierCounts;
  /** Takes no more requests, lets running handlers end, and sends their replies. Idempotent. */
  close(): Promise<void>;
  /** Resolves when it was closed; rejects when it ended because the engine closed. */
  readonly closed: Promise<void>;
}

/**
 * Becomes a member of the group that answers the requests of `requester` under this name. A handler may see a request again, as every message; a request whose time is over is not handled.
 * A throw is answered at once, not retried.
 */
export async function replier<Request, Reply>(
  engine: MessagingEngine,
  name: string,
  handler: RequestHandler<Request, Reply>,
  options: ReplierOptions<Request, Reply>,
): Promise<Replier> {
  checkEngine("replier()", engine, "messages");
  if (typeof handler !== "function") throw new TenonError("invalid", "The handler must be a function.");
  const { request, reply, group = replyingGroupDefault, partitions, ...consuming } = options;
  checkCodec(`The replier of "${name}"`, request);
  checkCodec(`The replier of "${name}"`, reply);
  const requests = topic(engine, name, { codec: bytes(), partitions, groups: [group] });
  const answering = new Answering(engine, name, handler, request, reply);
  try {
    const consumer = await requests.consume(group, (body, context) => answering.handle(body, context), consuming);
    return new TopicReplier(requests, consumer, answering);
  } catch (error) {
    await requests.close();
    throw error;
  }
}

class TopicReplier implements Replier {
  readonly name: string;
  readonly closed: Promise<void>;
  readonly #requests: Topic<Uint8Array>;
  readonly #answering: Pick<Answering<unknown, unknown>, "counts" | "close">;
  #closing: Promise<void> | undefined;

  constructor(
    requests: Topic<Uint8Array>,
    consumer: Consumer,
    answering: Pick<Answering<unknown, unknown>, "counts" | "close">,
  ) {
    this.name = requests.name;
    this.closed = consumer.closed;
    this.#requests = requests;
    this.#answering = answering;
  }

  get counts(): ReplierCounts {
    return this.#answering.counts;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    await this.#requests.close();
    await this.#answering.close();
  }
}

class Answering<Request, Reply> {
  readonly #engine: MessageEngine;
  readonly #world: World;
  readonly #name: string;
  readonly #handler: RequestHandler<Request, Reply>;
  readonly #request: Codec<Request>;
  readonly #reply: Codec<Reply>;
  readonly #senders: ReplySenders;
  #replied = 0;
  #expired = 0;
  #unheard = 0;

  constructor(
    engine: MessagingEngine,
    name: string,
    handler: RequestHandler<Request, Reply>,
    request: Codec<Request>,
    reply: Codec<Reply>,
  ) {
    this.#engine = engine.messages;
    this.#world = engine.world;
    this.#name = name;
    this.#handler = handler;
    this.#request = request;
    this.#reply = reply;
    this.#senders = new ReplySenders(engine.messages, engine.world);
  }

  get counts(): ReplierCounts {
    return { replied: this.#replied, expired: this.#expired, unheard: this.#unheard };
  }

  async handle(body: Uint8Array, context: MessageContext): Promise<void> {
    const { [replyToHeader]: replyTo, [correlationHeader]: id, [replyByHeader]: replyBy } = context.headers;
    const deadline = replyBy === undefined ? Number.POSITIVE_INFINITY : Number(replyBy);
    if (deadline <= this.#world.clock.now()) {
      this.#expired += 1;
      return;
    }
    if (replyTo === undefined) {
      await this.#handler(this.#decodeOrBury(body), context);
      return;
    }
    if (replyTopicMadeAt(this.#name, replyTo) === undefined)
      throw new DeadLetter("its reply address is no requester's");
    const reply = await this.#replyTo(body, context, id ?? "");
    if (await this.#senders.send(replyTo, reply, deadline)) this.#replied += 1;
    else this.#unheard += 1;
  }

  close(): Promise<void> {
    return this.#senders.close();
  }

  async #replyTo(body: Uint8Array, context: MessageContext, id: string): Promise<NewMessage> {
    const shape = { key: undefined, id: undefined, dueAt: undefined };
    try {
      const answer = this.#encode(await this.#handler(this.#decode(body), context));
      const reply = { body: answer, headers: { [correlationHeader]: id }, ...shape };
      this.#checkSize(messageBytes(reply));
      return reply;
    } catch (error) {
      const { topic: name, partition, position } = context;
      const fields = { topic: name, partition, position, error: describeError(error) };
      this.#world.log.log("warn", "a request failed; its requester is told", fields);
      const headers = { [correlationHeader]: id, [replyErrorHeader]: encodeReplyError(error) };
      return { body: empty, headers, ...shape };
    }
  }

  #decodeOrBury(body: Uint8Array): Request {
    try {
      return this.#decode(body);
    } catch (error) {
      throw new DeadLetter((error as TenonError).message);
    }
  }

  #decode(body: Uint8Array): Request {
    try {
      return this.#request.decode(body);
    } catch (cause) {
      const said = `The request cannot be decoded as ${this.#request.contentType}. Give requester and replier the same codec.`;
      throw new TenonError("invalid", said, { fields: { topic: this.#name }, cause });
    }
  }

  #checkSize(sizeBytes: number): void {
    const { messageBytesMax } = this.#engine.capabilities;
    if (sizeBytes <= messageBytesMax) return;
    throw new TenonError("invalid", `The reply has ${sizeBytes} bytes; at most ${messageBytesMax} are allowed.`, {
      outcome: "applied",
      fields: { topic: this.#name, sizeBytes, messageBytesMax },
    });
  }

  #encode(answer: Reply): Uint8Array {
    try {
      return this.#reply.encode(answer);
    } catch (cause) {
      const said = `The reply cannot be encoded as ${this.#reply.contentType}.`;
      throw new TenonError("invalid", said, { outcome: "applied", fields: { topic: this.#name }, cause });
    }
  }
}

const empty = new Uint8Array(0);
