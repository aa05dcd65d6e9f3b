import { TenonError } from "../contracts/errors.ts";
import type { JoinOptions, Lane, Membership, MessageEngine, SeekTarget } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { Dispatcher, type DispatcherOptions } from "./dispatcher.ts";
import { engineBackoffMs } from "./engine-backoff.ts";
import { asTenonError, describeError } from "./failures.ts";
import { type CompiledFilter, compileFilter, type MessageFilter } from "./filter.ts";
import { LaneWorker } from "./lane-worker.ts";
import { type Detection, LaneLosses } from "./loss-detector.ts";
import { deadTopicOf, redriveGroup, retryTopicOf } from "./names.ts";
import { countOption, durationOption } from "./options.ts";
import type { GivenUpHandler, WhenExpired } from "./outcomes.ts";
import { type RetryOptions, retryPolicy } from "./retry-policy.ts";
import type { RunHost, Runs } from "./runs.ts";

export interface ConsumeOptions {
  /** Handlers that may run at the same time, over all partitions; 64 when left out. */
  readonly concurrency?: number | undefined;
  /**
   * Messages of one partition that are held in memory, from being fetched until their settlement is durable; those that
   * wait for a retry, or behind one, come on top, up to `windowMax`. When left out, the greatest of 4,000, 2 × `concurrency` and 2 × `batchCountMax`.
   */
  readonly prefetch?: number | undefined;
  /**
   * What those messages may take, in bytes; what one answer of the engine holds, about half a MiB, comes on top. `concurrency` messages, or a batch,
   * are fetched all the same. 2 MiB when left out.
   */
  readonly prefetchBytes?: number | undefined;
  /** When a handler's signal aborts; 30,000 when left out. */
  readonly handlerTimeoutMs?: number | undefined;
  /** How long after that the key waits for the handler to end before the message counts as failed; 60,000 when left out. */
  readonly abandonAfterMs?: number | undefined;
  readonly retry?: RetryOptions | undefined;
  /**
   * The group handles only what passes; the rest is settled unseen. Members that consume at the same time must bring the
   * same one (`conflict`). Everything passes when left out.
   */
  readonly filter?: MessageFilter | undefined;
  /** How far a partition may go beyond its oldest unsettled message, in messages; 10,000 when left out. */
  readonly windowMax?: number | undefined;
  /** How long closing, or giving a partition to another member, waits for running handlers; 30,000 when left out. */
  readonly drainTimeoutMs?: number | undefined;
  /** Where a group starts that this call declares; `"now"` when left out. */
  readonly from?: SeekTarget | undefined;
  /** How long the engine may go without hearing from this process before its partitions pass on; 10,000 when left out. */
  readonly sessionMs?: number | undefined;
  /** Ends the wait for becoming a member; later it does nothing. */
  readonly signal?: AbortSignal | undefined;
}

/** A member of a group. */
export interface Consumer extends AsyncDisposable {
  readonly topic: string;
  readonly group: string;
  /** The partitions that it handles now, in ascending order. */
  readonly partitions: readonly number[];
  /** Those that are paused, its own or not, in ascending order. */
  readonly paused: readonly number[];
  /**
   * From now on nothing of these partitions (all of them when left out) is given to the handler. Handlers that run go on, and the
   * partitions stay with this consumer, those that come to it later included. What was fetched stays in memory: at most `prefetch` per partition,
   * and what waits for a retry.
   */
  pause(partitions?: readonly number[]): void;
  /** Goes on where it was. */
  resume(partitions?: readonly number[]): void;
  /** Delivers nothing more, lets running handlers end, commits what they settled, and leaves the group. Idempotent. */
  close(): Promise<void>;
  /** Resolves when it was closed; rejects when it ended because the engine closed, or its topic or group was removed (`not-found`). */
  readonly closed: Promise<void>;
}

export interface ConsumerParts {
  readonly engine: MessageEngine;
  readonly world: World;
  readonly topic: string;
  readonly partitions: number;
  readonly group: string;
  readonly contentType: string;
  /** The most messages that one call of the handler gets. */
  readonly batchCountMax: number;
  /** How the handler is called. */
  readonly runs: (host: RunHost) => Runs;
  readonly lossDetection: Detection | undefined;
  readonly whenExpired: WhenExpired;
  readonly options: ConsumeOptions;
  /** The group is this member's alone and ends with it: it has no retry topic and no dead letters. */
  readonly givenUp?: GivenUpHandler | undefined;
}

/** A revoked lane is given back after `drainTimeoutMs`; the engine waits so much longer for the last commit. */
const revokeMarginMs = 10_000;
const centuryMs = 100 * 365 * 24 * 3_600_000;

