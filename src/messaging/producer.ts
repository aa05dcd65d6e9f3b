import type { TenonError } from "../contracts/errors.ts";
import type { Batch, MessageEngine, NewMessage } from "../contracts/messages.ts";
import type { Cancel, World } from "../world/world.ts";
import { engineBackoffMs } from "./engine-backoff.ts";
import { asTenonError } from "./failures.ts";
import { Numbering } from "./numbering.ts";
import { Flight, PartitionQueue, Publications, type Receipt, type Reject, type Resolve } from "./partition-queue.ts";
import { bufferFull, publishTimedOut, topicClosed, unknownBecause } from "./publish-errors.ts";
import { Ring } from "./ring.ts";

export interface ProducerOptions {
  readonly engine: MessageEngine;
  readonly world: World;
  readonly topic: string;
  readonly partitions: number;
  /** Called before the first append, and again for as long as it rejects. */
  readonly declare: () => Promise<void>;
  /** Given by the user, who then also owns the epoch. */
  readonly identity: { readonly id: string; readonly epoch: number } | undefined;
  readonly publishTimeoutMs: number;
  readonly bufferBytesMax: number;
  readonly batchBytesMax: number;
  readonly batchCountMax: number;
  /** Whether messages are numbered for loss detectors. */
  readonly numbered: boolean;
}

export interface Sending {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface Waiter {
  readonly partition: number | undefined;
  readonly message: NewMessage;
  readonly sizeBytes: number;
  readonly deadline: number;
  readonly resolve: Resolve;
  reject: Reject | undefined;
}

/** Memory that a buffered message costs beyond its bytes; counted so that tiny messages are bounded too. */
export const overheadBytes = 128;
/** So many keyless messages are worth a batch of their own where a batch costs no sync: then the engine stores one while the next one is prepared. */
const keylessCount = 512;
/** Expired publishers are looked for at most this often. */
const sweepGapMs = 10;

/**
 * Gathers what is published within a tick into one batch per partition, and has one batch per partition under way;
 * what arrives meanwhile forms the next one. That, and repeating a batch unchanged, keeps the order.
 */
export class Producer {
  readonly #options: ProducerOptions;
  readonly #queues: PartitionQueue[];
  readonly #dirty: PartitionQueue[] = [];
  /** Publishers that wait for room in the buffer, in order. */
  readonly #waiting = new Ring<Waiter>();
  readonly #id: string;
  #sticky: number;
  readonly #stickyCountMax: number;
  #buffered = 0;
  #unsettled = 0;
  #flushScheduled = false;
  #declared = false;
  #declaring = false;
  #closed = false;
  readonly #stopped = new AbortController();
  /** The clock as of this tick; read once per flush, not per message. */
  #now: number | undefined;
  #sweep: { readonly at: number; readonly cancel: Cancel } | undefined;
  #drained: (() => void)[] = [];
  #resolve: Resolve | undefined;
  #reject: Reject | undefined;
  // One executor for all promises: `new Promise` with a closure of its own would cost an allocation per message.
  readonly #executor = (resolve: Resolve, reject: Reject): void => {
    this.#resolve = resolve;
    this.#reject = reject;
  };

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#stickyCountMax = options.engine.capabilities.survives === "machine" ? Number.POSITIVE_INFINITY : keylessCount;
    this.#id = options.identity?.id ?? options.world.random.uuid();
    const epoch = options.identity?.epoch ?? 0;
    this.#queues = Array.from({ length: options.partitions }, (_, partition) => new PartitionQueue(partition, epoch));
    if (options.numbered) {
      const incarnation = Buffer.from(options.world.random.bytes(8)).toString("hex");
      const idsDeduplicate = options.engine.capabilities.deduplicate === "id";
      for (const queue of this.#queues) queue.numbering = new Numbering(incarnation, idsDeduplicate);
    }
    this.#sticky = Math.floor(options.world.random.float() * options.partitions);
  }

