import type {
  GroupDescription,
  Held,
  JoinOptions,
  Lane,
  Membership,
  Stored,
  TopicDescription,
} from "../contracts/messages.ts";
import { originalOf } from "./copies.ts";
import { groupOf, hasReached } from "./descriptions.ts";
import type { MessagingEngine } from "./engines.ts";
import { repeating } from "./repeating.ts";
import type { TopicCopier } from "./topic-copier.ts";
import { Unsettled } from "./unsettled.ts";

export interface TransferParts {
  readonly from: MessagingEngine;
  readonly to: MessagingEngine;
  readonly topic: string;
  readonly partitions: number;
  readonly copier: TopicCopier;
  readonly signal: AbortSignal;
  readonly pollMs: number;
  /** Called while the group still has members that have to leave. */
  readonly waitsFor: (group: string, members: number) => void;
}

/** The group stands still for so long after a move that died here. */
const sessionMs = 10_000;
/** Ten times what consumers have unless they say otherwise. */
const beyondMax = 100_000;
const fetchCountMax = 256;

/** Carries over where the topic's groups stand. */
export class ProgressTransfer {
  readonly #parts: TransferParts;
  /**
   * How far beyond its lowest unsettled message a group may have settled others, in messages. What it has settled beyond that is handled once
   * more.
   */
  readonly #beyondMax: number;

  constructor(parts: TransferParts) {
    this.#parts = parts;
    const { from, to } = parts;
    // The group's own window reaches twice as far, so that what it has not settled can be read that far without a gap.
    const ownMax = Math.floor(from.messages.capabilities.windowMax / 2);
    this.#beyondMax = Math.min(beyondMax, ownMax, to.messages.capabilities.windowMax) - fetchCountMax;
  }

  /** Answers the highest fence that any grant of the group's lanes has had. May be repeated. */
  async carry(group: string): Promise<bigint> {
    const { from, to, topic, partitions, signal } = this.#parts;
    await this.#untilAlone(group);
    const source = await from.messages.join(topic, group, this.#options(from));
    try {
      const lanes = await this.#lanes(source);
      // Nobody else settles anything now, so this stands until the end.
      const description = await from.messages.describe(topic);
      const before = groupOf(description, group).lanes;
      await this.#untilCopied(description);
      await this.#goNear(group, before);
      const counts = groupOf(await to.messages.describe(topic), group).lanes.map(({ lag }) => lag);
      const target = await to.messages.join(topic, group, this.#options(to));
      try {
        const targets = await this.#lanes(target);
        for (let partition = 0; partition < partitions; partition++) {
          const lane = lanes.get(partition)!;
          const { low, lag: count } = before[partition]!;
          const end = description.partitions[partition]!.next;
          const unsettled = new Unsettled({ lane, low, count, end, world: from.world, signal });
          await this.#carryLane(lane, unsettled, targets.get(partition)!, counts[partition]!);
        }
      } finally {
        await target.leave();
      }
      return [...lanes.values()].reduce((max, { fence }) => (fence > max ? fence : max), 0n);
    } finally {
      await source.leave();
    }
  }

  /** Those who consume through `moving` leave when they see the seal. */
  async #untilAlone(group: string): Promise<void> {
    const { from, topic, signal, waitsFor, pollMs } = this.#parts;
    for (;;) {
      const description = await repeating(from.world, () => from.messages.describe(topic), signal);
      const { members } = groupOf(description, group);
      if (members === 0) return;
      waitsFor(group, members);
      await from.world.timers.sleep(pollMs, { signal });
    }
  }

  /** What falls due while the topic leaves is handled where it is, and its copy may still be under way. */
  async #untilCopied({ partitions }: TopicDescription): Promise<void> {
    const { from, topic, signal, pollMs } = this.#parts;
    const ends = partitions.map(({ next }) => next);
    while (!hasReached(await repeating(from.world, () => from.messages.describe(topic), signal), ends)) {
      await from.world.timers.sleep(pollMs, { signal });
    }
  }

