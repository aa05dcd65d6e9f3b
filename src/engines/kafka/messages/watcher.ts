import type { Cancel, World } from "../../../world/world.ts";
import type { FetchTopic } from "../clients.ts";
import type { Cluster } from "../cluster.ts";
import { plain } from "../failures.ts";
import type { PartitionEnd } from "../fetching/fetching.ts";
import { type Isolation, isolation } from "../requests.ts";
import type { Session } from "../session.ts";

/** A request waits so long at the broker for what comes. */
const maxWaitMs = 500;
/** Who waits asks again before. */
const forgetMs = 5_000;
/** At one broker: a partition that is added begins a request beside the one that waits. */
const requestsMax = 3;
const backoffMs = 500;

interface Watched {
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** What comes has this position, or a greater one. */
  readonly next: number;
  readonly until: number;
  readonly hears: Set<() => void>;
}

/** Tells once when something was appended behind the end of a partition; any notice may be lost. */
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
  readonly #shown: Isolation;
  #closed = false;

  /** `shown`: whether what is not decided counts as appended. */
  constructor(cluster: Cluster, shown: Isolation = isolation.uncommitted) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#shown = shown;
  }

  watch(topic: string, topicId: string, partition: number, next: number, hear: () => void): void {
    const key = `${partition}/${topicId}`;
    const known = this.#watched.get(key);
    const until = this.#world.clock.monotonic() + forgetMs;
    const hears = known?.hears ?? new Set();
    hears.add(hear);
    const isNew = known === undefined || known.next !== next;
    // Who is further behind hears of what the others have.
    const least = known === undefined ? next : Math.min(known.next, next);
    this.#watched.set(key, { topic, topicId, partition, next: least, until, hears });
    if (isNew) queueMicrotask(() => this.#ask());
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
    for (const each of watched) {
      const topic = await this.#cluster.topic(each.topic).catch(() => undefined);
      const leader = topic?.id === each.topicId ? (topic.leaders[each.partition] ?? -1) : -1;
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), each]);
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
      this.#hear(await this.#fetch(session, partitions));
      this.#keep(leader, session);
      if (this.#newest.get(leader) === request && this.#watched.size > 0) queueMicrotask(() => this.#ask());
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

  async #fetch(session: Session, partitions: readonly Watched[]): Promise<readonly PartitionEnd[]> {
    const topics = Map.groupBy(partitions, ({ topicId }) => topicId);
    const asked: FetchTopic[] = [...topics].map(([topicId, each]) => ({
      topicId,
      partitions: each.map(({ partition, next }) => ({
        partition,
        currentLeaderEpoch: -1,
        fetchOffset: BigInt(next),
        lastFetchedEpoch: -1,
        partitionMaxBytes: 1,
      })),
    }));
    const { fetching, commandTimeoutMs } = this.#cluster;
    return session.within(maxWaitMs + commandTimeoutMs, (connection) =>
      fetching.ends(connection, asked, { maxWaitMs, isolation: this.#shown }),
    );
  }

  #hear(ends: readonly PartitionEnd[]): void {
    for (const { topicId, partition, errorCode, highWatermark, lastStableOffset } of ends) {
      const key = `${partition}/${topicId}`;
      const watched = this.#watched.get(key);
      if (watched === undefined) continue;
      // Whoever waits finds out what is wrong, and waits again.
      const end = this.#shown === isolation.committed ? lastStableOffset : highWatermark;
      if (errorCode === 0 && Number(end) <= watched.next) continue;
      if (errorCode !== 0) this.#cluster.forget(watched.topic);
      this.#watched.delete(key);
      for (const hear of watched.hears) hear();
    }
  }

  close(): void {
    this.#closed = true;
    this.#cancel?.();
    for (const sessions of this.#idle.values()) for (const session of sessions) this.#cluster.discard(session);
    this.#watched.clear();
  }
}
