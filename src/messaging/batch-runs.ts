import type { Codec } from "../codec/index.ts";
import type { TenonError } from "../contracts/errors.ts";
import type { Cancel, World } from "../world/world.ts";
import type { ConsumeOptions } from "./consumer.ts";
import { type BatchContext, type BatchMessage, DeliveredBatch, DeliveredMessage } from "./context.ts";
import { type DeadlineHost, Deadlines, type Timed } from "./deadlines.ts";
import type { Delivery } from "./delivery.ts";
import { isExpired } from "./expiry.ts";
import type { LaneWorker } from "./lane-worker.ts";
import { countOption, durationOption } from "./options.ts";
import { Ring } from "./ring.ts";
import { givenUp, isThenable, type RunHost, type Runs, ranTooLong } from "./runs.ts";
import { type Decision, decisionsOf, failure, type Verdict } from "./verdict.ts";

/**
 * Gets the messages in the order of their keys. Returning nothing settles all of them; a verdict per message, in their order, decides for
 * each; throwing means that every one failed.
 */
export type BatchHandler<T> = (
  messages: readonly BatchMessage<T>[],
  context: BatchContext,
) => void | readonly Verdict[] | undefined | Promise<void> | Promise<readonly Verdict[] | undefined>;

export interface ConsumeBatchOptions extends ConsumeOptions {
  /** 1 when left out: then every message is a batch of its own, and all is as with `consume`. */
  readonly batchCountMax?: number | undefined;
  /** How long the first message of a batch waits for more when there are fewer than `batchCountMax`; 0 when left out: not at all. */
  readonly batchWaitMs?: number | undefined;
}

export interface BatchLimits {
  readonly batchCountMax: number;
  readonly batchWaitMs: number;
}

export function batchLimits({ batchCountMax, batchWaitMs = 0 }: ConsumeBatchOptions): BatchLimits {
  return {
    batchCountMax: countOption("batchCountMax", batchCountMax, 1),
    batchWaitMs: batchWaitMs === 0 ? 0 : durationOption("batchWaitMs", batchWaitMs, batchWaitMs),
  };
}

interface Entry<T> {
  readonly delivery: Delivery;
  readonly value: T;
  /** Nothing stands before it in its key. */
  readonly first: boolean;
}

/** The messages of one call of the handler. */
class Batch<T> implements Timed {
  readonly entries: Entry<T>[] = [];
  readonly context: DeliveredBatch;
  /** The handler has ended, or was given up. */
  over = false;
  deadline = Number.POSITIVE_INFINITY;
  late = false;

  constructor(host: RunHost) {
    this.context = new DeliveredBatch(host.topic, host.group);
  }
}

/**
 * Calls a handler with batches. The first message of a key opens the way for those that stand behind it: they may be in the same batch, in their
 * order. What was decided for one of them counts only when its turn comes, which is when everything before it in its key is settled or
 * durably among the dead letters.
 */
export class BatchRuns<T> implements Runs, DeadlineHost<Batch<T>> {
  readonly world: World;
  readonly handlerTimeoutMs: number;
  readonly abandonAfterMs: number;
  readonly running = new Set<Batch<T>>();
  readonly #host: RunHost;
  readonly #codec: Codec<T>;
  readonly #handler: BatchHandler<T>;
  readonly #limits: BatchLimits;
  /** The first ones of their keys, waiting for a full batch. */
  #gathered: Delivery[] = [];
  /** The first of them has waited long enough. */
  #waited = false;
  #timer: Cancel | undefined;
  readonly #turns = new Ring<Delivery>();
  #applying = false;
  readonly #deadlines: Deadlines<Batch<T>>;

  constructor(host: RunHost, codec: Codec<T>, handler: BatchHandler<T>, limits: BatchLimits) {
    this.#host = host;
    this.#codec = codec;
    this.#handler = handler;
    this.#limits = limits;
    this.world = host.world;
    this.handlerTimeoutMs = host.handlerTimeoutMs;
    this.abandonAfterMs = host.abandonAfterMs;
    this.#deadlines = new Deadlines(this);
  }

  // Gathering ---------------------------------------------------------------------------------------------------------

