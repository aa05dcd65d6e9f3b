import { checkEngine } from "../contracts/engine-arguments.ts";
import { TenonError } from "../contracts/errors.ts";
import type { KeyValueEntry } from "../contracts/key-value.ts";
import type { CountingEngine } from "./api.ts";
import { Deadline } from "./deadline.ts";
import { unanswered } from "./failures.ts";
import { putText, repeated, requireSeveralKeys, requireWatch, statesOf, textOf } from "./key-state.ts";
import { stateKey } from "./names.ts";
import { invalid, isWait } from "./settings.ts";

export interface CountdownLatchOptions {
  /** How many participants it waits for; 1 to 2^31 - 1. Everybody must say the same. */
  readonly count: number;
  /** How long an engine that fails or does not answer is asked again, in milliseconds; 5,000 when left out. */
  readonly timeoutMs?: number | undefined;
}

export interface WaitOptions {
  readonly signal?: AbortSignal | undefined;
  /** `timeout` after so many milliseconds; for ever when left out. */
  readonly waitMs?: number | undefined;
}

/**
 * Opens once, when so many participants have counted down, and stays open. The count is as durable as the engine's key-values. A latch of the
 * next run needs another name.
 */
export interface CountdownLatch {
  readonly name: string;
  readonly count: number;
  /**
   * Counts the participant once, however often it is called with the same id, and answers how many are missing. `conflict` when others
   * gave another count.
   */
  countDown(participant: string): Promise<number>;
  /** How many are missing; 0: it is open. */
  remaining(): Promise<number>;
  /** Resolves when it is open. */
  wait(options?: WaitOptions): Promise<void>;
  /** Forgets everything about it. Whoever waits goes on waiting, for a latch that begins anew. */
  remove(): Promise<void>;
}

export function countdownLatch(engine: CountingEngine, name: string, options: CountdownLatchOptions): CountdownLatch {
  checkEngine("countdownLatch()", engine, "keyValue");
  const { count, timeoutMs = 5_000 } = options;
  const what = `the latch "${name}"`;
  if (!(Number.isSafeInteger(count) && count >= 1 && count < 2 ** 31)) {
    throw invalid(what, "count", count, "a whole number from 1 to 2147483647");
  }
  if (!(Number.isFinite(timeoutMs) && timeoutMs > 0))
    throw invalid(what, "timeoutMs", timeoutMs, "milliseconds above 0");
  requireWatch(engine, what);
  requireSeveralKeys(engine.keyValue, what);
  const prefix = stateKey("latch", name, engine.keyValue.capabilities.keyBytesMax);
  return new KeptLatch(engine, name, count, timeoutMs, prefix);
}

class KeptLatch implements CountdownLatch {
  readonly name: string;
  readonly count: number;
  readonly #engine: CountingEngine;
  readonly #timeoutMs: number;
  readonly #countKey: string;
  readonly #counterKey: string;
  readonly #participants: string;
  /** Whether the count is known to be the one that everybody gave. */
  #agreed = false;

  constructor(engine: CountingEngine, name: string, count: number, timeoutMs: number, prefix: string) {
    this.#engine = engine;
    this.name = name;
    this.count = count;
    this.#timeoutMs = timeoutMs;
    this.#countKey = `${prefix}count`;
    this.#counterKey = `${prefix}counted`;
    this.#participants = `${prefix}participant/`;
  }

  async countDown(participant: string): Promise<number> {
    const key = this.#participantKey(participant);
    return this.#request(async () => {
      await this.#agree();
      const result = await this.#engine.keyValue.commit([
        putText(key, "", { condition: { ifAbsent: true } }),
        { type: "add", key: this.#counterKey, by: 1 },
      ]);
      if (result.committed) return this.#missing(result.counters[1]);
      return this.#read();
    });
  }

  remaining(): Promise<number> {
    return this.#request(() => this.#read());
  }

  async wait(options: WaitOptions = {}): Promise<void> {
    const { signal, waitMs = Number.POSITIVE_INFINITY } = options;
    if (!isWait(waitMs))
      throw invalid(`waiting for ${this.#what}`, "waitMs", waitMs, "milliseconds from 0, or Infinity");
    using deadline = new Deadline(this.#engine.world.timers, waitMs, () => this.#late(waitMs), { signal });
    await repeated(this.#engine, this.#what, deadline, () => this.#agree());
    for await (const entry of statesOf(this.#engine, this.#counterKey, deadline)) {
      if (this.#missing(entry && Number(textOf(entry))) === 0) return;
    }
  }

  remove(): Promise<void> {
    const { keyValue } = this.#engine;
    const limit = Math.min(500, keyValue.capabilities.changesMax);
    const remove = (keys: readonly string[]) => keyValue.commit(keys.map((key) => ({ type: "delete", key })));
    return this.#request(async () => {
      this.#agreed = false;
      for (;;) {
        const entries = await keyValue.scan(this.#participants, { limit });
        if (entries.length === 0) break;
        await remove(entries.map((entry) => entry.key));
      }
      await remove([this.#counterKey, this.#countKey]);
    });
  }

  get #what(): string {
    return `the latch "${this.name}"`;
  }

  async #request<Result>(request: () => Promise<Result>): Promise<Result> {
    const { world } = this.#engine;
    using deadline = new Deadline(world.timers, this.#timeoutMs, () =>
      unanswered(this.#what, this.#timeoutMs, undefined),
    );
    return await repeated(this.#engine, this.#what, deadline, request);
  }

  /** The first to come decides the count. */
  async #agree(): Promise<void> {
    if (this.#agreed) return;
    const change = putText(this.#countKey, String(this.count), { condition: { ifAbsent: true } });
    const result = await this.#engine.keyValue.commit([change]);
    if (!result.committed) this.#requireSameCount(result.current);
    this.#agreed = true;
  }

  #requireSameCount(entry: KeyValueEntry | undefined): void {
    const theirs = Number(entry === undefined ? Number.NaN : textOf(entry));
    if (theirs === this.count) return;
    throw new TenonError(
      "conflict",
      `The latch "${this.name}" was made with a count of ${theirs}, not ${this.count}. Give everybody the same count, or the latch another name.`,
      { fields: { name: this.name, count: this.count, theirs } },
    );
  }

  async #read(): Promise<number> {
    const [entry] = await this.#engine.keyValue.get([this.#counterKey]);
    return this.#missing(entry && Number(textOf(entry)));
  }

  #missing(counted: number | undefined): number {
    return Math.max(0, this.count - (counted ?? 0));
  }

  #late(waitMs: number): TenonError {
    return new TenonError(
      "timeout",
      `The latch "${this.name}" did not open within ${waitMs} ms. Look at remaining(), and wait longer or find out who is missing.`,
      { fields: { name: this.name, waitMs } },
    );
  }

  #participantKey(participant: string): string {
    const key = this.#participants + encodeURIComponent(checkParticipant(this.name, participant));
    const sizeBytes = Buffer.byteLength(key);
    const { keyBytesMax } = this.#engine.keyValue.capabilities;
    if (sizeBytes <= keyBytesMax) return key;
    throw invalid(`the latch "${this.name}"`, "participant", participant, "a shorter id, or its hash");
  }
}

function checkParticipant(name: string, participant: string): string {
  if (typeof participant === "string" && participant !== "" && participant.isWellFormed()) return participant;
  throw invalid(`the latch "${name}"`, "participant", participant, "well-formed text of at least one character");
}
