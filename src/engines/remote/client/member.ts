import { TenonError } from "../../../contracts/errors.ts";
import type { JoinOptions, Lane, Membership } from "../../../contracts/messages.ts";
import type { Cancel, World } from "../../../world/world.ts";
import { LaneQueue } from "../../lanes/lane-queue.ts";
import { MemberSession } from "../../lanes/member-session.ts";
import { isPassing } from "../../shared/passing.ts";
import type { GrantKey, MemberAnswer, MemberRequest, Notice } from "../wire/member-codecs.ts";
import { operations } from "../wire/operations.ts";
import type { Link, LinkListener } from "./link.ts";
import { MemberRequests } from "./member-requests.ts";
import { type LaneHost, RemoteLane } from "./remote-lane.ts";
import { type Moment, momentOf } from "./session.ts";

export interface Joining {
  readonly topic: string;
  readonly group: string;
  readonly options: JoinOptions;
  /** Called once, when the member is no member any more. */
  readonly left: (member: Member) => void;
}

function superseded({ partition, fence }: GrantKey): TenonError {
  return new TenonError("lost", `partition ${partition} was granted anew, under fence ${fence}; use that lane`);
}

/** How soon joining anew is tried again, at first and at most. */
const retryMs = { first: 50, longest: 1_000 };
/** How often a session is renewed. */
const beatsPerSession = 3;

/** A member of a group, as long as the user wants it to be one: a row of memberships, each of which the server holds until its session ends. */
export class Member implements Membership, LaneHost, LinkListener {
  readonly topic: string;
  readonly group: string;
  readonly #world: World;
  readonly #link: Link;
  readonly #joining: Joining;
  readonly #lanes = new Map<number, RemoteLane>();
  readonly #granted = new LaneQueue();
  readonly #session: MemberSession;
  readonly #unlisten: () => void;
  #id: string;
  #requests: MemberRequests;
  /** Between two sessions it is none. */
  #isMember = false;
  #ended: TenonError | undefined;
  #leaving: Promise<void> | undefined;
  #failures = 0;
  #retry: Cancel | undefined;

  constructor(link: Link, world: World, joining: Joining) {
    this.#link = link;
    this.#world = world;
    this.#joining = joining;
    this.topic = joining.topic;
    this.group = joining.group;
    this.#id = world.random.uuid();
    this.#requests = this.#newRequests();
    const { sessionMs } = joining.options;
    this.#session = new MemberSession(world, sessionMs, () => this.#sessionOver());
    link.beatWithin(sessionMs / beatsPerSession);
    this.#unlisten = link.listen(this);
  }

