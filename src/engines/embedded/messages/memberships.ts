import { TenonError } from "../../../contracts/errors.ts";
import type { JoinOptions, Lane as LaneContract, Membership } from "../../../contracts/messages.ts";
import type { Cancel, Timers } from "../../../world/world.ts";
import type { Group } from "./catalogue.ts";
import type { LaneOwner } from "./lane-owner.ts";
import type { Lane } from "./lanes.ts";

/** What a group's coordination asks of the engine. */
export interface LaneGrants {
  /** Begins a grant; resolves when it is durable. */
  grant(lane: Lane, options: JoinOptions): Promise<LaneOwner>;
  /** Records an orderly release. */
  released(lane: Lane): void;
  /** A member has left, its lanes are released. */
  left(): Promise<void>;
}

/**
 * Spreads a group's lanes over its members: evenly, moving as few as possible. A lane moves by being asked back; it is granted
 * anew only after its release, or after its owner let `revokeMs` pass and lost it.
 */
export class GroupMembers {
  readonly #group: Group;
  readonly #grants: LaneGrants;
  readonly #timers: Timers;
  #members: Member[] = [];
  readonly #holders = new Map<Lane, Member>();
  readonly #revoking = new Map<Lane, Cancel>();
  /** Why nothing is granted any more. */
  #lost: TenonError | undefined;

  constructor(group: Group, grants: LaneGrants, timers: Timers) {
    this.#group = group;
    this.#grants = grants;
    this.#timers = timers;
  }

  get size(): number {
    return this.#members.length;
  }

  join(options: JoinOptions): Membership {
    this.#checkAgreement(options.agreement ?? "");
    const member = new Member(options, (leaving, orderly) => this.#leave(leaving, orderly));
    this.#members.push(member);
    this.#balance();
    return member;
  }

  #checkAgreement(agreement: string): void {
    const [other] = this.#members;
    if (other === undefined || (other.options.agreement ?? "") === agreement) return;
    const { name, topic } = this.#group;
    const message = `the members of group ${name} of topic ${topic.name} have agreed on something else, such as another filter; stop them first, or take another group`;
    throw new TenonError("conflict", message, { fields: { topic: topic.name, group: name } });
  }

  /** The lane has no owner any more. `orderly`: its owner gave it back. */
  ended(lane: Lane, orderly: boolean): void {
    this.#revoking.get(lane)?.();
    this.#revoking.delete(lane);
    this.#holders.get(lane)?.lanes.delete(lane);
    this.#holders.delete(lane);
    const owner = lane.owner;
    lane.owner = undefined;
    if (orderly) this.#grants.released(lane);
    else if (owner !== undefined) lane.suspectBelow = Math.max(lane.suspectBelow, owner.cursor);
    this.#balance();
  }

  /** Takes every lane away from its owner, whatever it does; they are granted anew. */
  takeAll(reason: TenonError): void {
    for (const lane of [...this.#holders.keys()]) {
      const owner = lane.owner;
      if (owner === undefined) continue;
      owner.lose(reason);
      this.ended(lane, false);
    }
  }

  /** The engine closes: nobody gets anything any more. */
  close(reason: TenonError): void {
    this.#end(reason, reason);
  }

  /** The group was removed: members and owners end, and nothing is granted any more. */
  end(reason: TenonError): void {
    this.#end(reason, new TenonError("lost", reason.message, { fields: reason.fields, cause: reason }));
  }

  #end(reason: TenonError, lost: TenonError): void {
    this.#lost = lost;
    const members = this.#members;
    this.#members = [];
    for (const cancel of this.#revoking.values()) cancel();
    for (const lane of this.#holders.keys()) lane.owner?.lose(lost);
    for (const member of members) member.close(reason);
  }

  async #leave(member: Member, orderly: boolean): Promise<void> {
    this.#members = this.#members.filter((other) => other !== member);
    const owners = [...member.lanes].map((lane) => lane.owner);
    if (!orderly) this.#abandon(member);
    this.#balance();
    if (orderly) await Promise.all(owners.map((owner) => owner?.release()));
    await this.#grants.left();
  }

  /** A grant that is still being written ends when it is there. */
  #abandon(member: Member): void {
    for (const lane of [...member.lanes]) {
      const { owner } = lane;
      if (owner === undefined || owner.ended) continue;
      const name = `lane ${owner.topic}/${owner.partition} of group ${owner.group}`;
      owner.lose(new TenonError("lost", `${name} has passed on: nobody spoke for its member any more`));
      this.ended(lane, false);
    }
  }

