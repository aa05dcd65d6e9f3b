import type { TenonError } from "../contracts/errors.ts";
import type { Batch, Lane, NewMessage, Stored } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import type { Delivery } from "./delivery.ts";
import { engineBackoffMs } from "./engine-backoff.ts";
import { asTenonError } from "./failures.ts";
import { deadTopicOf, retryTopicOf } from "./names.ts";
import { type Move, Progress } from "./progress.ts";

/** What writing a lane's progress needs of the lane's worker. */
export interface CommitHost {
  readonly world: World;
  readonly lane: Lane;
  /** The topic and group that the user named. */
  readonly topic: string;
  readonly group: string;
  readonly hasEnded: boolean;
  /** So many settled messages are worth a commit of their own, whatever else is about to end. */
  readonly commitCount: number;
  /** It is durable. */
  written(taken: Progress): void;
  /** No commit is under way any more. */
  commitsPaused(): void;
  /** A message that can neither be handled nor be copied. */
  cannotCopy(delivery: Delivery, failure: TenonError): void;
  commitFailed(failure: TenonError): void;
  laneLost(): void;
  engineClosed(failure: TenonError): void;
  /** Before the same commit is tried again; ends early when the lane does. */
  sleep(ms: number): Promise<void>;
}

const deferMovesMs = 1_000;

/** Writes what happened in a lane, one commit at a time; what happens meanwhile forms the next one. */
export class LaneCommits {
  readonly #host: CommitHost;
  #progress = new Progress();
  #scheduled = false;
  /** What had gathered when it was looked at last. */
  #gathered = 0;
  #committing = false;
  #movesMax = Number.POSITIVE_INFINITY;
  /** Copies that the engine takes no more of now; `undefined` while it takes them. */
  #deferred: Move[] | undefined;
  readonly #sequences = { dead: 0, retry: 0 };

  constructor(host: CommitHost) {
    this.#host = host;
  }

  /** Nothing is left to be written. */
  get isIdle(): boolean {
    return !this.#committing && this.#progress.isEmpty && this.#deferred === undefined;
  }

  /** One that counts against the prefetch, with so many bytes. */
  settleCounted(stored: Stored, bytes: number): void {
    const { countedSettled } = this.#progress;
    countedSettled.count += 1;
    countedSettled.bytes += bytes;
    this.settle(stored);
  }

  settle(stored: Stored): void {
    this.#progress.settled.add(stored);
    this.#schedule();
  }

  record(delivery: Delivery): void {
    this.#progress.records.push(delivery);
    this.#schedule();
  }

  move(move: Move): void {
    (this.#deferred ?? this.#progress.moves).push(move);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#committing || this.#host.hasEnded) return;
    this.#scheduled = true;
    this.#gathered = 0;
    queueMicrotask(this.#gather);
  }

  /**
   * Handlers that end together start others, which may end at once, too. As long as more is settled with every hop they share a commit: else the first few go alone, and
   * everything after them waits for the engine's answer. Half the prefetch goes in any case, so that one half is recorded while the other is handled.
   */
  readonly #gather = (): void => {
    const { length } = this.#progress.settled;
    if (length > this.#gathered && length < this.#host.commitCount && !this.#committing) {
      this.#gathered = length;
      queueMicrotask(this.#gather);
      return;
    }
    this.#scheduled = false;
    if (!this.#committing) void this.#loop();
  };

  async #loop(): Promise<void> {
    this.#committing = true;
    while (!this.#progress.isEmpty && !this.#host.hasEnded) {
      const taken = this.#progress.take(this.#movesMax);
      if (!(await this.#write(taken))) continue;
      if (taken.moves.length > 0) this.#moved(taken);
      this.#host.written(taken);
    }
    this.#committing = false;
    this.#host.commitsPaused();
  }

  #moved(taken: Progress): void {
    this.#movesMax = Number.POSITIVE_INFINITY;
    for (const { target } of taken.moves) this.#sequences[target] += 1;
  }

  /** Repeats the same change until it is durable; `false` when it is not written, and never will be in this form. */
  async #write(taken: Progress): Promise<boolean> {
    const host = this.#host;
    const { topic, group, partition } = host.lane;
    const change = taken.change((target, messages) => this.#batch(target, messages));
    for (let attempt = 0; ; attempt += 1) {
      try {
        await host.lane.commit(change);
        return !host.hasEnded;
      } catch (error) {
        if (host.hasEnded) return false;
        const failure = asTenonError(
          error,
          `Committing progress of topic "${topic}", group "${group}", partition ${partition} failed.`,
        );
        if (failure.code === "lost" || failure.code === "closed") {
          if (failure.code === "lost") host.laneLost();
          else host.engineClosed(failure);
          return false;
        }
        host.commitFailed(failure);
        const refused = failure.outcome === "not-applied" && failure.code !== "unavailable";
        if (refused && taken.moves.length > 0) {
          this.#putBack(taken, failure);
          return false;
        }
        await host.sleep(engineBackoffMs(attempt, host.world.random.float()));
      }
    }
  }

  #batch(target: Move["target"], messages: readonly NewMessage[]): Batch {
    const { topic, group, lane } = this.#host;
    return {
      topic: target === "dead" ? deadTopicOf(topic, group) : retryTopicOf(topic, group),
      partition: target === "dead" ? 0 : lane.partition,
      messages,
      // The grant as the epoch: a commit that is repeated stores its copies once, and an older grant's no more.
      producer: {
        id: `${lane.topic === topic ? "lane" : "retry-lane"}-${lane.partition}`,
        epoch: Number(lane.fence),
        sequence: this.#sequences[target],
      },
    };
  }

  /** The engine takes no more copies now (a full disk): what needs none goes on, the copies are tried again later. */
  #putBack(taken: Progress, failure: TenonError): void {
    const current = this.#progress;
    current.settled.addAll(taken.settled.positions);
    current.countedSettled.count += taken.countedSettled.count;
    current.countedSettled.bytes += taken.countedSettled.bytes;
    current.records = taken.records.concat(current.records);
    if (failure.code !== "overloaded" && taken.moves.length === 1) {
      // This very copy cannot be stored. The message is never dropped for it: it stays, and is tried again now and then.
      this.#host.cannotCopy(taken.moves[0]!.delivery, failure);
      return;
    }
    this.#movesMax = 1;
    this.#deferred = taken.moves.concat(current.moves);
    current.moves = [];
    this.#host.world.timers.schedule(deferMovesMs, () => {
      current.moves.push(...(this.#deferred ?? []));
      this.#deferred = undefined;
      this.#schedule();
    });
  }
}
