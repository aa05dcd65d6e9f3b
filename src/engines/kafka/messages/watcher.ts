import type { Cancel, World } from "../../../world/world.ts";
import type { FetchTopic } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { plain } from "../failures.ts";
import type { Arrived } from "../fetching/fetching.ts";
import { type Isolation, isolation } from "../requests.ts";
import type { Session } from "../session.ts";

/** A request waits so long at the broker for what comes. */
const maxWaitMs = 500;
/** Who waits asks again before. */
const forgetMs = 5_000;
/** At one broker: a partition that is added begins a request beside the one that waits. */
const requestsMax = 3;
const backoffMs = 500;

/** What came, as it was asked for from a position on; of much only a part, or nothing. */
export interface News {
  readonly from: number;
  readonly arrived: Arrived;
}

/** `undefined`: something is wrong, or was. */
type Hear = (news: News | undefined) => void;

interface Watched {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** What comes has this position, or a greater one. */
  readonly next: number;
  readonly until: number;
  /** Nobody: who heard the last news is expected to wait for more. */
  readonly hears: Set<Hear>;
}

/** Tells once when something was appended behind the end of a partition, and what; any notice may be lost. */
export class Watcher {
  readonly #cluster: Cluster;
  readonly #world: World;
  readonly #watched = new Map<string, Watched>();
  /** By broker, how many requests wait there. */
  readonly #requests = new Map<number, number>();
  /** By broker, the request that was made last: it waits for all that anybody waits for there. */
  readonly #newest = new Map<number, object>();
  readonly #idle = new Map<number, Session[]>();
  #cancel: Cancel | undefined;
  readonly #bytesMax: number;
  readonly #shown: Isolation;
  #closed = false;

