import type { Held, ProducerMark } from "../../../contracts/messages.ts";
import type { Random } from "../../../world/world.ts";

/** Where a copy goes: to a level, or to the topic itself. */
export type Target = number | undefined;

/** What is copied together, and the producer's mark that it is stored under. */
export interface Copying {
  readonly producer: number;
  readonly target: Target;
  readonly mark: ProducerMark;
  /** In the order in which they are copied. */
  readonly positions: readonly number[];
}

const producersMax = 2 ** 44;
/** Level 0 is 1, and so on. */
const toTopic = 0;
/** More than there are levels. */
const targetsMax = 16;

/** The number of a producer for one grant. By chance, as fences begin anew where the topic of a level was made anew, and what was copied once is remembered. */
export function drawProducer(random: Random): number {
  return Math.floor(random.float() * producersMax);
}

export function copyingAs(
  producer: number,
  target: Target,
  sequence: number,
  messages: readonly { readonly position: number }[],
): Copying {
  const mark = { id: `tenon-later/${producer.toString(36)}`, epoch: 0, sequence };
  return { producer, target, mark, positions: messages.map(({ position }) => position) };
}

/** What is being copied, as held entries of its lane: `deliveries` is the place in the producer's sequence, `dueAt` says which producer it is, and where the copy goes. */
export function markedAs({ producer, target, mark, positions }: Copying): readonly Held[] {
  const dueAt = producer * targetsMax + (target === undefined ? toTopic : target + 1);
  return positions.map((position, index) => ({
    position: BigInt(position),
    failures: 0,
    deliveries: mark.sequence + index,
    dueAt,
  }));
}

/** What somebody has begun to copy and not settled yet: an owner has one copy under way at a time. */
export function copyingOf(held: readonly Held[]): Copying | undefined {
  const marks = held.toSorted((one, other) => one.deliveries - other.deliveries);
  const [first] = marks;
  if (first === undefined) return undefined;
  const target = first.dueAt % targetsMax;
  const positions = marks.map(({ position }) => ({ position: Number(position) }));
  return copyingAs(
    Math.floor(first.dueAt / targetsMax),
    target === toTopic ? undefined : target - 1,
    first.deliveries,
    positions,
  );
}