  take(delivery: Delivery): void {
    // One that has failed goes alone, so that it cannot make others fail with it again and again.
    if (delivery.failures > 0) {
      this.#host.takeSlot();
      delivery.owner.running += 1;
      this.run(delivery);
      return;
    }
    this.#gathered.push(delivery);
    if (this.#gathered.length >= this.#limits.batchCountMax) this.#depart();
  }

  run(delivery: Delivery): void {
    const batch = new Batch<T>(this.#host);
    if (this.#join(batch, delivery)) {
      this.#start(batch);
      return;
    }
    this.#host.freeSlot(delivery);
    delivery.owner.handlerEnded();
  }

  rest(): boolean {
    if (this.#gathered.length === 0) return false;
    const { batchWaitMs } = this.#limits;
    if (batchWaitMs > 0 && !this.#waited)
      this.#timer ??= this.#host.world.timers.schedule(batchWaitMs, this.#waitIsOver);
    if (!this.#host.mayStart) return false;
    return (batchWaitMs === 0 || this.#waited || this.#isFull()) && this.#depart();
  }

  stop(): void {
    this.#timer?.();
    this.#timer = undefined;
    this.#gathered = [];
  }

  readonly #waitIsOver = (): void => {
    this.#timer = undefined;
    this.#waited = true;
    this.#host.pump();
  };

  #isFull(): boolean {
    let room = this.#limits.batchCountMax - this.#gathered.length;
    for (const first of this.#gathered) {
      for (let next = first.behind; room > 0 && mayFollow(next); next = next.behind) room -= 1;
    }
    return room <= 0;
  }

  #depart(): boolean {
    const gathered = this.#gathered;
    this.#gathered = [];
    this.#waited = false;
    this.#timer?.();
    this.#timer = undefined;
    const batch = new Batch<T>(this.#host);
    let expired = false;
    for (const first of gathered) {
      if (!first.owner.isActive) continue;
      if (first.owner.isPaused) first.owner.park(first);
      else if (isExpired(first)) {
        expired = true;
        this.#host.outcomes.expired(first);
      } else this.#join(batch, first);
    }
    const firsts = batch.entries.length;
    // What stood behind one that expired may be ready now.
    if (firsts === 0) return expired;
    for (let index = 0; index < firsts; index += 1) this.#joinFollowers(batch, batch.entries[index]!.delivery);
    if (batch.entries.length > firsts) batch.entries.sort(inStoredOrder);
    this.#host.takeSlot();
    for (const { delivery } of batch.entries) delivery.owner.running += 1;
    this.#start(batch);
    return true;
  }

  /** `false` when it cannot be decoded: then it has been dealt with. */
  #join(batch: Batch<T>, delivery: Delivery): boolean {
    try {
      batch.entries.push({ delivery, value: this.#codec.decode(delivery.stored.body), first: true });
      return true;
    } catch (error) {
      this.#host.outcomes.notDecoded(delivery, error);
      return false;
    }
  }

  #joinFollowers(batch: Batch<T>, first: Delivery): void {
    const { entries } = batch;
    for (let next = first.behind; mayFollow(next); next = next.behind) {
      if (entries.length >= this.#limits.batchCountMax) return;
      try {
        entries.push({ delivery: next, value: this.#codec.decode(next.stored.body), first: false });
      } catch {
        // It becomes a dead letter when its turn comes.
        return;
      }
    }
  }

  // Calling -----------------------------------------------------------------------------------------------------------

  /** Its slot has been taken. */
  #start(batch: Batch<T>): void {
    const messages = batch.entries.map(messageOf);
    let answer: ReturnType<BatchHandler<T>>;
    try {
      answer = this.#handler(messages, batch.context);
    } catch (error) {
      this.#failed(batch, error);
      return;
    }
    if (!isThenable(answer)) {
      this.#answered(batch, answer);
      return;
    }
    this.running.add(batch);
    this.#deadlines.begin(batch);
    const promise = answer instanceof Promise ? answer : Promise.resolve(answer);
    promise.then(
      (verdicts: unknown) => this.#answered(batch, verdicts),
      (error: unknown) => this.#failed(batch, error),
    );
  }

  #answered(batch: Batch<T>, answer: unknown): void {
    let decisions: readonly Decision[];
    try {
      decisions = decisionsOf(answer, batch.entries.length);
    } catch (error) {
      this.#failed(batch, error);
      return;
    }
    this.#ended(batch, decisions);
  }

  #failed(batch: Batch<T>, error: unknown): void {
    this.#ended(batch, new Array<Decision>(batch.entries.length).fill(failure(error)));
  }

  #ended(batch: Batch<T>, decisions: readonly Decision[]): void {
    // A handler that was given up answers after all: its messages have been dealt with otherwise.
    if (batch.over) return;
    batch.over = true;
    this.running.delete(batch);
    this.#host.freeSlot(batch.entries[0]!.delivery);
    for (const [index, { delivery, first }] of batch.entries.entries()) {
      delivery.context = undefined;
      delivery.owner.handlerEnded();
      if (!delivery.owner.takesOutcomes) {
        delivery.state = "over";
        continue;
      }
      delivery.state = "decided";
      delivery.decision = decisions[index];
      if (first) this.#turns.push(delivery);
    }
    this.#applyTurns();
    this.#host.pump();
  }

  timedOut(batch: Batch<T>): void {
    const reason = ranTooLong(this.#place(batch), this.handlerTimeoutMs);
    batch.context.abort(reason);
    for (const { delivery } of batch.entries) delivery.context?.abort(reason);
  }

  /** The handler never ended: its keys go on without it, under greater fences. */
  abandon(batch: Batch<T>): void {
    this.#failed(batch, givenUp(this.#place(batch), this.#host));
  }

  abandonLane(worker: LaneWorker, reason: TenonError): readonly Delivery[] {
    const abandoned: Delivery[] = [];
    for (const batch of this.running) {
      let ours = batch.entries.length;
      for (const { delivery } of batch.entries) {
        if (delivery.owner === worker) {
          delivery.context?.abort(reason);
          abandoned.push(delivery);
        }
        if (delivery.owner === worker || !delivery.owner.takesOutcomes) ours -= 1;
      }
      if (ours === 0) batch.context.abort(reason);
    }
    return abandoned;
  }

  #place(batch: Batch<T>): string {
    return `a batch of ${batch.entries.length} messages of topic "${this.#host.topic}", group "${this.#host.group}"`;
  }

  // Deciding ----------------------------------------------------------------------------------------------------------

  turnCame(delivery: Delivery): void {
    this.#turns.push(delivery);
    this.#applyTurns();
  }

  /** A loop, for settling one lets the turn of the next one come, and there may be thousands of them. */
  #applyTurns(): void {
    if (this.#applying) return;
    this.#applying = true;
    for (let delivery = this.#turns.take(); delivery !== undefined; delivery = this.#turns.take())
      this.#apply(delivery);
    this.#applying = false;
  }

  #apply(delivery: Delivery): void {
    const { decision, owner } = delivery;
    delivery.decision = undefined;
    if (owner.hasEnded || decision === undefined) delivery.state = "over";
    else if (decision.failed) this.#host.outcomes.failed(delivery, decision.error);
    else owner.settle(delivery);
  }
}

/** Behind the first one of its key, and nothing speaks against handling it together with that one. */
function mayFollow(delivery: Delivery | undefined): delivery is Delivery {
  return (
    delivery !== undefined &&
    delivery.state === "queued" &&
    delivery.failures === 0 &&
    delivery.dueAt === 0 &&
    !delivery.suspect &&
    !isExpired(delivery) &&
    !delivery.owner.isForOthers(delivery.stored)
  );
}

/** By partition and position, as the keys' order is. */
function inStoredOrder(one: Entry<unknown>, other: Entry<unknown>): number {
  if (one.delivery.owner !== other.delivery.owner) {
    const [lane, otherLane] = [one.delivery.owner.lane, other.delivery.owner.lane];
    return lane.partition - otherLane.partition || (lane.topic < otherLane.topic ? -1 : 1);
  }
  return one.delivery.stored.position < other.delivery.stored.position ? -1 : 1;
}

/** Numbered in the order in which they are handed over, so that fences grow within the batch too. */
function messageOf<T>({ delivery, value }: Entry<T>): BatchMessage<T> {
  delivery.state = "running";
  delivery.number = delivery.owner.nextDelivery();
  const message = new DeliveredMessage(delivery, value);
  delivery.context = message;
  return message;
}
