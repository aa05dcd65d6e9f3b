import { TenonError } from "../../../contracts/errors.ts";
import type { JoinOptions, Lane, Membership } from "../../../contracts/messages.ts";
import type { Cancel, World } from "../../../world/world.ts";
import { LaneQueue } from "../../lanes/lane-queue.ts";
import { MemberSession } from "../../lanes/member-session.ts";
import type { Argument } from "../connection.ts";
import { channelOf } from "./keys.ts";
import type { CommitPath } from "./lane-commits.ts";
import { type LaneHost, LaneOwner } from "./lane-owner.ts";
import { groupNotFound, numberOf, type Reply, refusalOf, topicNotFound } from "./replies.ts";
import * as scripts from "./scripts/scripts.ts";
import { ephemeralTaken, type Topic } from "./topics.ts";

export interface JoinPath extends CommitPath {
  readonly world: World;
}

export interface Joining {
  readonly group: string;
  readonly options: JoinOptions;
  /** Where the group starts when it is made, as `positions.part.lua` reads it. */
  readonly target: readonly Argument[];
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
 * A member of a group. What it is granted stands in Redis; it looks there whenever somebody says that something changed, before its session ends, and
 * when something is due, and then makes what is here the same as what is there.
 */
export class Member implements Membership, LaneHost {
  readonly connection;
  readonly topics;
  readonly appends;
  readonly capabilities;
  readonly world: World;
  readonly windowMax: number;
  readonly place: Topic;
  readonly #joining: Joining;
  readonly #lanes = new Map<number, Granted>();
  /** By partition, the last grant that ended here, and how. An answer that is older than its end, or than what Redis heard of it, may still name it. */
  readonly #endings = new Map<number, { readonly fence: number; readonly orderly: boolean }>();
  readonly #granted = new LaneQueue();
  readonly #session: MemberSession;
  #id: string;
  #joinedOnce = false;
  /** Negative while it is no member: before it joined, and between two sessions. */
  #groupNumber = -1;
  #ended: TenonError | undefined;
  #looking = false;
  #lookAgain = false;
  #failures = 0;
  #cancelLook: Cancel | undefined;
  #unlisten: (() => Promise<void>) | undefined;
  #leaving: Promise<void> | undefined;

  constructor(path: JoinPath, place: Topic, joining: Joining) {
    this.connection = path.connection;
    this.topics = path.topics;
    this.appends = path.appends;
    this.capabilities = path.capabilities;
    this.world = path.world;
    this.place = place;
    this.windowMax = joining.options.windowMax;
    this.#joining = joining;
    this.#id = path.world.random.uuid();
    this.#session = new MemberSession(path.world, joining.options.sessionMs, () => this.#sessionOver());
  }

  /** Joins the group. Answers why it was refused when the topic is gone. */
  async join(): Promise<Reply> {
    this.#unlisten = await this.connection.listen(channelOf(this.place.key), (payload) => this.#hear(payload));
    try {
      const renew = this.#session.renewal();
      const reply = await this.#runJoin(true);
      if (refusalOf(reply) === "gone") await this.#stopListening();
      else this.#joined(reply, renew);
      return reply;
    } catch (error) {
      await this.#stopListening();
      // It may be a member all the same; its lanes must not wait for the end of a session that nobody renews.
      if (!(error instanceof TenonError) || error.outcome === "unknown") this.#runLeave(false).catch(() => undefined);
      throw error;
    }
  }

  #runJoin(mayMake: boolean): Promise<Reply> {
    const { group, options, target } = this.#joining;
    const { sessionMs, revokeMs, agreement = "", ephemeral = false } = options;
    const keys = [this.place.key, this.place.family.counters];
    const args = [group, this.#id, sessionMs, revokeMs, agreement, ephemeral ? 1 : 0, mayMake ? 1 : 0, ...target];
    return this.connection.run(scripts.join, keys, args) as Promise<Reply>;
  }

  #joined(reply: Reply, renew: () => void): void {
    const refused = this.#refusal(refusalOf(reply));
    if (refused !== undefined) throw refused;
    this.#groupNumber = numberOf(reply[0]);
    this.#joinedOnce = true;
    renew();
    this.#lookIn(this.#take(reply.slice(1)));
  }

