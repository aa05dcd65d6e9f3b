import { ByteReader, ByteWriter } from "../shared/binary.ts";
import type { LaneTurn } from "./lane-state.ts";
import type { Refused, Report } from "./lane-store.ts";

export interface NewMember {
  readonly id: string;
  readonly sessionMs: number;
  readonly revokeMs: number;
  readonly agreement: string;
  readonly ephemeral: boolean;
}

interface Member {
  readonly id: string;
  /** In the order of joining. */
  readonly number: number;
  readonly revokeMs: number;
  endsAt: number;
}

interface OwnedLane {
  readonly member: string;
  readonly fence: number;
  /** Asked back: from this instant on it is lost; 0: it was not. */
  lostAt: number;
}

const format = 1;

/**
 * A group's members and who owns which lane: a state machine on one value, for stores that change it under a lock or by compare-and-swap. `now` is
 * the store's clock, in ms; it may stand still or go back.
 *
 * Use: decode, call what happened (`join`, `renew`, …), `balance`, then `grant` with as many new fences as that asks for, and write the value if `changed`, and what
 * `takeTurns` says to the lanes, in one atomic step. Who owns a lane is decided here; lanes carry the fence, so that what comes under an older
 * one is refused there without a look at the group.
 *
 * Encoded: 10 bytes and the agreement, and for each member some 60, for each lane that is owned up to 20.
 */
export class GroupState {
  readonly partitions: number;
  #joined = 0;
  #agreement = "";
  /** The only member of an ephemeral group. */
  #only = "";
  readonly #members = new Map<string, Member>();
  readonly #lanes = new Map<number, OwnedLane>();
  readonly #turns = new Map<number, LaneTurn>();
  #waiting: { readonly partition: number; readonly member: string }[] = [];
  #changed = false;
  #moved = false;

  constructor(partitions: number) {
    this.partitions = partitions;
  }

  /** Whether the value has to be written. */
  get changed(): boolean {
    return this.#changed;
  }

  /** Whether the other members should look: lanes changed hands, or were asked back. */
  get moved(): boolean {
    return this.#moved;
  }

  /** The same since it was asked last, for stores that keep the state machine and not its value. */
  takeMoved(): boolean {
    const moved = this.#moved;
    this.#moved = false;
    return moved;
  }

  get isEphemeral(): boolean {
    return this.#only !== "";
  }