  #newRequests(): MemberRequests {
    const id = this.#id;
    return new MemberRequests(this.#link, id, () => {
      if (id === this.#id) this.#sessionOver();
    });
  }

  async join(): Promise<void> {
    try {
      await this.#join(false);
    } catch (error) {
      this.#stop();
      // It may be a member all the same; its lanes must not wait for the end of a session that nobody renews.
      if (!(error instanceof TenonError) || error.outcome === "unknown") void this.#abandon();
      throw error;
    }
  }

  async #join(again: boolean): Promise<void> {
    const { topic, group, options } = this.#joining;
    await this.#link.call(operations.join, { member: this.#id, topic, group, again, options });
    if (this.#ended !== undefined) {
      void this.#abandon();
      return;
    }
    this.#isMember = true;
    this.#session.renewal()();
    void this.#readNews(this.#requests);
    await this.#resume();
  }

  // What the link says --------------------------------------------------------------------------------------------------

  ready(): void {
    if (this.#isMember) void this.#resume();
  }

  lost(): void {
    this.#requests.pause();
  }

  heard({ monotonic, wall }: Moment): void {
    if (this.#isMember && this.#session.leftMs > 0) this.#session.renewAsOf(monotonic, wall);
  }

  async #resume(): Promise<void> {
    const requests = this.#requests;
    const { monotonic, wall } = momentOf(this.#world);
    const known = await requests.resume();
    if (requests !== this.#requests || known === undefined) return;
    if (!known || this.#session.leftMs <= 0) this.#sessionOver();
    else this.#session.renewAsOf(monotonic, wall);
  }

  // What the user asks for ----------------------------------------------------------------------------------------------

  nextLane(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<Lane> {
    return this.#granted.next(options.signal);
  }

  leave(): Promise<void> {
    const text = `the member has left group ${this.group} of topic ${this.topic}`;
    this.#leaving ??= this.#leave(new TenonError("closed", text));
    return this.#leaving;
  }

  /** The engine closes. */
  close(reason: TenonError): Promise<void> {
    this.#leaving ??= this.#leave(reason, reason);
    return this.#leaving;
  }

  async abandon(): Promise<void> {
    if (this.#ended !== undefined) return;
    const text = `nobody speaks for a member of group ${this.group} of topic ${this.topic} any more; its lanes have passed on`;
    this.#ended = new TenonError("closed", text);
    this.#loseLanes(new TenonError("lost", text));
    // When it is not reached, the session ends by itself.
    const abandoned = this.#abandon();
    this.#stop();
    await abandoned;
  }

  async #leave(reason: TenonError, lost?: TenonError): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#ended = reason;
    this.#granted.close(reason);
    for (const lane of this.#lanes.values()) {
      if (lost !== undefined) lane.lose(lost);
      else lane.stop();
    }
    this.#lanes.clear();
    try {
      // Behind the commits that are under way. When its session ends first, it has left as well.
      if (this.#isMember) await this.#requests.ask({ type: "leave" }).catch(() => undefined);
      // An attempt to join anew whose answer did not come may have made it one.
      else await this.#abandon();
    } finally {
      this.#stop();
    }
  }

  #stop(): void {
    this.#ended ??= new TenonError("closed", `nobody is a member of group ${this.group} any more`);
    const reason = this.#ended;
    this.#isMember = false;
    this.#granted.close(reason);
    this.#session.stop();
    this.#retry?.();
    this.#unlisten();
    this.#requests.end((sent) => this.#overAs(reason, sent));
    this.#joining.left(this);
  }

  // What lanes ask for --------------------------------------------------------------------------------------------------

  ask(asked: MemberRequest): Promise<MemberAnswer> {
    return this.#requests.ask(asked);
  }

  checkSession(): void {
    if (this.#isMember && this.#session.leftMs <= 0) this.#sessionOver();
  }

  forget(lane: RemoteLane): void {
    if (this.#lanes.get(lane.partition) === lane) this.#lanes.delete(lane.partition);
  }

  // News ----------------------------------------------------------------------------------------------------------------

  async #readNews(requests: MemberRequests): Promise<void> {
    while (requests === this.#requests && this.#ended === undefined) {
      let answer: MemberAnswer;
      try {
        answer = await requests.ask({ type: "news" });
      } catch {
        return;
      }
      if (answer.type !== "news" || requests !== this.#requests) return;
      for (const notice of answer.notices) this.#take(notice);
    }
  }

  #take(notice: Notice): void {
    if (this.#ended !== undefined) return;
    switch (notice.type) {
      case "granted": {
        const lane = new RemoteLane(notice, this);
        this.#lanes.get(notice.partition)?.lose(superseded(notice));
        this.#lanes.set(notice.partition, lane);
        this.#granted.push(lane);
        break;
      }
      case "revoked":
        this.#lane(notice)?.revoke();
        break;
      case "lost": {
        const lane = this.#lane(notice);
        if (lane === undefined) break;
        this.forget(lane);
        lane.lose(notice.reason);
        break;
      }
      case "ended":
        // Where the engine has stopped under its server, another one is going to be served.
        if (isPassing(notice.reason)) this.#sessionOver();
        else this.#over(notice.reason);
        break;
    }
  }

  #lane({ partition, fence }: GrantKey): RemoteLane | undefined {
    const lane = this.#lanes.get(partition);
    return lane?.fence === fence ? lane : undefined;
  }

  // Ends ----------------------------------------------------------------------------------------------------------------

  /** The topic or the group is gone, or the members agreed on something else meanwhile. */
  #over(reason: TenonError): void {
    const lost = new TenonError("lost", reason.message, { fields: reason.fields, cause: reason });
    this.#ended = reason;
    this.#loseLanes(lost);
    void this.#abandon();
    this.#stop();
  }

  #loseLanes(reason: TenonError): void {
    const lanes = [...this.#lanes.values()];
    this.#lanes.clear();
    for (const lane of lanes) lane.lose(reason);
  }

  /** Nobody heard from this member for longer than its session: its lanes have passed on, or will. It begins anew as another member. */
  #sessionOver(): void {
    if (!this.#isMember) return;
    const { sessionMs, ephemeral } = this.#joining.options;
    this.#isMember = false;
    this.#session.stop();
    const text = `the session of a member of group ${this.group} of topic ${this.topic} ended: its server was not reached for ${sessionMs} ms, or has forgotten it; its lanes have passed on`;
    const lost = new TenonError("lost", text, { fields: { topic: this.topic, group: this.group } });
    this.#loseLanes(lost);
    this.#requests.end((sent) => this.#overAs(lost, sent));
    void this.#abandon();
    if (this.#ended !== undefined) return;
    if (ephemeral === true) {
      const gone = `ephemeral group ${this.group} of topic ${this.topic} has ended with the session of its member`;
      this.#over(new TenonError("not-found", gone, { fields: { topic: this.topic, group: this.group } }));
      return;
    }
    this.#id = this.#world.random.uuid();
    this.#requests = this.#newRequests();
    void this.#joinAgain();
  }

  /** A commit that may have reached the server may have happened. */
  #overAs(reason: TenonError, sent: boolean): TenonError {
    if (!sent) return reason;
    const text = `${reason.message}; what was committed last may have happened`;
    return new TenonError("unavailable", text, { outcome: "unknown", fields: reason.fields, cause: reason });
  }

  async #joinAgain(): Promise<void> {
    const id = this.#id;
    try {
      await this.#join(true);
      this.#failures = 0;
    } catch (error) {
      if (this.#ended !== undefined) {
        // It may be a member all the same, and what this connection says would speak for it for ever.
        if (!(error instanceof TenonError) || error.outcome === "unknown") void this.#abandon();
        return;
      }
      if (id !== this.#id || this.#isMember) return;
      if (!(error instanceof TenonError) || !isPassing(error)) {
        this.#over(error instanceof TenonError ? error : new TenonError("unavailable", String(error)));
        return;
      }
      this.#world.log.log("warn", "joining a group anew failed; it is repeated", {
        topic: this.topic,
        group: this.group,
        error: error.message,
      });
      const delayMs = Math.min(retryMs.longest, retryMs.first * 2 ** this.#failures++);
      this.#retry = this.#world.timers.schedule(delayMs, () => void this.#joinAgain(), { keepsAlive: true });
    }
  }

  /** Tells the server, if it can be told now, that nobody speaks for this member any more. */
  async #abandon(): Promise<void> {
    await this.#link.send(operations.abandon, this.#id)?.catch(() => undefined);
  }
}
