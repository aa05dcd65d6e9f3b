import type { Held, ProducerMark } from "../../../contracts/messages.ts";

/** Where a copy goes: to a level, or to the topic itself. */
export type Target = number | undefined;

/** What is copied together, and the producer's mark that it is stored under. */
export interface Copying {
  readonly target: Target;
  readonly mark: ProducerMark;
  /** In the order in which they are copied. */
  readonly positions: readonly number[];
}

/** The producer of an owner's copies. */
export function copyingProducer(level: number, partition: number, fence: number): string {
  return `tenon-later/${level}/${partition}/${fence}`;
}

/** What is being copied, as held entries of its lane: `failures` is the fence of the owner who began, `deliveries` the place in its sequence, `dueAt` the level, or -1 for the topic. */
export function markedAs({ target, mark, positions }: Copying, fence: number): readonly Held[] {
  return positions.map((position, index) => ({
    position: BigInt(position),
    failures: fence,
    deliveries: mark.sequence + index,
    dueAt: target ?? -1,
  }));
}

/** What somebody has begun to copy and not settled yet: an owner has one copy under way at a time. */
export function copyingOf(held: readonly Held[], level: number, partition: number): Copying | undefined {
  const marks = held.toSorted((one, other) => one.deliveries - other.deliveries);
  const [first] = marks;
  if (first === undefined) return undefined;
  return {
    target: first.dueAt < 0 ? undefined : first.dueAt,
    mark: { id: copyingProducer(level, partition, first.failures), epoch: 0, sequence: first.deliveries },
    positions: marks.map(({ position }) => Number(position)),
  };
}
