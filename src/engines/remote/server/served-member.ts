import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { JoinOptions, Lane, Membership, MessageEngine } from "../../../contracts/messages.ts";
import type { Cancel, World } from "../../../world/world.ts";
import type { GrantKey, MemberAnswer, MemberRequest, Notice } from "../wire/member-codecs.ts";
import { failureFor, lostBecause } from "./failures.ts";
import { ServedLane } from "./served-lane.ts";

export interface ServedJoin {
  readonly topic: string;
  readonly group: string;
  readonly options: JoinOptions;
}

const gone: MemberAnswer = { type: "gone" };
const done: MemberAnswer = { type: "done" };

/** One membership of the engine, held for a client until it leaves, or until nobody has spoken for it for `sessionMs`. */
export class ServedMember {
  readonly #world: World;
  readonly #join: ServedJoin;
  readonly #forget: () => void;
  readonly #lanes = new Map<number, ServedLane>();
  /** By number, what was asked and may be asked again. */
  readonly #answers = new Map<number, Promise<MemberAnswer>>();
  /** What ends the waiting for an answer. */
  readonly #waiting = new Set<(answer: MemberAnswer) => void>();
  readonly #end = new AbortController();
  #notices: Notice[] = [];
  #newsWanted: (() => void) | undefined;
  #membership: Membership | undefined;
  #heardAt: number;
  #timer: Cancel | undefined;
  /** Resolves when the engine has made it a member. */
  readonly joined: Promise<void>;

  /** `forget` is called once, when it has ended. */
  constructor(messages: MessageEngine, world: World, join: ServedJoin, forget: () => void) {
    this.#world = world;
    this.#join = join;
    this.#forget = forget;
    this.#heardAt = world.clock.monotonic();
    this.joined = this.#begin(messages);
    this.#watch();
  }