/** Declares what the group needs, joins it, and starts to deliver. */
export async function startConsumer(parts: ConsumerParts): Promise<GroupConsumer> {
  const { engine, topic, group, partitions, options } = parts;
  const { consumer, join } = prepared(parts);
  // Both before the first message is seen, so that whoever fails has somewhere to go and every member finds it.
  await engine.declare(deadTopicOf(topic, group), { partitions: 1, groups: [redriveGroup] });
  await engine.declare(retryTopicOf(topic, group), { partitions, groups: [group] });
  options.signal?.throwIfAborted();
  consumer.take(await engine.join(topic, group, join));
  try {
    const { sessionMs, revokeMs, windowMax } = join;
    if (engine.capabilities.delay) {
      consumer.take(await engine.join(retryTopicOf(topic, group), group, { sessionMs, revokeMs, windowMax }));
    }
    options.signal?.throwIfAborted();
  } catch (error) {
    await consumer.close();
    throw error;
  }
  return consumer;
}

/** Makes a group that ends with its only member, and starts to deliver. */
export async function startEphemeralConsumer(parts: ConsumerParts): Promise<GroupConsumer> {
  const { consumer, join } = prepared(parts);
  consumer.take(await parts.engine.join(parts.topic, parts.group, { ...join, ephemeral: true }));
  if (!parts.options.signal?.aborted) return consumer;
  await consumer.close();
  throw parts.options.signal.reason;
}

function prepared(parts: ConsumerParts): { readonly consumer: GroupConsumer; readonly join: JoinOptions } {
  const { options } = parts;
  const concurrency = countOption("concurrency", options.concurrency, 64);
  const { capabilities } = parts.engine;
  const windowMax = countOption(
    "windowMax",
    options.windowMax,
    Math.min(10_000, capabilities.windowMax),
    1,
    capabilities.windowMax,
  );
  const drainTimeoutMs = durationOption("drainTimeoutMs", options.drainTimeoutMs, 30_000);
  const filter: CompiledFilter | undefined = options.filter && compileFilter(options.filter);
  const consumer = new GroupConsumer(parts, {
    concurrency,
    prefetch: countOption("prefetch", options.prefetch, Math.max(2 * concurrency, 2 * parts.batchCountMax, 4_000)),
    prefetchBytes: countOption("prefetchBytes", options.prefetchBytes, 2 * 1024 * 1024),
    prefetchMin: Math.max(concurrency, parts.batchCountMax),
    heldMax: capabilities.heldMax,
    handlerTimeoutMs: durationOption("handlerTimeoutMs", options.handlerTimeoutMs, 30_000),
    abandonAfterMs: durationOption("abandonAfterMs", options.abandonAfterMs, 60_000),
    drainTimeoutMs,
    retry: retryPolicy(options.retry),
    passes: filter?.passes,
  });
  const join: JoinOptions = {
    sessionMs: durationOption("sessionMs", options.sessionMs, Math.max(10_000, capabilities.sessionMsMin)),
    revokeMs: drainTimeoutMs + revokeMarginMs,
    windowMax,
    from: options.from,
    agreement: filter?.fingerprint,
  };
  return { consumer, join };
}

type Settings = Pick<
  DispatcherOptions,
  | "concurrency"
  | "prefetch"
  | "prefetchBytes"
  | "prefetchMin"
  | "heldMax"
  | "handlerTimeoutMs"
  | "abandonAfterMs"
  | "drainTimeoutMs"
  | "retry"
  | "passes"
>;

/** Holds the memberships of one consumer and the lanes that come and go with them. */
export class GroupConsumer implements Consumer {
  readonly topic: string;
  readonly group: string;
  readonly closed: Promise<void>;
  readonly #world: World;
  readonly #drainTimeoutMs: number;
  readonly #dispatcher: Dispatcher;
  readonly #memberships: Membership[] = [];
  readonly #workers = new Set<LaneWorker>();
  readonly #partitionCount: number;
  readonly #paused = new Set<number>();
  readonly #stopped = new AbortController();
  readonly #over = new AbortController();
  #closing: Promise<void> | undefined;
  #failed = false;
  readonly #resolveClosed: () => void;
  readonly #rejectClosed: (error: TenonError) => void;