  #refusal(word: string | undefined): TenonError | undefined {
    const { group } = this.#joining;
    const topic = this.place.name;
    switch (word) {
      case undefined:
        return undefined;
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
      new TenonError("closed", `the member has left group ${this.#joining.group} of topic ${this.place.name}`),
    );
    return this.#leaving;
  }

  /** The engine closes. */
  close(reason: TenonError): Promise<void> {
    this.#leaving ??= this.#leave(reason, reason);
    return this.#leaving;
  }

  abandon(): Promise<void> {
    const text = `nobody speaks for a member of group ${this.#joining.group} of topic ${this.place.name} any more; its lanes have passed on`;
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

  async #runLeave(orderly: boolean): Promise<void> {
    const keys = [this.place.key, this.place.family.counters];
    await this.connection.run(scripts.leave, keys, [this.#joining.group, this.#id, orderly ? 1 : 0]);
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
    await this.#runRelease(lane.partition, Number(lane.fence), orderly);
  }

  async #runRelease(partition: number, fence: number, orderly: boolean): Promise<void> {
    const keys = [this.place.key, this.place.family.counters];
    await this.connection.run(scripts.release, keys, [this.#groupNumber, partition, fence, orderly ? 1 : 0]);
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

  #hear(payload: Buffer | undefined): void {
    if (this.#ended !== undefined) return;
    if (payload === undefined) {
      for (const owner of this.#owners()) owner.wake();
      this.#look();
      return;
    }
    const text = payload.toString("latin1");
    if (text.startsWith("g")) {
      if (Number(text.slice(1)) === this.#groupNumber) this.#look();
    } else this.#lanes.get(Number(text))?.owner?.wake();
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
    if (this.#groupNumber < 0) return this.#joinAgain(renew);
    const keys = [this.place.key, this.place.family.counters];
    const args = [this.#groupNumber, this.#id, this.#joining.options.sessionMs];
    const reply = (await this.connection.run(scripts.renew, keys, args)) as Reply;
    if (this.#ended !== undefined) return 0;
    const refusal = refusalOf(reply);
    if (refusal === "ended") {
      this.#sessionOver();
      return 0;
    }
    const refused = this.#refusal(refusal);
    if (refused !== undefined) {
      this.#removed(refused);
      return 0;
    }
    // What was answered after the session's end by our own clock is of a session that nobody here believes in any more.
    if (this.#groupNumber < 0) return 0;
    renew();
    return this.#take(reply);
  }

  async #joinAgain(renew: () => void): Promise<number> {
    const reply = await this.#runJoin(false);
    if (this.#ended !== undefined) {
      await this.#runLeave(true);
      return 0;
    }
    const refused = this.#refusal(refusalOf(reply));
    if (refused !== undefined) {
      this.#removed(refused);
      return 0;
    }
    this.#groupNumber = numberOf(reply[0]);
    renew();
    return this.#take(reply.slice(1));
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
    if (this.#groupNumber < 0 || this.#ended !== undefined) return;
    const { sessionMs, ephemeral } = this.#joining.options;
    const text = `the session of a member of group ${this.#joining.group} of topic ${this.place.name} ended: Redis was not reached for ${sessionMs} ms; its lanes have passed on`;
    const lost = new TenonError("lost", text, { fields: { topic: this.place.name, group: this.#joining.group } });
    const owners = this.#owners();
    for (const [partition, held] of [...this.#lanes]) this.#drop(partition, held);
    for (const owner of owners) owner.lose(lost);
    this.#session.stop();
    this.#runLeave(false).catch(() => undefined);
    if (ephemeral === true) {
      this.#end(groupNotFound(this.place.name, this.#joining.group));
      return;
    }
    this.#groupNumber = -1;
    this.#id = this.world.random.uuid();
    this.#look();
  }

  // What is granted ----------------------------------------------------------------------------------------------------

  /** Makes the lanes here those that Redis says are this member's. Answers in how many milliseconds to look again. */
  #take(report: Reply): number {
    const granted = new Map<number, { readonly fence: number; readonly revoked: boolean }>();
    for (let i = 1; i < report.length; i += 3) {
      granted.set(numberOf(report[i]), { fence: numberOf(report[i + 1]), revoked: report[i + 2] === 1 });
    }
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
    const soonestMs = numberOf(report[0]);
    return soonestMs < 0 ? renewMs : Math.min(renewMs, soonestMs + 1);
  }

  #passedOn(partition: number, held: Granted): void {
    this.#drop(partition, held);
    const { group } = this.#joining;
    const text = `lane ${this.place.name}/${partition} of group ${group} has passed on: it was not released in time, or the group was moved to another position`;
    held.owner?.lose(new TenonError("lost", text, { fields: { topic: this.place.name, group, partition } }));
  }

  #begin(partition: number, granted: Granted): void {
    const ending = this.#endings.get(partition);
    if (ending === undefined || granted.fence > ending.fence) {
      void this.#open(partition, granted);
    } else if (granted.fence === ending.fence) {
      // It ended here, and Redis has not heard of it yet, or never will: then it would be nobody's for ever.
      this.#runRelease(partition, ending.fence, ending.orderly).catch(() => undefined);
    }
  }

  async #open(partition: number, held: Granted): Promise<void> {
    this.#lanes.set(partition, held);
    const { group } = this.#joining;
    const { fence } = held;
    try {
      const args = [this.#groupNumber, partition, fence];
      const reply = (await this.connection.run(scripts.openLane, [this.place.key], args)) as Reply;
      if (this.#lanes.get(partition) !== held) return;
      if (refusalOf(reply) === "lost") {
        this.#drop(partition, held);
        this.#look();
        return;
      }
      held.owner = new LaneOwner(
        { place: this.place, group, groupNumber: this.#groupNumber, partition, fence },
        reply,
        this,
      );
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

  #log(message: string, error: unknown): void {
    const { name } = this.place;
    this.world.log.log("warn", message, { topic: name, group: this.#joining.group, error: String(error) });
  }
}
