import { equal, ok } from "node:assert/strict";
import type { CommitResult, KeyValueChange, KeyValueEntry, WatchEvent } from "../../contracts/index.ts";
import type { KeyValueSubject, KeyValuesEngine } from "../conformance-case.ts";
import { bytesOf, textOf, within } from "../expectations.ts";

type Put = Extract<KeyValueChange, { type: "put" }>;
type Add = Extract<KeyValueChange, { type: "add" }>;
type Committed = Extract<CommitResult, { committed: true }>;
type Refused = Extract<CommitResult, { committed: false }>;

export function put(key: string, value: string | Uint8Array, more: Partial<Put> = {}): KeyValueChange {
  return { type: "put", key, value: typeof value === "string" ? bytesOf(value) : value, ...more };
}

export function add(key: string, by: number, more: Partial<Add> = {}): KeyValueChange {
  return { type: "add", key, by, ...more };
}

/** The commit must take effect. */
export async function committed(engine: KeyValuesEngine, ...changes: readonly KeyValueChange[]): Promise<Committed> {
  const result = await engine.keyValue.commit(changes);
  ok(result.committed, "the commit takes effect");
  return result;
}

/** The commit must be answered with the change that failed. */
export async function declined(engine: KeyValuesEngine, ...changes: readonly KeyValueChange[]): Promise<Refused> {
  const result = await engine.keyValue.commit(changes);
  ok(!result.committed, "the commit is declined");
  return result;
}

export async function entry(engine: KeyValuesEngine, key: string): Promise<KeyValueEntry | undefined> {
  const entries = await engine.keyValue.get([key]);
  equal(entries.length, 1);
  return entries[0];
}

/** The value as text; `undefined` when the key is not there. */
export async function value(engine: KeyValuesEngine, key: string): Promise<string | undefined> {
  const found = await entry(engine, key);
  return found === undefined ? undefined : textOf(found.value);
}

export function needsCrash(subject: KeyValueSubject): true | string {
  return subject.crash === undefined ? "the host cannot crash this engine, or nothing of it would survive" : true;
}

export function needsSeveralKeys(subject: KeyValueSubject): true | string {
  return subject.engine.keyValue.capabilities.multipleKeys || "the engine declares no commits of several keys";
}

export function needsWatch(subject: KeyValueSubject): true | string {
  return subject.engine.keyValue.capabilities.watch || "the engine declares no watch";
}

export function needsAll(...needs: readonly ((subject: KeyValueSubject) => true | string)[]) {
  return (subject: KeyValueSubject): true | string => {
    for (const need of needs) {
      const answer = need(subject);
      if (answer !== true) return answer;
    }
    return true;
  };
}

/** A watch that is read one event at a time. */
export class Watching {
  readonly #engine: KeyValuesEngine;
  readonly #controller = new AbortController();
  readonly #iterator: AsyncIterator<WatchEvent>;

  constructor(engine: KeyValuesEngine, prefix: string) {
    this.#engine = engine;
    this.#iterator = engine.keyValue.watch(prefix, { signal: this.#controller.signal })[Symbol.asyncIterator]();
  }

  async next(): Promise<WatchEvent> {
    const result = await within(this.#engine.world, "the next event of the watch", this.#iterator.next());
    ok(!result.done, "the watch goes on");
    return result.value;
  }

  /** The first events, up to `synced`. */
  async state(): Promise<ReadonlyMap<string, string>> {
    const entries = new Map<string, string>();
    for (;;) {
      const event = await this.next();
      if (event.type === "synced") return entries;
      ok(event.type === "put", "before `synced` there are only puts");
      ok(!entries.has(event.entry.key), "each entry comes once");
      entries.set(event.entry.key, textOf(event.entry.value));
    }
  }

  /** Ends the watch; an iterator that ends returns or throws nothing. */
  async end(): Promise<void> {
    this.#controller.abort();
    const result = await within(this.#engine.world, "the end of the watch", this.#drained());
    ok(result, "the watch ends");
  }

  async #drained(): Promise<boolean> {
    while (!(await this.#iterator.next()).done);
    return true;
  }
}

export function shown(event: WatchEvent): string {
  if (event.type === "synced") return "synced";
  return event.type === "put" ? `${event.entry.key}=${textOf(event.entry.value)}` : `${event.key} deleted`;
}
