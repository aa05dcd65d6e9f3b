import { TenonError } from "../../contracts/errors.ts";
import type { JoinOptions, Lane, Membership, MessageCapabilities, SeekTarget } from "../../contracts/messages.ts";
import type { Cancel, World } from "../../world/world.ts";
import { ephemeralTaken, groupNotFound, topicNotFound } from "./errors.ts";
import { type LaneHost, LaneOwner } from "./lane-owner.ts";
import { LaneQueue } from "./lane-queue.ts";
import type { Grant, Joined, LaneNews, LaneStore, Refused, Report } from "./lane-store.ts";
import { MemberSession } from "./member-session.ts";

export interface MemberHost {
  readonly world: World;
  readonly capabilities: MessageCapabilities;
}

export interface Joining {
  readonly group: string;
  readonly options: JoinOptions;
  /** Where the group starts when it is made; it has been checked. */
  readonly from: SeekTarget;
  /** Called once, when the member is no member any more. */
  readonly left: (member: Member) => void;
}

/** How soon something that failed is tried again, at first and at most. */
const retryMs = 50;
const retryMsMax = 1_000;

interface Granted {
  readonly fence: number;
  /** `undefined` while what is to be known of the lane is being asked for. */
  owner: LaneOwner | undefined;
  revoked: boolean;
}

/**
 * A member of a group. What it is granted stands in the store; it looks there whenever somebody says that something changed, before its session ends, and
 * when something is due, and then makes what is here the same as what is there.
 */
export class Member implements Membership, LaneHost {
  readonly capabilities: MessageCapabilities;
  readonly world: World;
  readonly server: string;
  readonly windowMax: number;
  readonly #store: LaneStore;
  readonly #joining: Joining;
  readonly #lanes = new Map<number, Granted>();
  /** By partition, the last grant that ended here, and how. An answer that is older than its end, or than what the store heard of it, may still name it. */
  readonly #endings = new Map<number, { readonly fence: number; readonly orderly: boolean }>();
  readonly #granted = new LaneQueue();
  readonly #session: MemberSession;
  #id: string;
  #joinedOnce = false;
  /** Negative while it is no member: before it joined, and between two sessions. */
  #group = -1;
  #ended: TenonError | undefined;
  #looking = false;
  #lookAgain = false;
  #failures = 0;
  #cancelLook: Cancel | undefined;
  #unlisten: (() => Promise<void>) | undefined;
  #leaving: Promise<void> | undefined;

  constructor(host: MemberHost, store: LaneStore, joining: Joining) {
    this.capabilities = host.capabilities;
    this.world = host.world;
    this.server = store.server;
    this.#store = store;
    this.windowMax = joining.options.windowMax;
    this.#joining = joining;
    this.#id = host.world.random.uuid();
    this.#session = new MemberSession(host.world, joining.options.sessionMs, () => this.#sessionOver());
  }

  /** Joins the group. Answers `false` when the topic is gone. */
  async join(): Promise<boolean> {
    this.#unlisten = await this.#store.listen((news) => this.#hear(news));
    try {
      const renew = this.#session.renewal();
      const joined = await this.#runJoin(true);
      if (joined.refused === "gone") {
        await this.#stopListening();
        return false;
      }
      if (joined.refused !== undefined) throw this.#refusal(joined);
      this.#group = joined.group;
      this.#joinedOnce = true;
      renew();
      this.#lookIn(this.#take(joined.report));
      return true;
    } catch (error) {
      await this.#stopListening();
      // It may be a member all the same; its lanes must not wait for the end of a session that nobody renews.
      if (!(error instanceof TenonError) || error.outcome === "unknown") this.#runLeave(false).catch(() => undefined);
      throw error;
    }
  }