  /** The one that gathers keyless messages now. */
  keylessPartition(): number {
    if (this.#isFull(this.#queues[this.#sticky]!.pending)) this.#advanceSticky();
    return this.#sticky;
  }

  /** `undefined` as partition: the one that gathers keyless messages now. The sizes have been checked. */
  send(partition: number | undefined, message: NewMessage, messageBytes: number, sending?: Sending): Promise<Receipt> {
    if (this.#closed) return Promise.reject(topicClosed(this.#options.topic));
    const signal = sending?.signal;
    if (signal?.aborted) return Promise.reject(signal.reason);
    const sizeBytes = messageBytes + overheadBytes;
    this.#now ??= this.#options.world.clock.monotonic();
    const deadline = this.#now + (sending?.timeoutMs ?? this.#options.publishTimeoutMs);
    const promise = new Promise<Receipt>(this.#executor);
    const resolve = this.#resolve as Resolve;
    const reject = this.#reject as Reject;
    this.#unsettled += 1;
    this.#sweepBy(deadline);
    if (this.#waiting.length > 0 || (this.#buffered > 0 && this.#buffered + sizeBytes > this.#options.bufferBytesMax)) {
      this.#waiting.push({ partition, message, sizeBytes, deadline, resolve, reject });
      this.#scheduleFlush();
    } else {
      this.#enqueue(partition, message, sizeBytes, deadline, resolve, reject);
    }
    if (signal !== undefined) this.#watch(signal, promise, message);
    return promise;
  }

  /** Resolves when everything accepted is answered; from the call on nothing more is accepted. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#unsettled > 0) await new Promise<void>((resolve) => this.#drained.push(resolve));
    this.#stopped.abort();
    for (const queue of this.#queues) queue.flight?.wake?.abort();
    this.#sweep?.cancel();
  }

  #enqueue(
    partition: number | undefined,
    message: NewMessage,
    sizeBytes: number,
    deadline: number,
    resolve: Resolve,
    reject: Reject,
  ): void {
    const queue = this.#queues[partition ?? this.#sticky]!;
    const { pending } = queue;
    pending.add(message, sizeBytes, deadline, resolve, reject);
    this.#buffered += sizeBytes;
    if (partition === undefined && (pending.messages.length >= this.#stickyCountMax || this.#isFull(pending))) {
      this.#advanceSticky();
    }
    if (!queue.dirty && queue.flight === undefined) {
      queue.dirty = true;
      this.#dirty.push(queue);
    }
    this.#scheduleFlush();
  }

  #isFull(pending: Publications): boolean {
    return pending.sizeBytes >= this.#options.batchBytesMax || pending.messages.length >= this.#options.batchCountMax;
  }

  #advanceSticky(): void {
    this.#sticky = (this.#sticky + 1) % this.#queues.length;
  }

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    queueMicrotask(this.#gather);
  }

  // When several batches end together, the publishers that they woke publish again in the same run of microtasks.
  // One more hop lets their messages share a batch.
  readonly #gather = (): void => queueMicrotask(this.#flush);

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    this.#now = undefined;
    if (!this.#declared) {
      if (!this.#declaring) void this.#declare();
      return;
    }
    const ready = this.#dirty.splice(0);
    for (const queue of ready) {
      queue.dirty = false;
      if (queue.flight === undefined && queue.pending.messages.length > 0) this.#depart(queue);
    }
  };

  async #declare(): Promise<void> {
    this.#declaring = true;
    for (let attempt = 0; this.#unsettled > 0; attempt += 1) {
      try {
        await this.#options.declare();
        this.#declared = true;
        break;
      } catch (error) {
        const failure = asTenonError(error, `Declaring topic "${this.#options.topic}" failed.`);
        if (failure.code !== "unavailable" && failure.outcome !== "unknown") {
          this.#refuseAll(failure);
          break;
        }
        await this.#pause(attempt, this.#stopped.signal);
      }
    }
    this.#declaring = false;
    if (this.#declared || this.#unsettled > 0) this.#scheduleFlush();
  }

  #depart(queue: PartitionQueue): void {
    const { batchBytesMax, batchCountMax } = this.#options;
    let content = queue.pending.cut(batchBytesMax, batchCountMax);
    if (content === undefined) {
      content = queue.pending;
      queue.pending = new Publications();
    }
    if (queue.partition === this.#sticky) this.#advanceSticky();
    const batch: Batch = {
      topic: this.#options.topic,
      partition: queue.partition,
      messages: content.messages,
      producer: {
        // An id per partition, so that a new epoch of one partition does not fence the batches of the others.
        id: this.#options.identity === undefined ? `${this.#id}.${queue.partition}` : this.#id,
        epoch: queue.epoch,
        sequence: queue.sequence,
      },
    };
    const flight = new Flight(batch, content);
    if (queue.numbering !== undefined) flight.numbered = queue.numbering.stamp(content.messages);
    queue.flight = flight;
    void this.#fly(queue, flight);
  }

  async #fly(queue: PartitionQueue, flight: Flight): Promise<void> {
    for (let attempt = 0; ; attempt += 1) {
      let failure: TenonError | undefined;
      let positions: readonly (bigint | undefined)[] = [];
      flight.attempting = true;
      try {
        positions = await this.#options.engine.append(flight.batch);
      } catch (error) {
        failure = asTenonError(
          error,
          `Appending to topic "${this.#options.topic}", partition ${queue.partition}, failed.`,
        );
      }
      flight.attempting = false;
      if (failure === undefined) {
        this.#stored(queue, flight, positions);
        return;
      }
      if (failure.outcome === "unknown") flight.unknown = true;
      else if (!this.#isPassing(flight, failure)) {
        this.#refuse(queue, flight, failure);
        return;
      }
      if (this.#isGivenUp(flight)) break;
      flight.wake = new AbortController();
      await this.#pause(attempt, flight.wake.signal);
      flight.wake = undefined;
      if (this.#isGivenUp(flight)) break;
    }
    // The batch may be stored, or may even be stored later. A new epoch fences it out before the next one is stored,
    // so that it can appear neither after it nor with its sequence.
    if (flight.unknown) {
      queue.newEpoch();
      queue.numbering?.unknown();
    }
    this.#land(queue, flight);
  }

  /** Whether the same batch may succeed later and nothing else may be tried. */
  #isPassing(flight: Flight, failure: TenonError): boolean {
    if (failure.code === "unavailable") return true;
    // With the user's own epoch the sequence must stay right: whether an earlier attempt was stored has to be learned.
    return failure.code === "overloaded" && flight.unknown && this.#options.identity !== undefined;
  }

  /**
   * Nobody waits for it any more. With the user's own epoch there is none to fence it with: then it is repeated until
   * its fate is known, so that the sequence stays right.
   */
  #isGivenUp(flight: Flight): boolean {
    if (flight.waiting > 0) return false;
    return this.#options.identity === undefined || !flight.unknown || this.#stopped.signal.aborted;
  }

  #stored(queue: PartitionQueue, flight: Flight, positions: readonly (bigint | undefined)[]): void {
    queue.sequence += flight.batch.messages.length;
    queue.numbering?.stored(flight.numbered);
    flight.resolveAll(positions);
    this.#land(queue, flight);
  }

