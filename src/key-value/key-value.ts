import { type Codec, type StandardSchemaV1, schemaCodec } from "../codec/index.ts";
import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import type {
  KeyValueChange as EngineChange,
  CommitResult as EngineCommitResult,
  WatchEvent as EngineWatchEvent,
  KeyValueEngine,
  KeyValueEntry,
} from "../contracts/key-value.ts";
import type { Change, CommitResult, Conditions, Entry, KeyValue, ScanOptions, WatchEvent, Written } from "./api.ts";
import { BoundedCounter, type Counter } from "./counter.ts";
import { checkChangeCount, checkKey, checkTtl, checkValue } from "./limits.ts";

/** Exactly one of `codec` and `schema`. */
export type KeyValueOptions<T> = {
  /** Stands before every key, and is not seen in the keys given back. End it with a separator, so that no other prefix begins with it. */
  readonly prefix?: string | undefined;
} & (
  | { readonly codec: Codec<T>; readonly schema?: undefined }
  | { readonly schema: StandardSchemaV1<unknown, T>; readonly codec?: undefined }
);

/** A typed view of an engine's key-values. It holds no state and needs no closing; several may be made of one engine. */
export function keyValue<T>(engine: { readonly keyValue: KeyValueEngine }, options: KeyValueOptions<T>): KeyValue<T> {
  checkEngine("keyValue()", engine, "keyValue");
  const { prefix = "", codec, schema } = options;
  if ((codec === undefined) === (schema === undefined)) {
    throw new TenonError(
      "invalid",
      "keyValue() needs exactly one of `codec` and `schema`. Pass json() as the codec when you have no schema.",
    );
  }
  return new KeyValueSpace(engine.keyValue, prefix, codec ?? schemaCodec(schema));
}

class KeyValueSpace<T> implements KeyValue<T> {
  readonly #engine: KeyValueEngine;
  readonly #prefix: string;
  readonly #codec: Codec<T>;

  constructor(engine: KeyValueEngine, prefix: string, codec: Codec<T>) {
    this.#engine = engine;
    this.#prefix = prefix;
    this.#codec = codec;
  }

  async get(key: string): Promise<Entry<T> | undefined> {
    const [entry] = await this.#engine.get([this.#fullKey(key)]);
    return entry && this.#entry(entry);
  }