  async #begin(messages: MessageEngine): Promise<void> {
    const { topic, group, options } = this.#join;
    let membership: Membership;
    try {
      membership = await messages.join(topic, group, options);
    } catch (error) {
      this.#over();
      throw error;
    }
    this.#membership = membership;
    if (this.#end.signal.aborted) {
      await abandon(membership);
      throw new TenonError("unavailable", `joining group ${group} of topic ${topic} took longer than its session`);
    }
    void this.#readLanes(membership);
  }

  get ended(): boolean {
    return this.#end.signal.aborted;
  }

  /** Somebody speaks for it. */
  heard(): void {
    this.#heardAt = this.#world.clock.monotonic();
  }

  #watch(): void {
    if (this.ended) return;
    const { sessionMs } = this.#join.options;
    const leftMs = this.#heardAt + sessionMs - this.#world.clock.monotonic();
    this.#timer = this.#world.timers.schedule(Math.max(1, leftMs), () => {
      if (this.#world.clock.monotonic() - this.#heardAt < sessionMs) this.#watch();
      else void this.abandon();
    });
  }

  // What is asked ---------------------------------------------------------------------------------------------------------

  /** Its client is connected anew, and waits for these answers. */
  resume(waitsFor: readonly number[]): void {
    this.heard();
    const kept = new Set(waitsFor);
    for (const number of this.#answers.keys()) if (!kept.has(number)) this.#answers.delete(number);
  }

  /** What was asked before is answered as before, or when it is done. */
  ask(number: number, answered: readonly number[], asked: MemberRequest): Promise<MemberAnswer> {
    this.heard();
    for (const each of answered) this.#answers.delete(each);
    let answer = this.#answers.get(number);
    if (answer === undefined) {
      answer = this.#answer(asked);
      this.#answers.set(number, answer);
    }
    return answer;
  }

  #answer(asked: MemberRequest): Promise<MemberAnswer> {
    return new Promise((resolve) => {
      if (this.#end.signal.aborted) {
        resolve(gone);
        return;
      }
      this.#waiting.add(resolve);
      const settle = (answer: MemberAnswer) => {
        this.#waiting.delete(resolve);
        resolve(answer);
      };
      this.#carryOut(asked).then(settle, (error: unknown) =>
        settle({ type: "failed", reason: failureFor(this.#world, "a member's request", error) }),
      );
    });
  }

  async #carryOut(asked: MemberRequest): Promise<MemberAnswer> {
    switch (asked.type) {
      case "news":
        return { type: "news", notices: await this.#news() };
      case "fetch":
        return { type: "messages", messages: await this.#lane(asked).fetch(asked.limit, this.#end.signal) };
      case "commit":
        await this.#lane(asked).commit(asked.change);
        return done;
      case "release":
        await this.#release(asked);
        return done;
      case "leave":
        await this.#leave();
        return done;
    }
  }

  #lane({ partition, fence }: GrantKey): ServedLane {
    const served = this.#lanes.get(partition);
    if (served?.lane.fence === fence) return served;
    const { topic, group } = this.#join;
    const text = `lane ${topic}/${partition} of group ${group} has passed on: fence ${fence} is superseded; ask for the next lane`;
    throw new TenonError("lost", text, { fields: { topic, group, partition } });
  }

  async #release(key: GrantKey): Promise<void> {
    const served = this.#lanes.get(key.partition);
    if (served?.lane.fence !== key.fence) return;
    await served.release();
    if (this.#lanes.get(key.partition) === served) this.#lanes.delete(key.partition);
  }

  async #leave(): Promise<void> {
    await Promise.all([...this.#lanes.values()].map((served) => served.idle()));
    await this.#membership?.leave();
    // In a later turn, so that this answer is the first to go.
    queueMicrotask(() => this.#over());
  }

  // News ------------------------------------------------------------------------------------------------------------------

  async #news(): Promise<readonly Notice[]> {
    while (this.#notices.length === 0) {
      await new Promise<void>((resolve) => {
        this.#newsWanted = resolve;
      });
    }
    const notices = this.#notices;
    this.#notices = [];
    return notices;
  }

  #tell(notice: Notice): void {
    this.#notices.push(notice);
    const wanted = this.#newsWanted;
    this.#newsWanted = undefined;
    wanted?.();
  }

  async #readLanes(membership: Membership): Promise<void> {
    try {
      while (!this.#end.signal.aborted) this.#take(await membership.nextLane({ signal: this.#end.signal }));
    } catch (error) {
      if (this.#end.signal.aborted) return;
      // When the engine has closed its server ends, and another one may follow.
      if (isCode(error, "closed")) return;
      this.#tell({ type: "ended", reason: failureFor(this.#world, "a membership", error) });
    }
  }

  #take(lane: Lane): void {
    const { partition, fence, suspectBelow, held, revoked, lost } = lane;
    const served = new ServedLane(lane);
    this.#lanes.set(partition, served);
    this.#tell({ type: "granted", partition, fence, suspectBelow, held });
    const revoke = () => this.#tell({ type: "revoked", partition, fence });
    const lose = () => {
      if (this.#lanes.get(partition) === served) this.#lanes.delete(partition);
      this.#tell({ type: "lost", partition, fence, reason: lostBecause(lost.reason) });
    };
    if (revoked.aborted) revoke();
    else revoked.addEventListener("abort", revoke, { once: true });
    if (lost.aborted) lose();
    else lost.addEventListener("abort", lose, { once: true });
  }

  // Ends ------------------------------------------------------------------------------------------------------------------

  /** Nobody speaks for it any more: its lanes pass on, and what it fetched is suspect. */
  async abandon(): Promise<void> {
    if (this.#end.signal.aborted) return;
    const membership = this.#membership;
    this.#over();
    if (membership !== undefined) await abandon(membership);
  }

  #over(): void {
    if (this.#end.signal.aborted) return;
    this.#end.abort(new TenonError("closed", "the membership has ended"));
    this.#timer?.();
    this.#lanes.clear();
    this.#answers.clear();
    this.#notices = [];
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const resolve of waiting) resolve(gone);
    this.#forget();
  }
}

/** Ends a membership as if its member had vanished; an engine that cannot do that is told that it leaves. */
function abandon(membership: Membership): Promise<void> {
  return (membership.abandon?.() ?? membership.leave()).catch(() => undefined);
}