  /** `bytesMax`: of what came at least one batch is told, and about so much. `shown`: whether what is not decided counts as appended. */
  constructor(cluster: Cluster, bytesMax: number, shown: Isolation = isolation.uncommitted) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#bytesMax = bytesMax;
    this.#shown = shown;
  }

  watch(topic: string, topicId: string, partition: number, next: number, hear: Hear): void {
    const key = keyOf({ topicId, partition });
    const known = this.#watched.get(key);
    const until = this.#world.clock.monotonic() + forgetMs;
    const isNew = known === undefined || known.next !== next;
    // Who is further behind hears of what the others have.
    const least = known === undefined || known.hears.size === 0 ? next : Math.min(known.next, next);
    const hears = known?.hears ?? new Set();
    hears.add(hear);
    this.#watched.set(key, { topic, topicId, partition, next: least, until, hears });
    if (isNew) queueMicrotask(() => this.#ask());
  }

  /** Whether what comes from there on is waited for already. */
  waitsAt(topicId: string, partition: number, next: number): boolean {
    return this.#watched.get(keyOf({ topicId, partition }))?.next === next;
  }

  /** Who asked to hear does not wait any more, or will not again. */
  unwatch(topicId: string, partition: number, hear: Hear): void {
    const key = keyOf({ topicId, partition });
    const hears = this.#watched.get(key)?.hears;
    hears?.delete(hear);
    if (hears?.size === 0) this.#watched.delete(key);
  }

  /** One request to each broker with all that is waited for there. */
  #ask(): void {
    if (this.#closed) return;
    const now = this.#world.clock.monotonic();
    for (const [key, { until }] of this.#watched) if (until < now) this.#watched.delete(key);
    void this.#askEach([...this.#watched.values()]);
  }

  async #askEach(watched: readonly Watched[]): Promise<void> {
    const byLeader = new Map<number, Watched[]>();
    for (const [name, each] of Map.groupBy(watched, ({ topic }) => topic)) {
      const topic = await this.#cluster.topic(name).catch(() => undefined);
      for (const one of each) {
        const leader = topic?.id === one.topicId ? (topic.leaders[one.partition] ?? -1) : -1;
        byLeader.set(leader, [...(byLeader.get(leader) ?? []), one]);
      }
    }
    for (const [leader, partitions] of byLeader) void this.#askLeader(leader, partitions);
  }

  async #askLeader(leader: number, partitions: readonly Watched[]): Promise<void> {
    const waiting = this.#requests.get(leader) ?? 0;
    const address = this.#cluster.addressOf(leader);
    if (address === undefined || waiting >= requestsMax || this.#closed) {
      this.#askLater();
      return;
    }
    this.#requests.set(leader, waiting + 1);
    const request = {};
    this.#newest.set(leader, request);
    let session: Session | undefined;
    try {
      session = this.#idle.get(leader)?.pop() ?? (await this.#cluster.dedicated(address));
      const answer = await this.#fetch(session, partitions);
      const isNewest = this.#newest.get(leader) === request;
      this.#hear(answer, partitions, isNewest);
      this.#keep(leader, session);
      if (isNewest && this.#watched.size > 0) queueMicrotask(() => this.#ask());
    } catch (error) {
      if (session !== undefined) this.#cluster.discard(session);
      if (this.#closed) return;
      for (const { topic } of partitions) this.#cluster.forget(topic);
      this.#world.log.log("debug", "trouble with waiting at Kafka", { error: plain(error)?.message ?? "" });
      this.#askLater();
    } finally {
      this.#requests.set(leader, this.#requests.get(leader)! - 1);
    }
  }

  #keep(leader: number, session: Session): void {
    if (this.#closed || session.ended) {
      this.#cluster.discard(session);
      return;
    }
    this.#idle.set(leader, [...(this.#idle.get(leader) ?? []), session]);
  }

  #askLater(): void {
    if (this.#closed || this.#watched.size === 0) return;
    this.#cancel?.();
    this.#cancel = this.#world.timers.schedule(backoffMs, () => this.#ask());
  }

  async #fetch(session: Session, partitions: readonly Watched[]): Promise<readonly Arrived[]> {
    const topics = Map.groupBy(partitions, ({ topicId }) => topicId);
    const asked: FetchTopic[] = [...topics].map(([topicId, each]) => ({
      topicId,
      partitions: each.map(({ partition, next }) => ({
        partition,
        currentLeaderEpoch: -1,
        fetchOffset: BigInt(next),
        lastFetchedEpoch: -1,
        partitionMaxBytes: this.#bytesMax,
      })),
    }));
    const { fetching, commandTimeoutMs } = this.#cluster;
    const request = { maxWaitMs, bytesMax: this.#bytesMax, isolation: this.#shown };
    return session.within(maxWaitMs + commandTimeoutMs, (connection) => fetching.arrivals(connection, asked, request));
  }

  /** `partitions`: as they were asked for. `isNewest`: they are asked for again now. */
  #hear(answer: readonly Arrived[], partitions: readonly Watched[], isNewest: boolean): void {
    const asked = new Map(partitions.map((each) => [keyOf(each), each.next]));
    for (const arrived of answer) {
      const key = keyOf(arrived);
      const from = asked.get(key);
      const watched = this.#watched.get(key);
      if (watched === undefined || from === undefined) continue;
      // Whoever waits finds out what is wrong, and waits again.
      const isWrong = arrived.errorCode !== 0;
      const end = Number(this.#shown === isolation.committed ? arrived.lastStableOffset : arrived.highWatermark);
      if (!isWrong && end <= watched.next) continue;
      if (isWrong) this.#cluster.forget(watched.topic);
      const isExpected = isNewest && !isWrong && watched.hears.size > 0;
      // Who hears of it mostly waits for more before the next request is made: so that one will do.
      if (isExpected) this.#watched.set(key, { ...watched, next: end, hears: new Set() });
      else this.#watched.delete(key);
      for (const hear of watched.hears) hear(isWrong ? undefined : { from, arrived });
    }
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    for (const sessions of this.#idle.values()) for (const session of sessions) this.#cluster.discard(session);
    this.#watched.clear();
  }
}

function keyOf({ topicId, partition }: Pick<Watched, "topicId" | "partition">): string {
  return `${partition}/${topicId}`;
}