  #refuse(queue: PartitionQueue, flight: Flight, failure: TenonError): void {
    if (flight.unknown) queue.numbering?.unknown();
    // After a gap was refused the engine expects another sequence than ours; only a new epoch can go on.
    if (failure.code === "conflict" && this.#options.identity === undefined) queue.newEpoch();
    else if (flight.unknown && this.#options.identity === undefined) queue.newEpoch();
    flight.content.rejectAll(flight.unknown ? unknownBecause(failure) : failure);
    this.#land(queue, flight);
  }

  /** The batch is over: its room is free, and the next one may leave. */
  #land(queue: PartitionQueue, flight: Flight): void {
    queue.flight = undefined;
    this.#buffered -= flight.content.sizeBytes;
    this.#answered(flight.waiting);
    this.#admit();
    if (queue.pending.messages.length > 0 && !queue.dirty) {
      queue.dirty = true;
      this.#dirty.push(queue);
      this.#scheduleFlush();
    }
  }

  #answered(count: number): void {
    this.#unsettled -= count;
    if (this.#unsettled > 0) return;
    for (const resolve of this.#drained.splice(0)) resolve();
  }

  /** Lets in, in order, whoever fits now. */
  #admit(): void {
    for (;;) {
      const waiter = this.#waiting.first();
      if (waiter === undefined) return;
      if (waiter.reject !== undefined) {
        if (this.#buffered > 0 && this.#buffered + waiter.sizeBytes > this.#options.bufferBytesMax) return;
        const { partition, message, sizeBytes, deadline, resolve, reject } = waiter;
        this.#enqueue(partition, message, sizeBytes, deadline, resolve, reject);
      }
      this.#waiting.take();
    }
  }

  #refuseAll(error: TenonError): void {
    let count = 0;
    for (const queue of this.#queues) {
      const { pending } = queue;
      queue.pending = new Publications();
      this.#buffered -= pending.sizeBytes;
      count += pending.rejects.length;
      pending.rejectAll(error);
    }
    for (let waiter = this.#waiting.take(); waiter !== undefined; waiter = this.#waiting.take()) {
      if (waiter.reject === undefined) continue;
      waiter.reject(error);
      count += 1;
    }
    this.#answered(count);
  }

