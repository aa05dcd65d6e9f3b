import type { Batch, Lane, LaneCommit, Membership, MessageEngine, Stored } from "../../../src/contracts/messages.ts";
import { originalOf } from "../../../src/moving/copies.ts";
import type { MessagingHistory, PublishRecord } from "../../../src/simulation/index.ts";
import { over } from "../observed-messages.ts";

/** Positions on the other engine are counted from here on, so that no place is one on both engines. */
const there = 2n ** 40n;

type Place = { readonly partition: number; readonly position: bigint };
type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

/**
 * Where the messages of one topic stand on both engines. The checker knows a message by its place in its topic, and a copy is the same message: `unify` gives both the same place. It is the
 * copy's, as messages that fall due while the topic leaves, and those that are published behind them on the other engine, have one order only there.
 */
export class MovedPlaces {
  readonly #topic: string;
  /** By place on the other engine: where the original stands. */
  readonly #originals = new Map<string, bigint>();
  /** By place on the engine that is left: the first copy. A copier that dies may make a second one. */
  readonly #copies = new Map<string, bigint>();
  /** By partition: the first message on the other engine that is no copy. */
  readonly #firstNew = new Map<number, bigint>();
  /** By place on the engine that is left: when it was stored there. */
  readonly #publishedAt = new Map<string, number>();

  constructor(topic: string) {
    this.#topic = topic;
  }

  /** The engine that is left, as anybody uses it. */
  left(engine: MessageEngine): MessageEngine {
    const noted = (partition: number, stored: readonly Stored[]): readonly Stored[] => {
      for (const { position, publishedAt } of stored)
        this.#publishedAt.set(nameOf({ partition, position }), publishedAt);
      return stored;
    };
    return over(engine, { join: this.#joined(engine, (lane) => fetching(lane, noted)) });
  }

  /** The other engine. */
  reached(engine: MessageEngine): MessageEngine {
    const shifted = (positions: readonly (bigint | undefined)[]) =>
      positions.map((position) => (position === undefined ? undefined : position + there));
    return over(engine, {
      append: async (batch) => {
        const positions = await engine.append(batch);
        if (batch.topic !== this.#topic) return positions;
        this.#noteCopies(batch, shifted(positions));
        return shifted(positions);
      },
      describe: async (topic) => {
        const description = await engine.describe(topic);
        if (topic !== this.#topic) return description;
        return {
          ...description,
          partitions: description.partitions.map(({ first, next }) => ({ first: first + there, next: next + there })),
          groups: description.groups.map((group) => ({
            ...group,
            lanes: group.lanes.map((lane) => ({ ...lane, low: lane.low + there })),
          })),
        };
      },
      seek: (topic, group, to) => {
        if (topic !== this.#topic || typeof to === "string" || "at" in to) return engine.seek(topic, group, to);
        const positions = new Map([...to.positions].map(([partition, position]) => [partition, position - there]));
        return engine.seek(topic, group, { positions });
      },
      join: this.#joined(engine, (lane) => this.#shiftedLane(lane)),
    });
  }

  #joined(engine: MessageEngine, laneOf: (lane: Lane) => Lane): MessageEngine["join"] {
    return async (topic, group, options) => {
      const membership: Membership = await engine.join(topic, group, options);
      if (topic !== this.#topic) return membership;
      return over(membership, { nextLane: async (waiting) => laneOf(await membership.nextLane(waiting)) });
    };
  }

  #shiftedLane(lane: Lane): Lane {
    const up = <T extends { readonly position: bigint }>(entry: T): T => ({
      ...entry,
      position: entry.position + there,
    });
    const { partition } = lane;
    return over(lane, {
      held: lane.held.map(up),
      suspectBelow: lane.suspectBelow === 0n ? 0n : lane.suspectBelow + there,
      fetch: async (limit, options) => {
        const fetched = (await lane.fetch(limit, options)).map(up);
        for (const { position, headers } of fetched) this.#note(partition, position, originalOf(headers));
        return fetched;
      },
      commit: ({ settled, held = [], ...change }: LaneCommit) =>
        lane.commit({
          ...change,
          settled: settled.map((position) => position - there),
          held: held.map((entry) => ({ ...entry, position: entry.position - there })),
        }),
    });
  }

  #noteCopies({ partition, messages }: Batch, positions: readonly (bigint | undefined)[]): void {
    for (const [at, position] of positions.entries()) {
      if (position !== undefined) this.#note(partition, position, originalOf(messages[at]!.headers));
    }
  }

  #note(partition: number, position: bigint, original: bigint | undefined): void {
    if (original === undefined) {
      const first = this.#firstNew.get(partition);
      if (first === undefined || position < first) this.#firstNew.set(partition, position);
      return;
    }
    this.#originals.set(nameOf({ partition, position }), original);
    const place = nameOf({ partition, position: original });
    const first = this.#copies.get(place);
    if (first === undefined || position < first) this.#copies.set(place, position);
  }

  #unified({ partition, position }: Place): bigint {
    const original = position < there ? position : this.#originals.get(nameOf({ partition, position }));
    if (original === undefined) return position;
    return this.#copies.get(nameOf({ partition, position: original })) ?? original;
  }

  /** When it was stored first: each engine goes by its own clock. */
  #storedAt({ partition, position }: Place): number | undefined {
    const original = this.#originals.get(nameOf({ partition, position }));
    return original === undefined ? undefined : this.#publishedAt.get(nameOf({ partition, position: original }));
  }