  async getMany(keys: readonly string[]): Promise<readonly (Entry<T> | undefined)[]> {
    const entries = await this.#engine.get(keys.map((key) => this.#fullKey(key)));
    return entries.map((entry) => entry && this.#entry(entry));
  }

  async put(
    key: string,
    value: T,
    options: Conditions & { readonly ttlMs?: number | undefined } = {},
  ): Promise<Written<T>> {
    return this.#written({ type: "put", key, value, ...options });
  }

  async delete(key: string, options: Conditions = {}): Promise<Written<T>> {
    return this.#written({ type: "delete", key, ...options });
  }

  async commit(changes: readonly Change<T>[]): Promise<CommitResult<T>> {
    checkChangeCount(this.#engine.capabilities, changes.length);
    const result = await this.#engine.commit(changes.map((change) => this.#change(change)));
    if (result.committed) return result;
    return { ...result, current: this.#current(result, changes) };
  }

  counter(key: string): Counter {
    return new BoundedCounter(this.#engine, this.#fullKey(key));
  }

  async *scan(prefix = "", options: ScanOptions = {}): AsyncGenerator<Entry<T>, void, undefined> {
    const { signal, limit = Number.POSITIVE_INFINITY, pageSize = 1_000 } = options;
    if (!(Number.isSafeInteger(pageSize) && pageSize > 0)) {
      throw new TenonError("invalid", `scan's pageSize is ${pageSize}. Give a whole number above 0.`, {
        fields: { pageSize },
      });
    }
    let after = options.after === undefined ? undefined : this.#prefix + options.after;
    let left = limit;
    while (left > 0) {
      signal?.throwIfAborted();
      const wanted = Math.min(left, pageSize);
      const page = await this.#engine.scan(this.#prefix + prefix, { limit: wanted, after });
      for (const entry of page) yield this.#entry(entry);
      if (page.length < wanted) return;
      left -= page.length;
      after = page.at(-1)?.key;
    }
  }

  async *watch(
    prefix = "",
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    if (!this.#engine.capabilities.watch) {
      throw new TenonError(
        "unsupported",
        `This engine cannot watch keys (prefix "${this.#prefix + prefix}"). Scan them now and then, or use another engine.`,
        {
          fields: { prefix: this.#prefix + prefix },
        },
      );
    }
    for await (const event of this.#engine.watch(this.#prefix + prefix, options)) yield this.#watchEvent(event);
  }

  #watchEvent(event: EngineWatchEvent): WatchEvent<T> {
    if (event.type === "put") return { type: "put", entry: this.#entry(event.entry) };
    if (event.type === "delete")
      return { type: "delete", key: event.key.slice(this.#prefix.length), version: event.version };
    return event;
  }

  async #written(change: Change<T>): Promise<Written<T>> {
    const result = await this.#engine.commit([this.#change(change)]);
    if (result.committed) return { committed: true, version: result.version };
    return { committed: false, current: this.#current(result, [change]) };
  }

  /** What a failed change met, where it is one of our values; what a failed `add` met is a counter. */
  #current(
    result: Extract<EngineCommitResult, { committed: false }>,
    changes: readonly Change<T>[],
  ): Entry<T> | undefined {
    if (result.current === undefined || changes[result.failed]?.type === "add") return undefined;
    return this.#entry(result.current);
  }

  #change(change: Change<T>): EngineChange {
    const key = this.#fullKey(change.key);
    const condition = conditionOf(change);
    switch (change.type) {
      case "put":
        checkTtl(key, change.ttlMs);
        return { type: "put", key, value: this.#encode(key, change.value), ttlMs: change.ttlMs, condition };
      case "delete":
        return { type: "delete", key, condition };
      case "add":
        checkTtl(key, change.ttlMs);
        return { type: "add", key, by: change.by, min: change.min, max: change.max, ttlMs: change.ttlMs, condition };
      case "check":
        if (condition === undefined) {
          throw new TenonError("invalid", `The check of "${key}" has no condition. Give it ifAbsent or ifVersion.`, {
            fields: { key },
          });
        }
        return { type: "check", key, condition };
      default:
        throw new TenonError("invalid", `A change of "${key}" has an unknown type. Use put, delete, add or check.`, {
          fields: { key },
        });
    }
  }

  #fullKey(key: string): string {
    const full = this.#prefix + key;
    checkKey(this.#engine.capabilities, full);
    return full;
  }

  #encode(key: string, value: T): Uint8Array {
    const bytes = this.#codec.encode(value);
    checkValue(this.#engine.capabilities, key, bytes);
    return bytes;
  }

  #entry({ key, value, version, expiresAt }: KeyValueEntry): Entry<T> {
    try {
      return { key: key.slice(this.#prefix.length), value: this.#codec.decode(value), version, expiresAt };
    } catch (cause) {
      throw new TenonError(
        "invalid",
        `The value at "${key}" (version ${version}) could not be decoded as ${this.#codec.contentType}. Read it with the codec that wrote it; read counters with counter().`,
        {
          fields: { key, version },
          cause,
        },
      );
    }
  }
}

function conditionOf({ type, key, ifAbsent, ifVersion }: Change<unknown>): EngineChange["condition"] {
  if (ifVersion === undefined) return ifAbsent ? { ifAbsent } : undefined;
  if (ifAbsent) {
    throw new TenonError(
      "invalid",
      `The ${type} of "${key}" has both ifAbsent and ifVersion, which cannot both hold. Give one.`,
      { fields: { key } },
    );
  }
  return { ifVersion };
}