  #options({ messages }: MessagingEngine): JoinOptions {
    const session = Math.max(sessionMs, messages.capabilities.sessionMsMin);
    const windowMax = Math.min(2 * (this.#beyondMax + fetchCountMax), messages.capabilities.windowMax);
    return { sessionMs: session, revokeMs: session, windowMax };
  }

  async #lanes(membership: Membership): Promise<ReadonlyMap<number, Lane>> {
    const lanes = new Map<number, Lane>();
    while (lanes.size < this.#parts.partitions) {
      const lane = await membership.nextLane({ signal: this.#parts.signal });
      lanes.set(lane.partition, lane);
    }
    return lanes;
  }

  /** Settles at once what lies far below, where it is known where the copies stand. */
  async #goNear(group: string, lanes: GroupDescription["lanes"]): Promise<void> {
    const { to, topic, copier } = this.#parts;
    if (!to.messages.capabilities.replay) return;
    const positions = new Map<number, bigint>();
    for (const [partition, { low }] of lanes.entries()) {
      const near = copier.index(partition).atOrBefore(low);
      if (near !== undefined) positions.set(partition, near);
    }
    if (positions.size > 0) await to.messages.seek(topic, group, { positions });
  }

  /** Goes through the copies that the group has not settled, and settles those whose originals it has. `count`: how many there are. */
  async #carryLane(lane: Lane, unsettled: Unsettled, target: Lane, count: number): Promise<void> {
    const walk = new Walk(lane, unsettled, {
      beyondMax: this.#beyondMax,
      heldMax: this.#parts.to.messages.capabilities.heldMax,
    });
    for (let left = count; left > 0 && !walk.isOver; ) {
      const fetched = await target.fetch(Math.min(left, fetchCountMax), { signal: this.#parts.signal });
      left -= fetched.length;
      const { settled, held } = await walk.over(fetched);
      if (settled.length > 0 || held.length > 0) await target.commit({ settled, held });
    }
  }
}

/** What becomes of a partition's copies, one after the other. */
class Walk {
  readonly #unsettled: Unsettled;
  readonly #held: ReadonlyMap<bigint, Held>;
  readonly #beyondMax: number;
  readonly #heldMax: number;
  #last = -1n;
  #beyond = 0;
  #heldCount = 0;
  /** Nothing that comes can have been settled. */
  isOver = false;

  constructor(lane: Lane, unsettled: Unsettled, { beyondMax, heldMax }: { beyondMax: number; heldMax: number }) {
    this.#unsettled = unsettled;
    this.#held = new Map(lane.held.map((held) => [held.position, held]));
    this.#beyondMax = beyondMax;
    this.#heldMax = heldMax;
  }

  async over(
    copies: readonly Stored[],
  ): Promise<{ readonly settled: readonly bigint[]; readonly held: readonly Held[] }> {
    const settled: bigint[] = [];
    const held: Held[] = [];
    for (const { position, headers } of copies) {
      const original = originalOf(headers);
      if (this.#beyond >= this.#beyondMax || (original !== undefined && original >= this.#unsettled.end)) {
        this.isOver = true;
        break;
      }
      // Whatever comes behind the lowest unsettled one takes room in the window.
      if (original === undefined || original >= this.#unsettled.low || this.#beyond > 0) this.#beyond += 1;
      // It was published there. Copies of what fell due meanwhile may stand behind it.
      if (original === undefined) continue;
      // What a copier that died had stored too stands there once more.
      const isRepeated = original <= this.#last;
      if (!isRepeated) this.#last = original;
      if (isRepeated || !(await this.#unsettled.has(original))) settled.push(position);
      else {
        const before = this.#held.get(original);
        // What the other engine cannot hold begins its attempts anew.
        if (before === undefined || this.#heldCount >= this.#heldMax) continue;
        this.#heldCount += 1;
        held.push({ ...before, position });
      }
    }
    return { settled, held };
  }
}