  #runJoin(mayMake: boolean): Promise<Joined | Refused> {
    const { group, options, from } = this.#joining;
    return this.#store.join({ group, member: this.#id, options, from, mayMake });
  }

  #refusal({ refused }: Refused): TenonError {
    const { group } = this.#joining;
    const { topic } = this.#store;
    switch (refused) {
      case "gone":
        return topicNotFound(topic);
      case "group":
        return groupNotFound(topic, group);
      case "agreement": {
        const text = `the members of group ${group} of topic ${topic} have agreed on something else, such as another filter; stop them first, or take another group`;
        return new TenonError("conflict", text, { fields: { topic, group } });
      }
      default:
        return ephemeralTaken(topic, group);
    }
  }

  // What the user asks for ---------------------------------------------------------------------------------------------

  nextLane(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Lane> {
    return this.#granted.next(options.signal);
  }

  leave(): Promise<void> {
    this.#leaving ??= this.#leave(
      new TenonError("closed", `the member has left group ${this.#joining.group} of topic ${this.#store.topic}`),
    );
    return this.#leaving;
  }

  /** The engine closes. */
  close(reason: TenonError): Promise<void> {
    this.#leaving ??= this.#leave(reason, reason);
    return this.#leaving;
  }

  abandon(): Promise<void> {
    const text = `nobody speaks for a member of group ${this.#joining.group} of topic ${this.#store.topic} any more; its lanes have passed on`;
    this.#leaving ??= this.#leave(new TenonError("closed", text), new TenonError("lost", text), false);
    return this.#leaving;
  }

  async #leave(reason: TenonError, lost?: TenonError, orderly = true): Promise<void> {
    if (this.#ended !== undefined) return;
    const owners = this.#owners();
    this.#end(reason);
    if (lost !== undefined) for (const owner of owners) owner.lose(lost);
    await Promise.all(owners.map((owner) => owner.stop()));
    await this.#runLeave(orderly);
  }

  #runLeave(orderly: boolean): Promise<void> {
    return this.#store.leave(this.#joining.group, this.#id, orderly);
  }

  #owners(): LaneOwner[] {
    return [...this.#lanes.values()].flatMap(({ owner }) => owner ?? []);
  }

  /** No member any more, and never again. */
  #end(reason: TenonError): void {
    this.#ended = reason;
    this.#lanes.clear();
    this.#session.stop();
    this.#cancelLook?.();
    this.#granted.close(reason);
    void this.#stopListening();
    this.#joining.left(this);
  }

  async #stopListening(): Promise<void> {
    const unlisten = this.#unlisten;
    this.#unlisten = undefined;
    await unlisten?.().catch(() => undefined);
  }

  // What lanes ask for -------------------------------------------------------------------------------------------------

  checkSession(): void {
    if (this.#ended === undefined && this.#session.leftMs <= 0) this.#sessionOver();
  }

  async release(lane: LaneOwner, orderly: boolean): Promise<void> {
    this.#forget(lane, orderly);
    await this.#store.release(lane.grant, orderly);
  }

  superseded(lane: LaneOwner): void {
    this.#forget(lane);
    this.#look();
  }

  #forget(lane: LaneOwner, orderly = false): void {
    const held = this.#lanes.get(lane.partition);
    if (held?.owner === lane) this.#drop(lane.partition, held, orderly);
  }

  #drop(partition: number, { fence }: Granted, orderly = false): void {
    this.#lanes.delete(partition);
    this.#endings.set(partition, { fence, orderly });
  }

  // Looking ------------------------------------------------------------------------------------------------------------

  #hear(news: LaneNews): void {
    if (this.#ended !== undefined) return;
    if (news === "missed") {
      for (const owner of this.#owners()) owner.wake();
      this.#look();
    } else if ("group" in news) {
      if (news.group === this.#group) this.#look();
    } else this.#lanes.get(news.partition)?.owner?.wake();
  }

  /** Looks now, or again when it is looking. */
  #look(): void {
    this.#lookAgain = true;
    if (this.#joinedOnce && !this.#looking && this.#ended === undefined) void this.#lookLoop();
  }

  async #lookLoop(): Promise<void> {
    this.#looking = true;
    this.#cancelLook?.();
    let nextMs = 0;
    while (this.#lookAgain && this.#ended === undefined) {
      this.#lookAgain = false;
      try {
        nextMs = await this.#renew();
        this.#failures = 0;
      } catch (error) {
        nextMs = Math.min(retryMs * 2 ** this.#failures, retryMsMax);
        this.#failures += 1;
        this.#lookAgain = false;
        this.#log("renewing a membership failed; it is repeated", error);
      }
    }
    this.#looking = false;
    if (this.#ended === undefined) this.#lookIn(nextMs);
  }

  #lookIn(ms: number): void {
    this.#cancelLook?.();
    this.#cancelLook = this.world.timers.schedule(ms, () => this.#look());
  }

  /** Renews the session and takes what has changed; answers in how many milliseconds to look again. */
  async #renew(): Promise<number> {
    if (this.#session.leftMs <= 0) this.#sessionOver();
    const renew = this.#session.renewal();
    if (this.#group < 0) return this.#joinAgain(renew);
    const report = await this.#store.renew(this.#group, this.#id, this.#joining.options.sessionMs);
    if (this.#ended !== undefined) return 0;
    if (report.refused === "ended") {
      this.#sessionOver();
      return 0;
    }
    if (report.refused !== undefined) {
      this.#removed(this.#refusal(report));
      return 0;
    }
    // What was answered after the session's end by our own clock is of a session that nobody here believes in any more.
    if (this.#group < 0) return 0;
    renew();
    return this.#take(report);
  }

  async #joinAgain(renew: () => void): Promise<number> {
    const joined = await this.#runJoin(false);
    if (this.#ended !== undefined) {
      await this.#runLeave(true);
      return 0;
    }
    if (joined.refused !== undefined) {
      this.#removed(this.#refusal(joined));
      return 0;
    }
    this.#group = joined.group;
    renew();
    return this.#take(joined.report);
  }

  /** The topic or the group is gone, or the members agreed on something else meanwhile. */
  #removed(reason: TenonError): void {
    const lost = new TenonError("lost", reason.message, { fields: reason.fields, cause: reason });
    const owners = this.#owners();
    this.#end(reason);
    for (const owner of owners) owner.lose(lost);
  }

  /** Nobody heard from this member for longer than its session: its lanes have passed on, or will. It begins anew as another member. */
  #sessionOver(): void {
    if (this.#group < 0 || this.#ended !== undefined) return;
    const { sessionMs, ephemeral } = this.#joining.options;
    const text = `the session of a member of group ${this.#joining.group} of topic ${this.#store.topic} ended: ${this.server} was not reached for ${sessionMs} ms; its lanes have passed on`;
    const lost = new TenonError("lost", text, { fields: { topic: this.#store.topic, group: this.#joining.group } });
    const owners = this.#owners();
    for (const [partition, held] of [...this.#lanes]) this.#drop(partition, held);
    for (const owner of owners) owner.lose(lost);
    this.#session.stop();
    this.#runLeave(false).catch(() => undefined);
    if (ephemeral === true) {
      this.#end(groupNotFound(this.#store.topic, this.#joining.group));
      return;
    }
    this.#group = -1;
    this.#id = this.world.random.uuid();
    this.#look();
  }

  // What is granted ----------------------------------------------------------------------------------------------------

  /** Makes the lanes here those that the store says are this member's. Answers in how many milliseconds to look again. */
  #take({ soonestMs, lanes }: Report): number {
    const granted = new Map(lanes.map((lane) => [lane.partition, lane]));
    for (const [partition, held] of [...this.#lanes]) {
      if (granted.get(partition)?.fence !== held.fence) this.#passedOn(partition, held);
    }
    for (const [partition, { fence, revoked }] of granted) {
      const held = this.#lanes.get(partition);
      if (held === undefined) {
        this.#begin(partition, { fence, owner: undefined, revoked });
      } else if (revoked) {
        held.revoked = true;
        held.owner?.revoke();
      }
    }
    const renewMs = this.#joining.options.sessionMs / 3;
    return soonestMs < 0 ? renewMs : Math.min(renewMs, soonestMs + 1);
  }

  #passedOn(partition: number, held: Granted): void {
    this.#drop(partition, held);
    const { group } = this.#joining;
    const text = `lane ${this.#store.topic}/${partition} of group ${group} has passed on: it was not released in time, or the group was moved to another position`;
    held.owner?.lose(new TenonError("lost", text, { fields: { topic: this.#store.topic, group, partition } }));
  }

  #begin(partition: number, granted: Granted): void {
    const ending = this.#endings.get(partition);
    if (ending === undefined || granted.fence > ending.fence) {
      void this.#open(partition, granted);
    } else if (granted.fence === ending.fence) {
      // It ended here, and the store has not heard of it yet, or never will: then it would be nobody's for ever.
      this.#store.release(this.#grantOf(partition, ending.fence), ending.orderly).catch(() => undefined);
    }
  }

  async #open(partition: number, held: Granted): Promise<void> {
    this.#lanes.set(partition, held);
    const grant = this.#grantOf(partition, held.fence);
    try {
      const opened = await this.#store.open(grant);
      if (this.#lanes.get(partition) !== held) {
        opened?.end?.();
        return;
      }
      if (opened === undefined) {
        this.#drop(partition, held);
        this.#look();
        return;
      }
      held.owner = new LaneOwner(grant, opened, this);
      if (held.revoked) await held.owner.release();
      else this.#granted.push(held.owner);
    } catch (error) {
      if (this.#lanes.get(partition) !== held) return;
      // Nobody saw it yet, so that it may be opened again.
      this.#lanes.delete(partition);
      this.#log("opening a lane failed; it is repeated", error);
      this.#lookIn(retryMs);
    }
  }

  #grantOf(partition: number, fence: number): Grant {
    return { topic: this.#store.topic, group: this.#joining.group, groupNumber: this.#group, partition, fence };
  }

  #log(message: string, error: unknown): void {
    const { topic } = this.#store;
    this.world.log.log("warn", message, { topic, group: this.#joining.group, error: String(error) });
  }
}
