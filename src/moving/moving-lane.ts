import { isCode } from "../contracts/errors.ts";
import type { Batch, Lane, LaneCommit, Stored } from "../contracts/messages.ts";
import { isUnknown } from "./failures.ts";

/** Where that goes which a lane's commits append. */
export interface AppendRoutes {
  /** The batches as the lane's own engine takes them, when all of their topics are there. */
  readonly direct: (appends: readonly Batch[]) => readonly Batch[] | undefined;
  /** Stores a batch, wherever its topic is. */
  readonly elsewhere: (batch: Batch) => Promise<unknown>;
  /** The lane's own engine has not said whether it has stored them. */
  readonly inDoubt: (appends: readonly Batch[]) => void;
}

export interface LaneParts {
  readonly lane: Lane;
  /** Added to the fences of the engine that it is on. */
  readonly fence: bigint;
  readonly appends: AppendRoutes;
  readonly ended: () => void;
}

/** A lane of one of both engines, which is asked back when its topic leaves. */
export class MovingLane implements Lane {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly fence: bigint;
  readonly revoked: AbortSignal;
  readonly lost: AbortSignal;
  readonly held: Lane["held"];
  readonly suspectBelow: bigint;
  readonly #lane: Lane;
  readonly #appends: AppendRoutes;
  readonly #ended: () => void;
  readonly #revoke = new AbortController();
  /** Commits with appends store these first; what is committed after them waits behind. */
  #before: Promise<unknown> | undefined;

  constructor({ lane, fence, appends, ended }: LaneParts) {
    this.topic = lane.topic;
    this.group = lane.group;
    this.partition = lane.partition;
    this.fence = lane.fence + fence;
    this.lost = lane.lost;
    this.held = lane.held;
    this.suspectBelow = lane.suspectBelow;
    this.#lane = lane;
    this.#appends = appends;
    this.#ended = ended;
    this.revoked = this.#revoke.signal;
    whenAborted(lane.revoked, () => this.revoke(lane.revoked.reason));
    whenAborted(lane.lost, ended);
  }

  /** Asks it back. */
  revoke(reason: unknown): void {
    this.#revoke.abort(reason);
  }

  fetch(limit: number, options?: { readonly signal?: AbortSignal | undefined }): Promise<readonly Stored[]> {
    return this.#lane.fetch(limit, options);
  }

  /** In one change where everything is on one engine; otherwise what is appended is stored before. */
  async commit({ appends = [], ...change }: LaneCommit): Promise<void> {
    const direct = this.#before === undefined || this.lost.aborted ? this.#appends.direct(appends) : undefined;
    if (direct !== undefined) {
      try {
        return await this.#lane.commit({ ...change, appends: direct });
      } catch (error) {
        if (isUnknown(error)) this.#appends.inDoubt(appends);
        // One of the topics has just been sealed, to leave.
        if (appends.length === 0 || !isCode(error, "denied")) throw error;
      }
    }
    await this.#commitApart(appends, change);
  }

  async #commitApart(appends: readonly Batch[], change: Omit<LaneCommit, "appends">): Promise<void> {
    const stored = this.#stored(appends);
    this.#before = stored;
    const forget = (): void => {
      if (this.#before === stored) this.#before = undefined;
    };
    stored.then(forget, forget);
    await stored;
    await this.#lane.commit(change);
  }

  /** In the order of the calls, whatever becomes of the former ones. */
  async #stored(appends: readonly Batch[]): Promise<void> {
    await this.#before?.catch(() => undefined);
    for (const batch of appends) await this.#appends.elsewhere(batch);
  }

  async release(): Promise<void> {
    await this.#lane.release();
    this.#ended();
  }
}

function whenAborted(signal: AbortSignal, then: () => void): void {
  if (signal.aborted) then();
  else signal.addEventListener("abort", then, { once: true });
}