  /** Rewrites what was recorded as if the topic had stood in one place all the time. */
  unify(history: MessagingHistory): void {
    this.#forgetIds(history);
    const late = this.#lateOnes(history);
    const keyOf = ({ number, key }: { readonly number: number; readonly key?: string | undefined }) =>
      key !== undefined && late.has(number) ? `${key}, late` : key;
    for (const record of history.publishes as Writable<(typeof history.publishes)[number]>[]) {
      const { partition, position } = record;
      record.key = keyOf(record);
      if (partition !== undefined && position !== undefined) record.position = this.#unified({ partition, position });
    }
    for (const record of history.deliveries as Writable<(typeof history.deliveries)[number]>[]) {
      if (record.topic !== this.#topic) continue;
      record.key = keyOf(record);
      record.publishedAt = this.#storedAt(record) ?? record.publishedAt;
      record.position = this.#unified(record);
    }
    for (const record of history.settles as Writable<(typeof history.settles)[number]>[]) {
      if (record.topic === this.#topic) record.position = this.#unified(record);
    }
    for (const record of history.rests as Writable<(typeof history.rests)[number]>[]) {
      record.deadLetters = record.deadLetters?.map((dead) => ({
        ...dead,
        key: keyOf(dead),
        origin: { ...dead.origin, position: this.#unified(dead.origin) },
      }));
    }
  }

  /**
   * Delayed messages that fell due when others were published on the other engine already: a group that is not there yet handles them before these, and another one behind them. So
   * they keep their order among themselves only.
   */
  #lateOnes({ deliveries, rests }: MessagingHistory): ReadonlySet<number> {
    const late = new Set<number>();
    const seen = (number: number, { partition, position }: Place): void => {
      const original = position < there ? position : this.#originals.get(nameOf({ partition, position }));
      const copy = original === undefined ? undefined : this.#copies.get(nameOf({ partition, position: original }));
      const first = this.#firstNew.get(partition);
      if (copy !== undefined && first !== undefined && copy > first) late.add(number);
    };
    for (const delivery of deliveries) if (delivery.topic === this.#topic) seen(delivery.number, delivery);
    for (const { deadLetters = [] } of rests) for (const { number, origin } of deadLetters) seen(number, origin);
    return late;
  }

  /** An engine knows the ids of what was published to it, not of copies: a message that was published to both may stand there twice. */
  #forgetIds({ publishes, deliveries, rests }: MessagingHistory): void {
    const here = new Set<number>();
    const elsewhere = new Set<number>();
    const seen = ({ number, partition, position }: Pick<PublishRecord, "number" | "partition" | "position">): void => {
      if (partition === undefined || position === undefined) return;
      const isNew = position >= there && !this.#originals.has(nameOf({ partition, position }));
      (isNew ? elsewhere : here).add(number);
    };
    publishes.forEach(seen);
    deliveries.forEach(seen);
    // What expired was never handled.
    for (const { deadLetters = [] } of rests) for (const { number, origin } of deadLetters) seen({ ...origin, number });
    // One of its calls, of which nobody was told a place, is taken for one that had no id.
    const calls = publishes.filter(({ outcome, position }) => outcome !== "not-applied" && position === undefined);
    for (const record of calls as Writable<(typeof publishes)[number]>[]) {
      if (here.delete(record.number) && elsewhere.has(record.number)) record.id = undefined;
    }
  }
}

function fetching(lane: Lane, noted: (partition: number, stored: readonly Stored[]) => readonly Stored[]): Lane {
  return over(lane, { fetch: async (limit, options) => noted(lane.partition, await lane.fetch(limit, options)) });
}

function nameOf({ partition, position }: Place): string {
  return `${partition}/${position}`;
}
