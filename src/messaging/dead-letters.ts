import type { Codec } from "../codec/index.ts";
import { isCode } from "../contracts/errors.ts";
import type { Lane, MessageEngine, MessageHeaders, NewMessage, Stored } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { originOf } from "./delivery.ts";
import { describeError } from "./failures.ts";
import {
  copiedHeaders,
  deadAtHeader,
  failuresHeader,
  groupHeader,
  idHeader,
  publishedHeaders,
  reasonHeader,
  tagHeader,
} from "./headers.ts";
import { deadTopicOf, redriveGroup } from "./names.ts";
import { countOption } from "./options.ts";

/** A message that its group has given up. */
export interface DeadLetterEntry<T> {
  readonly body: Uint8Array;
  /** `undefined` when the body cannot be decoded. */
  readonly value: T | undefined;
  readonly key: string | undefined;
  readonly headers: MessageHeaders;
  readonly tag: string | undefined;
  readonly id: string | undefined;
  /** What the last failure said. */
  readonly reason: string;
  /** How many times its handler failed. */
  readonly failures: number;
  /** Where the message was first stored. */
  readonly origin: { readonly topic: string; readonly partition: number; readonly position: bigint };
  /** ms since the epoch. */
  readonly deadAt: number;
}

/** The dead letters of one group. They are kept until they are redriven. */
export interface DeadLetters<T> {
  count(): Promise<number>;
  /** The oldest ones, at most `limit` (100 when left out); they stay. Waits while another caller peeks or redrives. */
  peek(limit?: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<readonly DeadLetterEntry<T>[]>;
  /**
   * Publishes the oldest ones (all of them when `limit` is left out) again, at the end of their partitions, for this group
   * alone and with no failures counted, and answers how many. Each is removed once its copy is durable: a
   * crash in between may duplicate one and loses none. Ends between two batches when the signal aborts.
   */
  redrive(options?: {
    readonly limit?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<number>;
}

export interface DeadLetterParts<T> {
  readonly engine: MessageEngine;
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly codec: Codec<T>;
  /** Stores a message in a partition of the topic, in order, durable when it resolves. */
  readonly publish: (partition: number, message: NewMessage) => Promise<unknown>;
}

const batchCountMax = 256;
const windowMaxWanted = 1_000_000;

export class GroupDeadLetters<T> implements DeadLetters<T> {
  readonly #parts: DeadLetterParts<T>;
  readonly #topic: string;

  constructor(parts: DeadLetterParts<T>) {
    this.#parts = parts;
    this.#topic = deadTopicOf(parts.topic, parts.group);
  }

  async count(): Promise<number> {
    try {
      const description = await this.#parts.engine.describe(this.#topic);
      const group = description.groups.find((one) => one.group === redriveGroup);
      return (group?.lanes ?? []).reduce((sum, lane) => sum + lane.lag, 0);
    } catch (error) {
      // Nobody has consumed yet, so nothing can have died.
      if (isCode(error, "not-found")) return 0;
      throw error;
    }
  }

  async peek(
    limit = 100,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<readonly DeadLetterEntry<T>[]> {
    countOption("limit", limit, limit);
    const { signal } = options;
    if ((await this.count()) === 0) return [];
    return await this.#withLane(signal, async (lane) => {
      const entries: DeadLetterEntry<T>[] = [];
      const count = Math.min(limit, await this.count());
      while (entries.length < count) {
        for (const stored of await lane.fetch(count - entries.length, { signal }))
          entries.push(this.#entry(lane, stored));
      }
      return entries;
    });
  }

  async redrive(
    options: { readonly limit?: number | undefined; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<number> {
    const limit = countOption("limit", options.limit, Number.MAX_SAFE_INTEGER);
    const { signal } = options;
    signal?.throwIfAborted();
    if ((await this.count()) === 0) return 0;
    return await this.#withLane(signal, async (lane) => {
      // What dies again meanwhile is left for the next time: else a message that always dies would go round for ever.
      const count = Math.min(limit, await this.count());
      let redriven = 0;
      while (redriven < count && !signal?.aborted) {
        const letters = await lane.fetch(Math.min(batchCountMax, count - redriven), { signal });
        await Promise.all(letters.map((stored) => this.#publishAgain(lane, stored)));
        await lane.commit({ settled: letters.map((stored) => stored.position) });
        redriven += letters.length;
      }
      return redriven;
    });
  }

  async #withLane<R>(signal: AbortSignal | undefined, use: (lane: Lane) => Promise<R>): Promise<R> {
    const { engine, world } = this.#parts;
    const { capabilities } = engine;
    const membership = await engine.join(this.#topic, redriveGroup, {
      sessionMs: Math.max(10_000, capabilities.sessionMsMin),
      revokeMs: 60_000,
      windowMax: Math.min(windowMaxWanted, capabilities.windowMax),
    });
    try {
      return await use(await membership.nextLane({ signal }));
    } finally {
      // The answer is known already; a member that cannot leave is forgotten when its session ends.
      await membership.leave().catch((error: unknown) => {
        const fields = { topic: this.#topic, error: describeError(error) };
        world.log.log("warn", "leaving the dead letters failed", fields);
      });
    }
  }

  #publishAgain(lane: Lane, stored: Stored): Promise<unknown> {
    const headers: Record<string, string> = { ...copiedHeaders(stored.headers), [groupHeader]: this.#parts.group };
    const id = stored.headers?.[idHeader];
    if (id !== undefined) headers[idHeader] = id;
    const { body, key } = stored;
    const { partition } = originOf(lane, stored);
    return this.#parts.publish(partition, { body, key, headers, id: undefined, dueAt: undefined });
  }

  #entry(lane: Lane, stored: Stored): DeadLetterEntry<T> {
    const headers = stored.headers ?? {};
    const { topic, partition, position } = originOf(lane, stored);
    return {
      body: stored.body,
      value: this.#decode(stored.body),
      key: stored.key,
      headers: publishedHeaders(headers),
      tag: headers[tagHeader],
      id: headers[idHeader],
      reason: headers[reasonHeader] ?? "",
      failures: Number(headers[failuresHeader] ?? 0),
      origin: { topic, partition, position },
      deadAt: Number(headers[deadAtHeader] ?? 0),
    };
  }

  #decode(body: Uint8Array): T | undefined {
    try {
      return this.#parts.codec.decode(body);
    } catch {
      return undefined;
    }
  }
}
