import { checkCodec } from "../codec/codec.ts";
import { bytes, type Codec } from "../codec/index.ts";
import { checkEngine } from "../contracts/engine-arguments.ts";
import { isCode, TenonError } from "../contracts/errors.ts";
import type { KeyValueEngine } from "../contracts/key-value.ts";
import type { World } from "../world/world.ts";
import { type Binding, ExchangeBindings } from "./exchange-bindings.ts";
import {
  type BindingArguments,
  type ExchangeType,
  type Matching,
  matchingOf,
  type RoutedMessage,
} from "./exchange-matching.ts";
import { checkName } from "./names.ts";
import { durationOption } from "./options.ts";
import type { Receipt } from "./partition-queue.ts";
import type { PublishOptions } from "./publication.ts";
import { type MessagingEngine, type Topic, topic } from "./topic.ts";

/** What an exchange needs below it. */
export interface ExchangeEngine extends MessagingEngine {
  readonly keyValue: KeyValueEngine;
}

export interface ExchangeOptions<T> {
  /** Fixed by the first use, on all processes. */
  readonly type: ExchangeType;
  readonly codec: Codec<T>;
  /** The topic that gets what no binding takes. Such a message is refused when it is left out. */
  readonly alternate?: string | undefined;
  /** 10,000 when left out; also how long publishing waits for the bindings. */
  readonly publishTimeoutMs?: number | undefined;
}

export interface RouteOptions extends Omit<PublishOptions, "partition"> {
  /** "" when left out. The topics' consumers find it in the header `routing-key`. */
  readonly routingKey?: string | undefined;
}

/** Where a message was stored. */
export interface Routed {
  /** One per topic, sorted by name. */
  readonly targets: readonly (Receipt & { readonly topic: string })[];
  /** Whether no binding took it, and the alternate has it. */
  readonly alternate: boolean;
}

/** Sends each message to the topics whose bindings take it. Bindings are kept in the engine's key-values, and every process sees them. */
export interface Exchange<T> extends AsyncDisposable {
  readonly name: string;
  /**
   * Binds a topic; `not-found` when there is none. The same binding twice is one. Durable when it resolves, and this process routes by it; others
   * do as soon as their watch tells them.
   */
  bind(topic: string, binding?: BindingArguments): Promise<void>;
  /** Takes back a binding with these arguments. No error when there is none. */
  unbind(topic: string, binding?: BindingArguments): Promise<void>;
  /** Sorted by topic. */
  bindings(): Promise<readonly Binding[]>;
  /**
   * Stores one copy in each topic that has a binding that takes it. `not-found` when there is none, and no alternate: nothing was stored. Topics are
   * stored to one by one: when some of them fail, it rejects with the first failure once the fate of all is known, and the fields `stored`, `unknown` and `failed` name the topics.
   * With an `id` it may be published again: who has it already stores it no second time, where the engine deduplicates by id.
   */
  publish(value: T, options?: RouteOptions): Promise<Routed>;
  /** Sends what was accepted, and refuses everything after. Idempotent. */
  close(): Promise<void>;
}

export function exchange<T>(engine: ExchangeEngine, name: string, options: ExchangeOptions<T>): Exchange<T> {
  checkEngine("exchange()", engine, "messages", "keyValue");
  checkName("exchange", name);
  if (options.alternate !== undefined) checkName("topic", options.alternate);
  if (!engine.keyValue.capabilities.watch) {
    throw new TenonError(
      "unsupported",
      `Exchange "${name}" needs an engine whose key-values can be watched: every process has to see its bindings.`,
      { fields: { exchange: name } },
    );
  }
  return new TopicExchange(engine, name, options);
}

export const routingKeyHeader = "routing-key";
const routesMax = 10_000;

