import { TenonError } from "../contracts/errors.ts";
import type { Held, Lane, MessageHeaders, NewMessage, Stored } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { carriedFailures, Delivery, sizeOf } from "./delivery.ts";
import { engineBackoffMs } from "./engine-backoff.ts";
import { asTenonError, describeError } from "./failures.ts";
import type { HeaderPredicate } from "./filter.ts";
import { groupHeader } from "./headers.ts";
import { KeyOrder } from "./key-order.ts";
import { type CommitHost, LaneCommits } from "./lane-commits.ts";
import type { LaneLosses } from "./loss-detector.ts";
import { Prefetched, type PrefetchLimits } from "./prefetched.ts";
import type { Move, Progress } from "./progress.ts";

/** What a lane needs of the consumer that it belongs to. */
export interface LaneHost extends PrefetchLimits {
  readonly world: World;
  /** The topic and group that the user named; a lane of the retry topic belongs to them too. */
  readonly topic: string;
  readonly group: string;
  /** How many entries the lane can hold. */
  readonly heldMax: number;
  readonly retryDelayMsMax: number;
  readonly drainTimeoutMs: number;
  /** What the group does not handle fails it; `undefined` when it handles everything. */
  readonly passes: HeaderPredicate | undefined;
  /** What looks for lost messages in a lane; `undefined` when nothing does. */
  losses(lane: Lane): LaneLosses | undefined;
  /** The message's turn has come in its key. */
  ready(delivery: Delivery): void;
  /** Its delivery has been recorded and may be made. */
  recorded(delivery: Delivery): void;
  /** Its failure has been recorded: `ready` when it is due. */
  retryWhenDue(delivery: Delivery): void;
  /** The turn of a message has come whose batch is over. */
  turnCame(delivery: Delivery): void;
  /** Aborts the running handlers of a lane; their outcomes do not matter any more. */
  abandonLane(worker: LaneWorker, reason: TenonError): readonly Delivery[];
  /** Makes what is ready. */
  pump(): void;
  /** The engine has closed. */
  engineClosed(error: TenonError): void;
  laneEnded(worker: LaneWorker): void;
}

type State =
  /** Delivers. */
  | "active"
  /** Delivers nothing more; waits for what runs and commits it. */
  | "draining"
  /** Waits for the last commit only; what still runs is given up. */
  | "closing"
  | "ended";

/** How long a released lane's last commit may take to be repeated when the engine fails. */
const lastCommitMs = 5_000;
const noHeaders: MessageHeaders = Object.freeze({});

/** One lane under one grant: fetches, keeps the order per key, and commits what was settled, one commit at a time. */
export class LaneWorker implements CommitHost {
  readonly lane: Lane;
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly commitCount: number;
  /** Whether a former owner may have died with something: few lanes begin so, and a position is made when it is asked for. */
  readonly hasSuspects: boolean;
  readonly #host: LaneHost;
  #state: State = "active";
  /** Handlers that run, and deliveries that are being recorded. */
  running = 0;
  recording = 0;
  #deliveries = 0;
  readonly #keys = new KeyOrder<Delivery>();
  readonly #heldBefore: Map<bigint, Held>;
  readonly #prefetched: Prefetched;
  /** Entries that the lane has, or is getting. */
  #held: number;
  readonly #commits: LaneCommits;
  readonly #losses: LaneLosses | undefined;
  readonly #passes: HeaderPredicate | undefined;
  readonly #stopFetch = new AbortController();
  readonly #end = new AbortController();
  /** What waits while nothing is delivered; `undefined` while something is. */
  #parked: Delivery[] | undefined;
  #wakeFetch: (() => void) | undefined;
  #wakeDrain: (() => void) | undefined;
  #drain: Promise<void> | undefined;

  constructor(lane: Lane, host: LaneHost) {
    this.lane = lane;
    this.hasSuspects = lane.suspectBelow > 0n;
    this.#host = host;
    this.world = host.world;
    this.topic = host.topic;
    this.group = host.group;
    // With half of what is fetched committed, the next half is fetched.
    this.commitCount = Math.ceil(host.prefetch / 2);
    this.#prefetched = new Prefetched(host);
    this.#commits = new LaneCommits(this);
    this.#losses = host.losses(lane);
    this.#passes = host.passes;
    this.#held = lane.held.length;
    this.#heldBefore = new Map(lane.held.map((held) => [held.position, held]));
  }