  #balance(): void {
    const quotas = this.#quotas();
    for (const [member, quota] of quotas) this.#revokeBeyond(member, quota);
    for (const lane of this.#group.lanes) {
      if (this.#holders.has(lane)) continue;
      const member = this.#members.find((candidate) => candidate.lanes.size < quotas.get(candidate)!);
      if (member === undefined) return;
      this.#grant(lane, member);
    }
  }

  /** Who has most keeps the odd ones. */
  #quotas(): Map<Member, number> {
    const count = this.#members.length;
    const least = Math.floor(this.#group.lanes.length / count);
    const odd = this.#group.lanes.length % count;
    const byLanes = [...this.#members].sort((a, b) => b.lanes.size - a.lanes.size);
    return new Map(byLanes.map((member, index) => [member, least + (index < odd ? 1 : 0)]));
  }

  #revokeBeyond(member: Member, quota: number): void {
    const kept = [...member.lanes].filter((lane) => !this.#revoking.has(lane));
    for (const lane of kept.slice(quota)) {
      const owner = lane.owner;
      // A grant that is still being written cannot be asked back; the balance after its arrival will.
      if (owner === undefined) continue;
      this.#revoking.set(
        lane,
        this.#timers.schedule(member.options.revokeMs, () => {
          const name = `lane ${owner.topic}/${owner.partition} of group ${owner.group}`;
          owner.lose(
            new TenonError("lost", `${name} was not released within ${member.options.revokeMs} ms and has passed on`),
          );
          this.ended(lane, false);
        }),
      );
      owner.revoke();
    }
  }

  #grant(lane: Lane, member: Member): void {
    this.#holders.set(lane, member);
    member.lanes.add(lane);
    this.#grants.grant(lane, member.options).then(
      (owner) => {
        lane.owner = owner;
        if (this.#lost !== undefined) owner.lose(this.#lost);
        else if (member.left) void owner.release();
        else {
          member.receive(owner);
          this.#balance();
        }
      },
      (error) => member.close(error),
    );
  }
}

class Member implements Membership {
  readonly options: JoinOptions;
  readonly lanes = new Set<Lane>();
  left = false;
  readonly #leave: (member: Member, orderly: boolean) => Promise<void>;
  readonly #granted: LaneOwner[] = [];
  #waiting: { readonly resolve: (lane: LaneContract) => void; readonly reject: (reason: unknown) => void } | undefined;
  #closed: TenonError | undefined;

  constructor(options: JoinOptions, leave: (member: Member, orderly: boolean) => Promise<void>) {
    this.options = options;
    this.#leave = leave;
  }

  nextLane(options: { signal?: AbortSignal | undefined } = {}): Promise<LaneContract> {
    const signal = options.signal;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    for (let lane = this.#granted.shift(); lane !== undefined; lane = this.#granted.shift()) {
      if (!lane.ended) return Promise.resolve(lane);
    }
    if (this.#waiting !== undefined) {
      return Promise.reject(new TenonError("conflict", "a call of nextLane is waiting already; wait for it first"));
    }
    return new Promise((resolve, reject) => {
      const abort = () => {
        this.#waiting = undefined;
        reject(signal!.reason);
      };
      const done = () => {
        this.#waiting = undefined;
        signal?.removeEventListener("abort", abort);
      };
      this.#waiting = {
        resolve: (lane) => {
          done();
          resolve(lane);
        },
        reject: (reason) => {
          done();
          reject(reason);
        },
      };
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  receive(lane: LaneOwner): void {
    if (this.#waiting !== undefined) this.#waiting.resolve(lane);
    else this.#granted.push(lane);
  }

  leave(): Promise<void> {
    return this.#end(true);
  }

  abandon(): Promise<void> {
    return this.#end(false);
  }

  async #end(orderly: boolean): Promise<void> {
    if (this.left) return;
    this.left = true;
    this.close(new TenonError("closed", "the member has left its group"));
    await this.#leave(this, orderly);
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
    this.#waiting?.reject(this.#closed);
  }
}