  // Deadlines -------------------------------------------------------------------------------------------------------

  #sweepBy(deadline: number): void {
    if (this.#sweep !== undefined) {
      if (this.#sweep.at <= deadline) return;
      this.#sweep.cancel();
    }
    const { clock, timers } = this.#options.world;
    const cancel = timers.schedule(Math.max(0, deadline - clock.monotonic()), this.#expire);
    this.#sweep = { at: deadline, cancel };
  }

  readonly #expire = (): void => {
    this.#sweep = undefined;
    const now = this.#options.world.clock.monotonic();
    let next = Number.POSITIVE_INFINITY;
    for (const queue of this.#queues) {
      next = Math.min(next, this.#expirePending(queue, now));
      if (queue.flight !== undefined) next = Math.min(next, this.#expireFlight(queue, queue.flight, now));
    }
    let dropped = 0;
    this.#waiting.remove((waiter) => {
      if (waiter.reject === undefined) return true;
      if (waiter.deadline > now) {
        next = Math.min(next, waiter.deadline);
        return false;
      }
      waiter.reject(bufferFull(this.#options.topic, this.#options.bufferBytesMax));
      dropped += 1;
      return true;
    });
    this.#answered(dropped);
    this.#admit();
    if (next !== Number.POSITIVE_INFINITY) this.#sweepBy(Math.max(next, now + sweepGapMs));
  };

  #expirePending(queue: PartitionQueue, now: number): number {
    const { pending } = queue;
    let next = Number.POSITIVE_INFINITY;
    let expired = false;
    for (const deadline of pending.deadlines) {
      if (deadline <= now) expired = true;
      else next = Math.min(next, deadline);
    }
    if (!expired) return next;
    this.#removePending(
      queue,
      (index) => pending.deadlines[index]! <= now,
      publishTimedOut(this.#options.topic, queue.partition, false),
    );
    return next;
  }

  #removePending(queue: PartitionQueue, drop: (index: number) => boolean, reason: unknown): void {
    const { pending } = queue;
    queue.pending = pending.without(drop);
    for (const [index, reject] of pending.rejects.entries()) if (drop(index)) reject?.(reason);
    this.#buffered -= pending.sizeBytes - queue.pending.sizeBytes;
    this.#answered(pending.messages.length - queue.pending.messages.length);
  }

  #expireFlight(queue: PartitionQueue, flight: Flight, now: number): number {
    const { deadlines, rejects } = flight.content;
    let next = Number.POSITIVE_INFINITY;
    let error: TenonError | undefined;
    for (let index = 0; index < rejects.length; index += 1) {
      if (rejects[index] !== undefined && deadlines[index]! > now) next = Math.min(next, deadlines[index]!);
    }
    // For whoever still waits the batch is sent again, as it is.
    const mayBeStored = flight.unknown || flight.attempting || next !== Number.POSITIVE_INFINITY;
    for (let index = 0; index < rejects.length; index += 1) {
      if (rejects[index] !== undefined && deadlines[index]! <= now) {
        error ??= publishTimedOut(this.#options.topic, queue.partition, mayBeStored);
        flight.dismiss(index, error);
        this.#answered(1);
      }
    }
    return next;
  }

  #watch(signal: AbortSignal, promise: Promise<Receipt>, message: NewMessage): void {
    const abort = (): void => this.#abort(message, signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    const done = (): void => signal.removeEventListener("abort", abort);
    promise.then(done, done);
  }

  #abort(message: NewMessage, reason: unknown): void {
    let dropped = 0;
    this.#waiting.remove((waiter) => {
      if (waiter.message !== message) return false;
      waiter.reject?.(reason);
      waiter.reject = undefined;
      dropped += 1;
      return true;
    });
    this.#answered(dropped);
    for (const queue of this.#queues) {
      const { messages } = queue.pending;
      if (messages.includes(message)) this.#removePending(queue, (index) => messages[index] === message, reason);
      const { flight } = queue;
      const index = flight?.content.messages.indexOf(message) ?? -1;
      if (flight !== undefined && index >= 0) {
        flight.dismiss(index, reason);
        this.#answered(1);
      }
    }
    this.#admit();
  }

  #pause(attempt: number, signal: AbortSignal): Promise<void> {
    const { timers, random } = this.#options.world;
    return timers.sleep(engineBackoffMs(attempt, random.float()), { signal }).catch(() => {});
  }
}