  start(): void {
    whenAborted(this.lane.lost, () => this.laneLost());
    whenAborted(this.lane.revoked, () => void this.drain(this.#host.drainTimeoutMs));
    void this.#fetchLoop();
  }

  get isActive(): boolean {
    return this.#state === "active";
  }

  /** Whether outcomes of handlers still count. */
  get takesOutcomes(): boolean {
    return this.#state === "active" || this.#state === "draining";
  }

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  /** The number of the next delivery in this grant, which is the lower half of its fence. */
  nextDelivery(): number {
    this.#deliveries += 1;
    // Before the numbers end, the lane is given back: the next grant starts anew under a greater fence.
    if (this.#deliveries === 0xffff_ff00) void this.drain(this.#host.drainTimeoutMs);
    return this.#deliveries;
  }

  // What became of a message ------------------------------------------------------------------------------------------

  settle(delivery: Delivery): void {
    delivery.state = "over";
    this.#forget(delivery);
    if (delivery.counted) this.#commits.settleCounted(delivery.stored, delivery.bytes);
    else this.#commits.settle(delivery.stored);
    this.#advance(delivery);
  }

  /** Its failure is recorded; its key waits, and nothing that waits with it counts against the prefetch. */
  holdBack(delivery: Delivery, dueAt: number): void {
    delivery.state = "failed";
    delivery.recorded = 0;
    delivery.dueAt = dueAt;
    for (let waiting: Delivery | undefined = delivery; waiting !== undefined; waiting = waiting.behind) {
      this.#countNoMore(waiting);
      // Handled in a batch with one that failed before it: what was decided for it does not count, and it is handled again.
      if (waiting.state === "decided") waiting.state = "queued";
      waiting.decision = undefined;
    }
    this.#remember(delivery);
    this.#wakeFetchIfRoom();
  }

  /** Stores it elsewhere and settles it here, in one commit. Its key goes on when that is durable. */
  move(delivery: Delivery, target: Move["target"], message: NewMessage): void {
    delivery.state = "over";
    this.#forget(delivery);
    this.#commits.move({ delivery, target, message });
  }

  /** Records a delivery before it is made. */
  record(delivery: Delivery): void {
    delivery.state = "recording";
    delivery.recorded += 1;
    this.running += 1;
    this.recording += 1;
    this.#remember(delivery);
  }

  #remember(delivery: Delivery): void {
    if (!delivery.held) this.#held += 1;
    delivery.held = true;
    this.#commits.record(delivery);
  }

  #forget(delivery: Delivery): void {
    if (delivery.held) this.#held -= 1;
    delivery.held = false;
  }

  /** A recorded delivery was not made, or was ended by us: the next owner must not suspect the message for it. */
  takeBack(delivery: Delivery): void {
    if (delivery.recorded === 0) return;
    delivery.recorded -= 1;
    this.#commits.record(delivery);
  }

  /** A handler is over, whatever came of it. */
  handlerEnded(): void {
    this.running -= 1;
    if (this.running === 0) this.#wakeDrain?.();
  }

  // Pausing -----------------------------------------------------------------------------------------------------------

  get isPaused(): boolean {
    return this.#parked !== undefined;
  }

  /** Nothing more is fetched, and what was fetched already waits here. */
  pause(): void {
    this.#parked ??= [];
  }

  resume(): void {
    const parked = this.#parked;
    this.#parked = undefined;
    for (const delivery of parked ?? []) this.#host.ready(delivery);
    this.#wake();
    this.#host.pump();
  }

  /** Its turn has come while nothing is delivered. */
  park(delivery: Delivery): void {
    delivery.state = "queued";
    if (this.#parked === undefined) this.#host.ready(delivery);
    else this.#parked.push(delivery);
  }

  // Fetching ----------------------------------------------------------------------------------------------------------

  async #fetchLoop(): Promise<void> {
    const options = { signal: this.#stopFetch.signal };
    let failures = 0;
    if (this.#losses !== undefined) await this.#losses.begin(this.#stopFetch.signal);
    while (this.#state === "active") {
      const room = this.#room();
      if (room <= 0 || this.isPaused) {
        await new Promise<void>((resolve) => {
          this.#wakeFetch = resolve;
        });
        continue;
      }
      try {
        const messages = await this.lane.fetch(room, options);
        failures = 0;
        if (this.#state !== "active") return;
        for (const message of messages) this.#accept(message);
        this.#host.pump();
      } catch (error) {
        if (this.#state !== "active" || this.lane.lost.aborted) return;
        const failure = asTenonError(error, `Fetching from ${this.#place()} failed.`);
        if (failure.code === "lost") return this.laneLost();
        if (failure.code === "closed") return this.#host.engineClosed(failure);
        this.#log("warn", "fetching failed; it is repeated", failure);
        await this.sleep(engineBackoffMs(failures, this.world.random.float()));
        failures += 1;
      }
    }
  }

  /** Whatever is fetched may fail, and then the lane must be able to hold it. */
  #room(): number {
    return Math.min(this.#prefetched.room, this.#host.heldMax - this.#held - this.#prefetched.count);
  }

  #accept(stored: Stored): void {
    if (this.#losses !== undefined) this.#losses.saw(stored);
    const held = this.#heldBefore.size === 0 ? undefined : this.#heldBefore.get(stored.position);
    if (held !== undefined) this.#heldBefore.delete(stored.position);
    else if (this.#passes !== undefined && this.#isFilteredOut(stored, this.#passes)) {
      const bytes = sizeOf(stored);
      this.#prefetched.add(bytes);
      this.#commits.settleCounted(stored, bytes);
      return;
    }
    const failures = held === undefined ? carried(stored) : held.failures;
    const delivery = new Delivery(this, stored, failures, held?.deliveries ?? 0, held?.dueAt ?? 0);
    delivery.held = held !== undefined;
    if (stored.key !== undefined) {
      const before = this.#keys.enter(stored.key, delivery);
      if (before !== undefined) {
        // Behind a message that waits for its retry it waits as long, whatever the prefetch is.
        delivery.counted = before.counted;
        if (delivery.counted) this.#prefetched.add(delivery.bytes);
        return;
      }
    }
    this.#prefetched.add(delivery.bytes);
    this.#goes(delivery);
  }

  /**
   * Whether the group's filter leaves it out. What the group has begun with goes on whatever the filter is now: what is held, waits for its
   * retry in the retry topic, or was redriven.
   */
  #isFilteredOut({ headers = noHeaders }: Stored, passes: HeaderPredicate): boolean {
    return this.lane.topic === this.topic && headers[groupHeader] === undefined && !passes(headers);
  }

  /** Its turn has come. */
  #goes(delivery: Delivery): void {
    if (this.isForOthers(delivery.stored)) this.settle(delivery);
    else this.#goesHere(delivery);
  }

  #goesHere(delivery: Delivery): void {
    if (delivery.dueAt > 0 && delivery.dueAt > this.world.clock.now()) {
      delivery.state = "failed";
      this.#countNoMore(delivery);
      this.#host.retryWhenDue(delivery);
    } else {
      this.#host.ready(delivery);
    }
  }

  /** It counts again: its retry is due. */
  countAgain(delivery: Delivery): void {
    if (delivery.counted) return;
    delivery.counted = true;
    this.#prefetched.add(delivery.bytes);
  }

  #countNoMore(delivery: Delivery): void {
    if (delivery.counted) this.#prefetched.remove(delivery.bytes);
    delivery.counted = false;
  }

  #advance(delivery: Delivery): void {
    if (delivery.queue === undefined) return;
    let next = this.#keys.leave(delivery);
    if (next?.state === "decided") {
      this.#host.turnCame(next);
      return;
    }
    if (!this.takesOutcomes) return;
    while (next !== undefined) {
      this.countAgain(next);
      if (!this.isForOthers(next.stored)) {
        this.#goesHere(next);
        return;
      }
      // A loop, for there may be thousands of them.
      next.state = "over";
      this.#forget(next);
      this.#commits.settleCounted(next.stored, next.bytes);
      next = this.#keys.leave(next);
    }
  }