  /** From this instant on an ephemeral group is to be removed; `undefined` for every other group. */
  get endsAt(): number | undefined {
    return this.isEphemeral ? (this.#members.get(this.#only)?.endsAt ?? 0) : undefined;
  }

  get memberIds(): readonly string[] {
    return [...this.#members.keys()];
  }

  countMembers(now: number): number {
    let count = 0;
    for (const { endsAt } of this.#members.values()) if (endsAt > now) count += 1;
    return count;
  }

  /** Idempotent for the same member. A group that is new has no members yet; `made`: this call made it. */
  join({ id, sessionMs, revokeMs, agreement, ephemeral }: NewMember, now: number, made: boolean): Refused | undefined {
    if (!made) {
      if (ephemeral && this.#only !== id) return { refused: "exists" };
      if (this.#only !== "" && this.#only !== id) return { refused: "ephemeral" };
    }
    if (this.countMembers(now) > 0 && this.#agreement !== agreement) return { refused: "agreement" };
    this.#changed = true;
    this.#agreement = agreement;
    if (ephemeral) this.#only = id;
    const known = this.#members.get(id);
    if (known !== undefined) known.endsAt = now + sessionMs;
    else this.#members.set(id, { id, number: ++this.#joined, revokeMs, endsAt: now + sessionMs });
    return undefined;
  }

  /** `false` when the member's session has ended. */
  renew(id: string, sessionMs: number, now: number): boolean {
    const member = this.#members.get(id);
    if (member === undefined || member.endsAt <= now) return false;
    member.endsAt = now + sessionMs;
    this.#changed = true;
    return true;
  }

  /** Idempotent; answers whether it was a member. */
  leave(id: string, orderly: boolean): boolean {
    if (!this.#members.delete(id)) return false;
    this.#changed = true;
    for (const [partition, { member }] of [...this.#lanes]) if (member === id) this.#take(partition, orderly);
    return true;
  }

  /** The owner gives a lane back; a grant that is superseded is ignored. */
  release(partition: number, fence: number, orderly: boolean): void {
    if (this.#lanes.get(partition)?.fence === fence) this.#take(partition, orderly);
  }

  /** Every lane is taken from its owner, as the group was moved to another position. */
  takeAll(): void {
    for (const partition of [...this.#lanes.keys()]) this.#take(partition, true);
  }

  #take(partition: number, orderly: boolean): void {
    this.#lanes.delete(partition);
    this.#turns.set(partition, { partition, taken: orderly ? "orderly" : "vanished", fence: undefined });
    this.#changed = true;
    this.#moved = true;
  }

  /**
   * Ends what has ended by `now`, and brings the lanes to where they belong: spread evenly, moving as few as possible. A lane moves by being asked back; it is granted
   * anew after its release, or when its owner let `revokeMs` pass. Answers how many fences `grant` needs.
   */
  balance(now: number): number {
    this.#endSessions(now);
    this.#waiting = [];
    if (this.#members.size === 0) return 0;
    const owned = this.#owned();
    const quotas = this.#quotas(owned);
    for (const [id, lanes] of owned) this.#revokeBeyond(quotas.get(id)!, lanes, this.#members.get(id)!.revokeMs, now);
    const room = [...owned].map(([id, lanes]) => ({ id, left: quotas.get(id)! - lanes.length }));
    let candidate = 0;
    for (let partition = 0; partition < this.partitions; partition++) {
      if (this.#lanes.has(partition)) continue;
      while (candidate < room.length && room[candidate]!.left <= 0) candidate += 1;
      if (candidate === room.length) break;
      room[candidate]!.left -= 1;
      this.#waiting.push({ partition, member: room[candidate]!.id });
    }
    return this.#waiting.length;
  }

  /** Each greater than every fence that the lane had before. */
  grant(fences: readonly number[]): void {
    for (const [index, { partition, member }] of this.#waiting.entries()) {
      const fence = fences[index]!;
      this.#lanes.set(partition, { member, fence, lostAt: 0 });
      this.#turns.set(partition, { partition, taken: this.#turns.get(partition)?.taken, fence });
      this.#changed = true;
      this.#moved = true;
    }
    this.#waiting = [];
  }

  #endSessions(now: number): void {
    for (const [id, { endsAt }] of this.#members) {
      if (endsAt > now) continue;
      this.#members.delete(id);
      this.#changed = true;
    }
    for (const [partition, { member, lostAt }] of [...this.#lanes]) {
      if (!this.#members.has(member) || (lostAt !== 0 && lostAt <= now)) this.#take(partition, false);
    }
  }

  /** Each member's lanes, members in the order of joining, lanes ascending. */
  #owned(): Map<string, number[]> {
    const members = [...this.#members.values()].sort((one, other) => one.number - other.number);
    const owned = new Map<string, number[]>(members.map(({ id }) => [id, []]));
    const partitions = [...this.#lanes.keys()].sort((one, other) => one - other);
    for (const partition of partitions) owned.get(this.#lanes.get(partition)!.member)!.push(partition);
    return owned;
  }

  /** Who has most keeps the odd ones. */
  #quotas(owned: ReadonlyMap<string, readonly number[]>): ReadonlyMap<string, number> {
    const least = Math.floor(this.partitions / owned.size);
    const odd = this.partitions % owned.size;
    const byLanes = [...owned].sort(([, one], [, other]) => other.length - one.length);
    return new Map(byLanes.map(([id], index) => [id, least + (index < odd ? 1 : 0)]));
  }

  #revokeBeyond(quota: number, lanes: readonly number[], revokeMs: number, now: number): void {
    let kept = 0;
    for (const partition of lanes) {
      const lane = this.#lanes.get(partition)!;
      if (lane.lostAt !== 0) continue;
      kept += 1;
      if (kept <= quota) continue;
      lane.lostAt = now + revokeMs;
      this.#changed = true;
      this.#moved = true;
    }
  }

  /** What a member is to know. */
  reportTo(id: string, now: number): Report {
    let soonest = Number.POSITIVE_INFINITY;
    for (const member of this.#members.values()) if (member.id !== id) soonest = Math.min(soonest, member.endsAt);
    const lanes = [];
    for (const [partition, { member, fence, lostAt }] of this.#lanes) {
      if (lostAt !== 0) soonest = Math.min(soonest, lostAt);
      if (member === id) lanes.push({ partition, fence, revoked: lostAt !== 0 });
    }
    return { soonestMs: soonest === Number.POSITIVE_INFINITY ? -1 : Math.max(0, Math.ceil(soonest - now)), lanes };
  }

  /** How lanes have changed hands since the value was read. */
  takeTurns(): readonly LaneTurn[] {
    const turns = [...this.#turns.values()];
    this.#turns.clear();
    return turns;
  }

  encode(): Buffer {
    const writer = new ByteWriter();
    writer.u8(format).whole(this.partitions).whole(this.#joined).text(this.#agreement).text(this.#only);
    writer.whole(this.#members.size);
    const indexes = new Map<string, number>();
    for (const { id, number, revokeMs, endsAt } of this.#members.values()) {
      indexes.set(id, indexes.size);
      writer.text(id).whole(number).f64(revokeMs).f64(endsAt);
    }
    writer.whole(this.#lanes.size);
    for (const [partition, { member, fence, lostAt }] of this.#lanes) {
      writer.whole(partition).whole(indexes.get(member)!).whole(fence).f64(lostAt);
    }
    return writer.done();
  }

  static decode(bytes: Uint8Array): GroupState {
    const reader = new ByteReader(bytes, "a group");
    if (reader.u8() !== format) throw reader.corrupt();
    const state = new GroupState(reader.whole());
    state.#joined = reader.whole();
    state.#agreement = reader.text();
    state.#only = reader.text();
    const ids: string[] = [];
    for (let left = reader.whole(); left > 0; left--) {
      const member = { id: reader.text(), number: reader.whole(), revokeMs: reader.f64(), endsAt: reader.f64() };
      ids.push(member.id);
      state.#members.set(member.id, member);
    }
    for (let left = reader.whole(); left > 0; left--) {
      const partition = reader.whole();
      const member = ids[reader.whole()];
      if (member === undefined) throw reader.corrupt();
      state.#lanes.set(partition, { member, fence: reader.whole(), lostAt: reader.f64() });
    }
    reader.end();
    return state;
  }
}