  constructor(parts: ConsumerParts, settings: Settings) {
    const { engine, world, topic, group, contentType, runs, partitions, lossDetection: detection } = parts;
    const { whenExpired, givenUp } = parts;
    this.topic = topic;
    this.group = group;
    this.#partitionCount = partitions;
    this.#world = world;
    this.#drainTimeoutMs = settings.drainTimeoutMs;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.closed = promise;
    // Whoever does not look at it must not see an unhandled rejection; the log has the error too.
    promise.catch(() => {});
    this.#resolveClosed = resolve;
    this.#rejectClosed = reject;
    this.#dispatcher = new Dispatcher({
      ...settings,
      world,
      topic,
      group,
      contentType,
      runs,
      delay: engine.capabilities.delay && givenUp === undefined,
      whenExpired,
      givenUp,
      engineClosed: (error) => this.#fail(error),
      losses: (lane) =>
        detection && lane.topic === topic
          ? new LaneLosses({ engine, world, topic, group, detection }, lane)
          : undefined,
      laneEnded: (worker) => this.#workers.delete(worker),
    });
  }

  /** A process that consumes stays alive until it has closed its consumers, as one that listens does. */
  #stayAlive(): void {
    this.#world.timers.sleep(centuryMs, { signal: this.#over.signal }).catch(() => {});
  }

  get partitions(): readonly number[] {
    const own = [...this.#workers].filter((worker) => worker.isActive && worker.lane.topic === this.topic);
    return own.map((worker) => worker.lane.partition).sort((one, other) => one - other);
  }

  get paused(): readonly number[] {
    return [...this.#paused].sort((one, other) => one - other);
  }

  // The retry topic has as many partitions, and a copy goes to the partition that it comes from.
  pause(partitions?: readonly number[]): void {
    const named = this.#named(partitions);
    for (const partition of named) this.#paused.add(partition);
    for (const worker of this.#workers) if (named.has(worker.lane.partition)) worker.pause();
  }

  resume(partitions?: readonly number[]): void {
    const named = this.#named(partitions);
    for (const partition of named) this.#paused.delete(partition);
    for (const worker of this.#workers) if (named.has(worker.lane.partition)) worker.resume();
  }

  #named(partitions: readonly number[] | undefined): ReadonlySet<number> {
    const count = this.#partitionCount;
    if (partitions === undefined) return new Set(Array.from({ length: count }, (_, partition) => partition));
    for (const partition of partitions) {
      if (Number.isSafeInteger(partition) && partition >= 0 && partition < count) continue;
      throw new TenonError(
        "invalid",
        `Partition ${partition} of topic "${this.topic}" does not exist; there are ${count}, from 0.`,
        { fields: { topic: this.topic, partition, partitions: count } },
      );
    }
    return new Set(partitions);
  }

  take(membership: Membership): void {
    if (this.#memberships.length === 0) this.#stayAlive();
    this.#memberships.push(membership);
    void this.#takeLanes(membership);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #takeLanes(membership: Membership): Promise<void> {
    const options = { signal: this.#stopped.signal };
    let failures = 0;
    while (!this.#stopped.signal.aborted) {
      try {
        this.#begin(await membership.nextLane(options));
        failures = 0;
      } catch (error) {
        if (this.#stopped.signal.aborted) return;
        const failure = asTenonError(error, "Waiting for a partition failed.");
        if (failure.code === "closed") return this.#fail(failure);
        if (failure.code === "not-found") return this.#removed(failure);
        this.#log("warn", "waiting for a partition failed; it is repeated", failure);
        const pauseMs = engineBackoffMs(failures, this.#world.random.float());
        await this.#world.timers.sleep(pauseMs, options).catch(() => {});
        failures += 1;
      }
    }
  }

  #begin(lane: Lane): void {
    if (this.#stopped.signal.aborted) {
      lane.release().catch((error: unknown) => this.#log("warn", "giving a partition back failed", error));
      return;
    }
    const worker = new LaneWorker(lane, this.#dispatcher);
    this.#workers.add(worker);
    if (this.#paused.has(lane.partition)) worker.pause();
    worker.start();
  }

  async #close(): Promise<void> {
    this.#stopped.abort();
    await Promise.all([...this.#workers].map((worker) => worker.drain(this.#drainTimeoutMs)));
    this.#dispatcher.stop();
    if (this.#failed) return;
    for (const membership of this.#memberships) {
      await membership.leave().catch((error: unknown) => this.#log("warn", "leaving the group failed", error));
    }
    this.#over.abort();
    this.#resolveClosed();
  }

  /** The engine has closed: nothing can be committed any more. */
  #fail(error: TenonError): void {
    const { topic, group } = this;
    const failure = new TenonError(
      "closed",
      `The consumer of topic "${topic}", group "${group}" ended because the engine closed. What it had not settled is delivered again by the next one.`,
      { fields: { topic, group }, cause: error },
    );
    this.#endWith(failure, "the consumer ended because the engine closed");
  }

  /** Nobody can go on where this consumer stops: its progress is gone with its group. */
  #removed(error: TenonError): void {
    const { topic, group } = this;
    const failure = new TenonError(
      "not-found",
      `The consumer of topic "${topic}", group "${group}" ended because the group is gone: it or its topic was removed, or it was this session's own and the session ended. Consume anew.`,
      { fields: { topic, group }, cause: error },
    );
    if (!this.#endWith(failure, "the consumer ended because its group is gone")) return;
    for (const membership of this.#memberships) {
      membership.leave().catch((leaving: unknown) => this.#log("warn", "leaving the group failed", leaving));
    }
  }

  #endWith(failure: TenonError, message: string): boolean {
    if (this.#failed || (this.#stopped.signal.aborted && this.#workers.size === 0)) return false;
    this.#failed = true;
    this.#stopped.abort();
    this.#over.abort();
    this.#dispatcher.stop();
    for (const worker of [...this.#workers]) worker.end(failure);
    this.#log("error", message, failure.cause);
    this.#rejectClosed(failure);
    return true;
  }

  #log(level: "warn" | "error", message: string, error: unknown): void {
    this.#world.log.log(level, message, { topic: this.topic, group: this.group, error: describeError(error) });
  }
}
