import type { MessagingExpectations } from "./messaging-checker.ts";
import type { MessagingHistory } from "./messaging-history.ts";
import type {
  DeadLetterRecord,
  DeliveryRecord,
  Moment,
  PublishRecord,
  RestRecord,
  SeekRecord,
  SettleRecord,
} from "./messaging-records.ts";

/** A message as it stands in the topic. The same number may stand there more than once, where publishing may duplicate. */
export interface StoredCopy {
  readonly partition: number;
  readonly position: bigint;
  readonly number: number;
  readonly key?: string | undefined;
}

/** What one group saw, by place in the topic. */
export interface GroupView {
  readonly name: string;
  /** In the order in which they began. */
  readonly deliveries: readonly DeliveryRecord[];
  readonly byPlace: ReadonlyMap<string, readonly DeliveryRecord[]>;
  readonly settles: ReadonlyMap<string, readonly SettleRecord[]>;
  readonly seeks: readonly SeekRecord[];
  /** `undefined` while the group is not at rest. */
  readonly rest: RestRecord | undefined;
  readonly deadByPlace: ReadonlyMap<string, readonly DeadLetterRecord[]>;
}

/** The history of one topic, indexed for the rules. */
export class TopicView {
  readonly history: MessagingHistory;
  readonly expected: MessagingExpectations;
  readonly byNumber = new Map<number, PublishRecord[]>();
  readonly copies = new Map<string, StoredCopy>();
  readonly copiesByNumber = new Map<number, StoredCopy[]>();
  /** By partition and key, in stored order. */
  readonly copiesByKey = new Map<string, StoredCopy[]>();
  /** Two different messages were seen at one place. */
  readonly conflicts: (readonly [StoredCopy, StoredCopy])[] = [];
  readonly groups: readonly GroupView[];
  readonly #highestMemberMs: number;

  constructor(history: MessagingHistory, expected: MessagingExpectations) {
    this.history = history;
    this.expected = expected;
    const { topic } = expected;
    for (const record of history.publishes) {
      if (record.topic !== topic) continue;
      push(this.byNumber, record.number, record);
      const { partition, position, number, key } = record;
      if (position !== undefined && partition !== undefined) this.#stands({ partition, position, number, key });
    }
    this.groups = expected.groups.map((name) => this.#groupOf(name));
    for (const copies of this.copiesByKey.values()) copies.sort((a, b) => (a.position < b.position ? -1 : 1));
    this.#highestMemberMs = Math.max(...history.memberClocks.map((clock) => clock.highestEver));
  }

  /** Whether a consumer may have taken it for expired, ever. */
  mayHaveExpired(number: number): boolean {
    const expiries = this.publishesOf(number).map(({ expiresAt }) => expiresAt ?? Number.POSITIVE_INFINITY);
    return Math.min(...expiries) <= this.#highestMemberMs;
  }

  publishesOf(number: number): readonly PublishRecord[] {
    return this.byNumber.get(number) ?? [];
  }

  #groupOf(name: string): GroupView {
    const { topic } = this.expected;
    const isOurs = (record: { readonly topic: string; readonly group: string }): boolean =>
      record.topic === topic && record.group === name;
    const deliveries = this.history.deliveries.filter(isOurs);
    const byPlace = new Map<string, DeliveryRecord[]>();
    for (const delivery of deliveries) {
      this.#stands(delivery);
      push(byPlace, placeOf(delivery), delivery);
    }
    const settles = new Map<string, SettleRecord[]>();
    for (const settle of this.history.settles) if (isOurs(settle)) push(settles, placeOf(settle), settle);
    const rest = this.history.rests.findLast(isOurs);
    const deadByPlace = new Map<string, DeadLetterRecord[]>();
    for (const dead of rest?.deadLetters ?? []) {
      if (dead.origin.topic === topic) this.#stands({ ...dead.origin, number: dead.number, key: dead.key });
      push(deadByPlace, placeOf(dead.origin), dead);
    }
    return { name, deliveries, byPlace, settles, seeks: this.history.seeks.filter(isOurs), rest, deadByPlace };
  }

  #stands({ partition, position, number, key }: StoredCopy): void {
    const place = placeOf({ partition, position });
    const copy = { partition, position, number, key };
    const known = this.copies.get(place);
    if (known === undefined) {
      this.copies.set(place, copy);
      push(this.copiesByNumber, number, copy);
      if (key !== undefined) push(this.copiesByKey, `${partition}/${key}`, copy);
    } else if (known.number !== number) {
      this.conflicts.push([known, copy]);
    }
  }
}

/** Names where a message stands in its topic. */
export function placeOf({ partition, position }: { readonly partition: number; readonly position: bigint }): string {
  return `${partition}/${position}`;
}

/** The lane's fence under which a delivery was made. */
export function grantOf({ fence }: DeliveryRecord): bigint {
  return fence >> 32n;
}

export function isBefore(one: Moment | undefined, other: Moment): boolean {
  return one !== undefined && one.order < other.order;
}

/** By when it has taken effect, if it has. Nothing when its outcome is unknown: then it may still be on its way. */
export function doneBy({ outcome, ended }: SeekRecord): Moment | undefined {
  return outcome === "unknown" ? undefined : ended;
}

/** Whether its handler had run so long that its key went on without it. Monotonic time may go faster than virtual time, or stand still. */
export function wasGivenUp(view: TopicView, delivery: DeliveryRecord, at: Moment): boolean {
  const { abandonedAfterMs = 90_000, clockDriftMax = 0.1 } = view.expected;
  const until = isBefore(delivery.ended, at) ? delivery.ended! : at;
  return until.atMs - delivery.begun.atMs >= abandonedAfterMs * (1 - clockDriftMax);
}

/** How far a seek may have moved a partition: `undefined` when the history does not say. */
export function targetOf({ to }: SeekRecord, partition: number): bigint | "stays" | undefined {
  if (to === "earliest") return 0n;
  if (typeof to === "string" || "at" in to) return undefined;
  return to.positions.get(partition) ?? "stays";
}

/** Whether the seek may have left the message out. */
export function maySkip(seek: SeekRecord, { partition, position }: StoredCopy): boolean {
  const target = targetOf(seek, partition);
  return seek.outcome !== "not-applied" && target !== "stays" && (target === undefined || target > position);
}

/** Whether the seek may have made a settled message come again: in partitions that stay, those that were settled before older ones may, too. */
export function mayGoBack(
  seek: SeekRecord,
  { partition, position }: Pick<StoredCopy, "partition" | "position">,
): boolean {
  const target = targetOf(seek, partition);
  return seek.outcome !== "not-applied" && (typeof target !== "bigint" || target <= position);
}

/** `message 17 (key "a") at partition 0, position 4`. */
export function describe({ number, key, partition, position }: StoredCopy): string {
  return `${messageOf(number, key)} at partition ${partition}, position ${position}`;
}

export function messageOf(number: number, key: string | undefined): string {
  return key === undefined ? `message ${number}` : `message ${number} (key "${key}")`;
}

export function ms(moment: Moment): string {
  return `${Math.round(moment.atMs * 1_000) / 1_000} ms`;
}

export function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else values.push(value);
}
