import { isCode, TenonError } from "../contracts/errors.ts";
import type { JoinOptions, Lane, Membership } from "../contracts/messages.ts";
import type { MessagingEngine } from "./engines.ts";
import { unlessClosed } from "./failures.ts";
import { joinedSignal } from "./joined-signal.ts";
import { type AppendRoutes, MovingLane } from "./moving-lane.ts";
import type { TopicPlace } from "./topic-place.ts";

export interface MembershipParts {
  readonly place: TopicPlace;
  readonly to: MessagingEngine;
  readonly group: string;
  readonly options: JoinOptions;
  /** For a lane on the engine that the topic leaves, or on the one where it arrives. */
  readonly appends: (departs: boolean) => AppendRoutes;
}

/** Where the member is, for as long as the topic is there. */
interface Stay {
  readonly membership: Membership;
  /** Added to the fences of its lanes. */
  readonly fence: bigint;
  /** Aborts when the topic leaves. */
  readonly over: AbortSignal;
}

const never = new AbortController().signal;
const rejoinMs = 250;

/**
 * A member of a group on the engine where the topic is. When the topic leaves, the member lets its handlers finish, leaves, waits until the group's progress has been
 * carried over, and joins again on the other engine.
 */
export class MovingMembership implements Membership {
  readonly #parts: MembershipParts;
  readonly #lanes = new Set<MovingLane>();
  readonly #left = new AbortController();
  #stay: Stay | undefined;
  /** Under way to the other engine. */
  #crossing: Promise<Stay> | undefined;
  #unwatch: () => void = () => undefined;
  #lanesOver: (() => void) | undefined;

  private constructor(parts: MembershipParts) {
    this.#parts = parts;
  }

  /** On the engine that the topic may leave. */
  static departing(parts: MembershipParts, membership: Membership): MovingMembership {
    const member = new MovingMembership(parts);
    const over = new AbortController();
    member.#stay = { membership, fence: 0n, over: over.signal };
    member.#unwatch = parts.place.watch(() => {
      member.#cross(membership);
      over.abort();
    });
    return member;
  }

  static onItsWay(parts: MembershipParts): MovingMembership {
    const member = new MovingMembership(parts);
    member.#cross();
    return member;
  }

  static arrived(parts: MembershipParts, membership: Membership): MovingMembership {
    const member = new MovingMembership(parts);
    member.#stay = { membership, fence: parts.place.fence, over: never };
    return member;
  }

  async nextLane({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<Lane> {
    for (;;) {
      signal?.throwIfAborted();
      const stay = this.#crossing === undefined ? this.#stay! : await unless(signal, this.#crossing);
      const lane = await grantOf(stay, signal);
      if (lane === undefined) continue;
      if (await this.#isHere(lane, stay, signal)) return this.#taken(lane, stay);
      // Granted as the topic left.
      await lane.release().catch(() => undefined);
    }
  }

  /**
   * Whether the topic is still there now that the lane is granted. A member that hears nothing for a while, and whose session ends meanwhile, is a member anew before it looks where the
   * topic is: the group's progress may have been carried over in between.
   */
  async #isHere(lane: Lane, { over }: Stay, signal: AbortSignal | undefined): Promise<boolean> {
    const { place, to } = this.#parts;
    while (over !== never && !over.aborted && !lane.lost.aborted) {
      const stage = await place.lookAnew().catch(unlessClosed);
      if (stage !== undefined) return !over.aborted && stage !== "copied" && stage !== "moved";
      await to.world.timers.sleep(rejoinMs, { signal }).catch(() => undefined);
      if (signal?.aborted) return false;
    }
    return over === never;
  }

  async leave(): Promise<void> {
    this.#end();
    await this.#stay?.membership.leave();
  }

  async abandon(): Promise<void> {
    this.#end();
    const membership = this.#stay?.membership;
    await (membership?.abandon === undefined ? membership?.leave() : membership.abandon());
  }

  #end(): void {
    this.#unwatch();
    const { place, group } = this.#parts;
    this.#left.abort(new TenonError("closed", `the member has left group ${group} of topic ${place.name}; join anew`));
  }

  #taken(lane: Lane, { fence, over }: Stay): MovingLane {
    const ended = (): void => {
      this.#lanes.delete(moving);
      if (this.#lanes.size === 0) this.#lanesOver?.();
    };
    const moving = new MovingLane({ lane, fence, appends: this.#parts.appends(over !== never), ended });
    if (!lane.lost.aborted) this.#lanes.add(moving);
    return moving;
  }

  #cross(former?: Membership): void {
    this.#crossing = this.#crossed(former);
    // It is looked at when the next lane is asked for.
    this.#crossing.catch(() => undefined);
  }

  async #crossed(former: Membership | undefined): Promise<Stay> {
    for (const lane of this.#lanes) lane.revoke(new TenonError("lost", `topic ${this.#parts.place.name} leaves`));
    await this.#lanesReleased();
    // If it fails, the session ends by itself.
    await former?.leave().catch(() => undefined);
    await this.#parts.place.moved(this.#left.signal);
    const membership = await this.#joined();
    const stay: Stay = { membership, fence: this.#parts.place.fence, over: never };
    this.#stay = stay;
    this.#crossing = undefined;
    if (!this.#left.signal.aborted) return stay;
    await membership.leave();
    throw this.#left.signal.reason;
  }

  /** Whatever is not released in time goes on to the next owner, as a lane that is asked back does. */
  async #lanesReleased(): Promise<void> {
    if (this.#lanes.size === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#lanesOver = resolve;
    const cancel = this.#parts.to.world.timers.schedule(this.#parts.options.revokeMs, resolve);
    this.#left.signal.addEventListener("abort", () => resolve(), { once: true });
    await promise;
    cancel();
  }

  async #joined(): Promise<Membership> {
    const { place, to, group, options } = this.#parts;
    for (;;) {
      try {
        // Where the group stands was carried over; where it was to start no longer matters.
        return await to.messages.join(place.name, group, { ...options, from: undefined });
      } catch (error) {
        if (isCode(error, "closed", "not-found", "invalid")) throw error;
        await to.world.timers.sleep(rejoinMs, { signal: this.#left.signal });
      }
    }
  }
}

/** The next lane; `undefined` when the topic leaves meanwhile. */
async function grantOf({ membership, over }: Stay, signal: AbortSignal | undefined): Promise<Lane | undefined> {
  if (over.aborted) return undefined;
  using ends = signal === undefined ? joinedSignal(over) : joinedSignal(over, signal);
  try {
    return await membership.nextLane({ signal: ends.signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (over.aborted) return undefined;
    throw error;
  }
}

/** Waits for the work, or rejects with the signal's reason. */
async function unless<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return await work;
  const { promise, reject } = Promise.withResolvers<never>();
  const abort = (): void => reject(signal.reason);
  signal.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", abort);
  }
}