  /** Redriven for another group. */
  isForOthers(stored: Stored): boolean {
    const group = stored.headers?.[groupHeader];
    return group !== undefined && group !== this.#host.group;
  }

  #wakeFetchIfRoom(): void {
    if (this.#wakeFetch !== undefined && this.#prefetched.isLow && this.#room() > 0) this.#wake();
  }

  #wake(): void {
    this.#wakeFetch?.();
    this.#wakeFetch = undefined;
  }

  // Committing --------------------------------------------------------------------------------------------------------

  written(taken: Progress): void {
    this.#prefetched.removeAll(taken.countedSettled);
    for (const { delivery } of taken.moves) {
      if (delivery.counted) this.#prefetched.remove(delivery.bytes);
      this.#advance(delivery);
    }
    for (const delivery of taken.records) {
      if (delivery.state === "recording") {
        this.recording -= 1;
        this.#host.recorded(delivery);
      } else if (delivery.state === "failed") this.#host.retryWhenDue(delivery);
      else if (delivery.state === "returning" && this.isActive) this.park(delivery);
    }
    this.#wakeFetchIfRoom();
    this.#host.pump();
  }

  commitsPaused(): void {
    this.#wakeDrain?.();
  }

  cannotCopy(delivery: Delivery, failure: TenonError): void {
    const message = "a message can neither be handled nor be copied to the dead letters; it is kept";
    this.#log("error", message, failure, delivery);
    this.holdBack(delivery, this.world.clock.now() + this.#host.retryDelayMsMax);
  }

  commitFailed(failure: TenonError): void {
    this.#log("warn", "committing progress failed; it is repeated", failure);
  }

  engineClosed(failure: TenonError): void {
    this.#host.engineClosed(failure);
  }

  laneLost(): void {
    if (this.#state === "ended") return;
    this.end(new TenonError("lost", `The lane of ${this.#place()} has passed to another member of the group.`));
  }

  sleep(ms: number): Promise<void> {
    return this.world.timers.sleep(ms, { signal: this.#end.signal }).catch(() => {});
  }

  // The end -----------------------------------------------------------------------------------------------------------

  /** Delivers nothing more, lets handlers finish, commits what they settled, and gives the lane back. */
  drain(timeoutMs: number): Promise<void> {
    if (this.#state === "ended") return this.#drain ?? Promise.resolve();
    this.#drain ??= this.#finish(timeoutMs);
    return this.#drain;
  }

  async #finish(timeoutMs: number): Promise<void> {
    this.#state = "draining";
    this.#stopFetching();
    await this.#until(() => this.running === 0, timeoutMs);
    if (this.hasEnded) return;
    this.#state = "closing";
    this.#giveUpRunning();
    await this.#until(() => this.#commits.isIdle, lastCommitMs);
    if (!this.hasEnded) await this.#release();
  }

  #giveUpRunning(): void {
    const reason = new TenonError(
      "closed",
      `The consumer of ${this.#place()} gave its lane back before the handler ended.`,
    );
    for (const delivery of this.#host.abandonLane(this, reason)) this.takeBack(delivery);
  }

  async #release(): Promise<void> {
    this.#state = "ended";
    this.#end.abort();
    try {
      await this.lane.release();
    } catch (error) {
      this.#log("warn", "giving the lane back failed; it passes on when the session ends", error);
    }
    this.#host.laneEnded(this);
  }

  /** Ends at once: nothing more can be committed. */
  end(reason: TenonError): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#stopFetching();
    this.#end.abort();
    this.#host.abandonLane(this, reason);
    this.#wakeDrain?.();
    this.#host.laneEnded(this);
  }

  #stopFetching(): void {
    this.#stopFetch.abort();
    this.#losses?.end();
    this.#wake();
  }

  async #until(done: () => boolean, timeoutMs: number): Promise<void> {
    let late = false;
    const cancel = this.world.timers.schedule(timeoutMs, () => {
      late = true;
      this.#wakeDrain?.();
    });
    while (!late && this.#state !== "ended" && !done()) {
      await new Promise<void>((resolve) => {
        this.#wakeDrain = resolve;
      });
    }
    this.#wakeDrain = undefined;
    cancel();
  }

  #place(): string {
    return `topic "${this.lane.topic}", group "${this.lane.group}", partition ${this.lane.partition}`;
  }

  #log(level: "warn" | "error", message: string, error: unknown, delivery?: Delivery): void {
    const { topic, group, partition } = this.lane;
    const position = delivery?.stored.position;
    this.world.log.log(level, message, { topic, group, partition, position, error: describeError(error) });
  }
}

/** Copies carry the failures that they had; messages with no headers are the common case. */
function carried(stored: Stored): number {
  return stored.headers === undefined ? 0 : carriedFailures(stored);
}

function whenAborted(signal: AbortSignal, then: () => void): void {
  if (signal.aborted) then();
  else signal.addEventListener("abort", then, { once: true });
}
