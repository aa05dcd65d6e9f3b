import { TenonError } from "../contracts/errors.ts";
import type { KeyValueEngine, KeyValueEntry } from "../contracts/key-value.ts";
import type { World } from "../world/world.ts";
import { engineBackoffMs } from "./engine-backoff.ts";
import type { BindingArguments } from "./exchange-matching.ts";
import { describeError } from "./failures.ts";

export interface Binding extends BindingArguments {
  readonly topic: string;
}

/**
 * The bindings of one exchange: key-values of the engine, one per binding, that every process watches. What a process routes by is what it has read; while
 * it has read nothing, or its watch is broken, it waits.
 */
export class ExchangeBindings {
  readonly #engine: KeyValueEngine;
  readonly #world: World;
  readonly #exchange: string;
  readonly #type: string;
  readonly #changed: () => void;
  readonly #stopped = new AbortController();
  #bindings = new Map<string, Binding>();
  /** What was changed here: the watch tells of older changes of the same key, which are over. */
  readonly #ownVersions = new Map<string, bigint>();
  /** Settled when the bindings are read; another one when the watch broke. */
  #read = unread();
  #isRead = false;
  #started = false;
  #lastError: unknown;

  constructor(engine: KeyValueEngine, world: World, exchange: string, type: string, changed: () => void) {
    this.#engine = engine;
    this.#world = world;
    this.#exchange = exchange;
    this.#type = type;
    this.#changed = changed;
  }