class TopicExchange<T> implements Exchange<T> {
  readonly name: string;
  readonly #engine: ExchangeEngine;
  readonly #world: World;
  readonly #codec: Codec<T>;
  readonly #alternate: string | undefined;
  readonly #publishTimeoutMs: number;
  readonly #matching: Matching;
  readonly #bindings: ExchangeBindings;
  readonly #topics = new Map<string, Promise<Topic<Uint8Array>>>();
  /** Topics by routing key, where nothing else decides. */
  readonly #routes = new Map<string, readonly string[]>();
  #closing: Promise<void> | undefined;

  constructor(engine: ExchangeEngine, name: string, options: ExchangeOptions<T>) {
    this.name = name;
    this.#engine = engine;
    this.#world = engine.world;
    this.#codec = checkCodec(`Exchange "${name}"`, options.codec);
    this.#alternate = options.alternate;
    this.#publishTimeoutMs = durationOption("publishTimeoutMs", options.publishTimeoutMs, 10_000);
    this.#matching = matchingOf(name, options.type);
    this.#bindings = new ExchangeBindings(engine.keyValue, engine.world, name, this.#matching.type, () =>
      this.#routes.clear(),
    );
  }

  async bind(target: string, binding: BindingArguments = {}): Promise<void> {
    checkName("topic", target);
    const canonical = this.#matching.canonical(binding);
    await this.#bindings.ready(this.#publishTimeoutMs, undefined);
    await this.#engine.messages.describe(target);
    await this.#bindings.add({ topic: target, ...canonical });
  }

  async unbind(target: string, binding: BindingArguments = {}): Promise<void> {
    checkName("topic", target);
    const canonical = this.#matching.canonical(binding);
    await this.#bindings.ready(this.#publishTimeoutMs, undefined);
    await this.#bindings.remove({ topic: target, ...canonical });
  }

  async bindings(): Promise<readonly Binding[]> {
    await this.#bindings.ready(this.#publishTimeoutMs, undefined);
    return this.#bindings.list().toSorted((a, b) => (a.topic < b.topic ? -1 : a.topic > b.topic ? 1 : 0));
  }

  async publish(value: T, options: RouteOptions = {}): Promise<Routed> {
    const { routingKey = "", ...publishing } = options;
    const message = this.#routed(routingKey, publishing);
    const body = this.#encode(value);
    const started = this.#world.clock.monotonic();
    const timeoutMs = durationOption("timeoutMs", options.timeoutMs, this.#publishTimeoutMs);
    if (this.#closing !== undefined || !this.#bindings.isReady) await this.#bindings.ready(timeoutMs, options.signal);
    const targets = this.#targets(message);
    const leftMs = Math.max(1, timeoutMs - (this.#world.clock.monotonic() - started));
    const sending = { ...publishing, headers: this.#headers(routingKey, publishing), timeoutMs: leftMs };
    if (targets.length > 0) return { targets: await this.#publishTo(targets, body, sending), alternate: false };
    if (this.#alternate === undefined) throw this.#unroutable(routingKey);
    return { targets: await this.#publishTo([this.#alternate], body, sending), alternate: true };
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    this.#bindings.close();
    const topics = await Promise.allSettled(this.#topics.values());
    await Promise.all(topics.map((each) => (each.status === "fulfilled" ? each.value.close() : undefined)));
  }

  #routed(routingKey: string, { headers = {} }: RouteOptions): RoutedMessage {
    if (typeof routingKey !== "string" || !routingKey.isWellFormed()) {
      throw this.#invalid("The routing key must be a string of well-formed Unicode");
    }
    if (typeof headers !== "object" || headers === null)
      throw this.#invalid("The headers must be an object of strings");
    if (routingKeyHeader in headers) {
      throw this.#invalid(`The header "${routingKeyHeader}" is written by the exchange; give routingKey`);
    }
    return { routingKey, headers };
  }

  #headers(routingKey: string, { headers }: RouteOptions) {
    return routingKey === "" ? headers : { ...headers, [routingKeyHeader]: routingKey };
  }

  /** Each topic once, however many of its bindings take the message. */
  #targets(message: RoutedMessage): readonly string[] {
    const known = this.#routes.get(message.routingKey);
    if (known !== undefined) return known;
    const found = new Set<string>();
    for (const { topic: target, ...bound } of this.#bindings.list()) {
      if (!found.has(target) && this.#matching.matches(bound, message)) found.add(target);
    }
    const targets = [...found].toSorted();
    if (this.#matching.byKeyAlone) {
      if (this.#routes.size >= routesMax) this.#routes.clear();
      this.#routes.set(message.routingKey, targets);
    }
    return targets;
  }

  async #publishTo(
    targets: readonly string[],
    body: Uint8Array,
    options: PublishOptions,
  ): Promise<readonly (Receipt & { readonly topic: string })[]> {
    const results = await Promise.allSettled(targets.map((target) => this.#publishOne(target, body, options)));
    const stored: (Receipt & { readonly topic: string })[] = [];
    const failures: { readonly target: string; readonly reason: unknown }[] = [];
    for (const [index, result] of results.entries()) {
      const target = targets[index]!;
      if (result.status === "fulfilled") stored.push({ topic: target, ...result.value });
      else failures.push({ target, reason: result.reason });
    }
    if (failures.length === 0) return stored;
    throw this.#partlyStored(
      stored.map((each) => each.topic),
      failures,
    );
  }

  async #publishOne(target: string, body: Uint8Array, options: PublishOptions): Promise<Receipt> {
    const opened = this.#topic(target);
    try {
      return await (await opened).publish(body, options);
    } catch (error) {
      // The topic may be made anew, or may have been, with other partitions.
      const remade = isCode(error, "not-found", "conflict", "invalid");
      if (remade && this.#topics.get(target) === opened) {
        this.#topics.delete(target);
        opened.then((each) => each.close()).catch(() => {});
      }
      throw error;
    }
  }

  /** As many partitions as it has; it is never made here. */
  #topic(target: string): Promise<Topic<Uint8Array>> {
    const known = this.#topics.get(target);
    if (known !== undefined) return known;
    const opened = this.#engine.messages
      .describe(target)
      .then(({ partitions }) =>
        topic(this.#engine, target, { codec: bytes(), partitions: partitions.length, create: "never" }),
      );
    this.#topics.set(target, opened);
    opened.catch(() => {
      if (this.#topics.get(target) === opened) this.#topics.delete(target);
    });
    return opened;
  }

  #encode(value: T): Uint8Array {
    try {
      return this.#codec.encode(value);
    } catch (cause) {
      throw new TenonError(
        "invalid",
        `A value for exchange "${this.name}" cannot be encoded as ${this.#codec.contentType}; see the cause.`,
        { fields: { exchange: this.name }, cause },
      );
    }
  }

  #invalid(what: string): TenonError {
    return new TenonError("invalid", `${what} (exchange "${this.name}").`, { fields: { exchange: this.name } });
  }

  #unroutable(routingKey: string): TenonError {
    return new TenonError(
      "not-found",
      `No binding of exchange "${this.name}" takes a message with the routing key "${routingKey}". It was not stored. Bind a topic, or give the exchange an alternate.`,
      { fields: { exchange: this.name, routingKey } },
    );
  }

  #partlyStored(
    stored: readonly string[],
    failures: readonly { readonly target: string; readonly reason: unknown }[],
  ): unknown {
    const { reason } = failures[0]!;
    if (!(reason instanceof TenonError)) return reason;
    const isUnknown = (each: unknown): boolean => each instanceof TenonError && each.outcome === "unknown";
    const unknown = failures.filter((each) => isUnknown(each.reason)).map((each) => each.target);
    const failed = failures.filter((each) => !isUnknown(each.reason)).map((each) => each.target);
    const count = stored.length + failures.length;
    return new TenonError(
      reason.code,
      `${stored.length} of ${count} topics have the message of exchange "${this.name}". The first failure: ${reason.message}`,
      {
        outcome: stored.length + unknown.length > 0 ? "unknown" : reason.outcome,
        fields: { exchange: this.name, stored: stored.join(), unknown: unknown.join(), failed: failed.join() },
        cause: reason,
      },
    );
  }
}