  /** As read; only after `ready`. */
  list(): readonly Binding[] {
    return [...this.#bindings.values()];
  }

  get isReady(): boolean {
    return this.#isRead;
  }

  /** Resolves when the bindings are known; `unavailable` when they are not within `timeoutMs`. */
  async ready(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#stopped.signal.aborted) throw this.#closed();
    if (!this.#started) {
      this.#started = true;
      void this.#watch();
    }
    if (this.#isRead) return;
    const over = new AbortController();
    const ends = AbortSignal.any([over.signal, this.#stopped.signal, ...(signal === undefined ? [] : [signal])]);
    const sleep = this.#world.timers.sleep(timeoutMs, { signal: ends });
    sleep.catch(() => {});
    try {
      await Promise.race([this.#read.promise, sleep.then(() => this.#late(timeoutMs))]);
    } catch (error) {
      signal?.throwIfAborted();
      if (this.#stopped.signal.aborted) throw this.#closed();
      throw error;
    } finally {
      over.abort();
    }
  }

  /** Durable when it resolves, and this process routes by it. */
  async add(binding: Binding): Promise<void> {
    const key = this.#keyOf(binding);
    const value = Buffer.from(JSON.stringify(binding));
    const result = await this.#engine.commit([{ type: "put", key, value }]);
    if (result.committed) this.#ownVersions.set(key, result.version);
    this.#bindings.set(key, binding);
    this.#changed();
  }

  async remove(binding: Binding): Promise<void> {
    const key = this.#keyOf(binding);
    const result = await this.#engine.commit([{ type: "delete", key }]);
    if (result.committed) this.#ownVersions.set(key, result.version);
    this.#bindings.delete(key);
    this.#changed();
  }

  close(): void {
    this.#stopped.abort();
    this.#read.reject(this.#closed());
  }

  get #prefix(): string {
    return `tenon/exchanges/${this.#exchange}/bindings/`;
  }

  /** The same binding, made twice or by two processes, is one: its key says all of it. */
  #keyOf({ topic, ...bound }: Binding): string {
    const key = `${this.#prefix}${topic}/${JSON.stringify(bound)}`;
    const { keyBytesMax } = this.#engine.capabilities;
    const sizeBytes = Buffer.byteLength(key);
    if (sizeBytes <= keyBytesMax) return key;
    throw new TenonError(
      "invalid",
      `A binding of topic "${topic}" to exchange "${this.#exchange}" takes ${sizeBytes} bytes; the engine allows ${keyBytesMax}. Bind by less, or by shorter values.`,
      { fields: { exchange: this.#exchange, topic, sizeBytes, keyBytesMax } },
    );
  }

  async #watch(): Promise<void> {
    const { signal } = this.#stopped;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await this.#agreeOnType();
        await this.#follow();
      } catch (error) {
        if (signal.aborted) return;
        this.#lastError = error;
        this.#log(error);
      }
      if (this.#isRead) this.#read = unread();
      this.#isRead = false;
      const code = this.#lastError instanceof TenonError ? this.#lastError.code : undefined;
      if (code === "conflict" || code === "closed") {
        // No waiting will help.
        this.#read.reject(this.#lastError);
        return;
      }
      await this.#world.timers.sleep(engineBackoffMs(failures, this.#world.random.float()), { signal }).catch(() => {});
    }
  }

  /** Two processes that route differently by the same bindings would lose messages: the first use decides. */
  async #agreeOnType(): Promise<void> {
    const key = `tenon/exchanges/${this.#exchange}/type`;
    const value = Buffer.from(this.#type);
    const result = await this.#engine.commit([{ type: "put", key, value, condition: { ifAbsent: true } }]);
    const other = result.committed ? this.#type : Buffer.from(result.current?.value ?? value).toString();
    if (other === this.#type) return;
    throw new TenonError(
      "conflict",
      `Exchange "${this.#exchange}" is of type ${other}, not ${this.#type}. Use that one, or another name.`,
      { fields: { exchange: this.#exchange, type: this.#type, existing: other } },
    );
  }

  /** Until the watch ends or breaks. */
  async #follow(): Promise<void> {
    const { signal } = this.#stopped;
    // What is read anew replaces what was known: what went while nobody watched is not in it.
    let reading: Map<string, Binding> | undefined = new Map();
    for await (const event of this.#engine.watch(this.#prefix, { signal })) {
      if (event.type === "synced") {
        if (reading === undefined) continue;
        this.#replaceBy(reading);
        reading = undefined;
        this.#isRead = true;
        this.#read.resolve();
      } else if (event.type === "put") {
        const { key, version } = event.entry;
        if (this.#isOver(key, version)) continue;
        (reading ?? this.#bindings).set(key, bindingOf(event.entry));
      } else {
        if (this.#isOver(event.key, event.version)) continue;
        (reading ?? this.#bindings).delete(event.key);
      }
      if (reading === undefined) this.#changed();
    }
  }

  #isOver(key: string, version: bigint): boolean {
    const own = this.#ownVersions.get(key);
    if (own === undefined) return false;
    if (version < own) return true;
    this.#ownVersions.delete(key);
    return false;
  }

  #replaceBy(read: Map<string, Binding>): void {
    // The watch has not come to these yet.
    for (const key of this.#ownVersions.keys()) {
      const own = this.#bindings.get(key);
      if (own === undefined) read.delete(key);
      else read.set(key, own);
    }
    this.#bindings = read;
  }

  #late(timeoutMs: number): never {
    throw new TenonError(
      "unavailable",
      `The bindings of exchange "${this.#exchange}" could not be read within ${timeoutMs} ms. Nothing was published. Try again later.`,
      { fields: { exchange: this.#exchange, timeoutMs }, cause: this.#lastError },
    );
  }

  #closed(): TenonError {
    return new TenonError("closed", `Exchange "${this.#exchange}" was closed; make a new one.`, {
      fields: { exchange: this.#exchange },
    });
  }

  #log(error: unknown): void {
    const fields = { exchange: this.#exchange, error: describeError(error) };
    this.#world.log.log("warn", "watching the bindings of an exchange failed; it is repeated", fields);
  }
}

function unread(): PromiseWithResolvers<void> {
  const read = Promise.withResolvers<void>();
  // Whoever waits hears of it; that nobody does is no fault.
  read.promise.catch(() => {});
  return read;
}

function bindingOf({ value }: KeyValueEntry): Binding {
  return JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString()) as Binding;
}
