import { TenonError } from "../../../contracts/errors.ts";
import type { Held } from "../../../contracts/messages.ts";
import {
  type Fetched,
  type FetchRequest,
  type Grant,
  type LaneChange,
  LaneProgress,
  laneNameOf,
  type OpenedLane,
  positionBeyond,
} from "../../lanes/index.ts";
import type { Cluster } from "../cluster.ts";
import { answeredCode, asRead, failureOf, kafkaCode } from "../failures.ts";
import type { FetchedBatches } from "../fetching/fetching.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledTopic } from "../journal/topic.ts";
import type { Appends } from "./appends.ts";
import { runsOf } from "./fetched-runs.ts";
import { OtherTopic, type Topics } from "./topics.ts";
import type { Trimmer } from "./trimmer.ts";
import type { News, Watcher } from "./watcher.ts";

/** What lanes need of the engine. */
export interface LaneParts {
  readonly cluster: Cluster;
  readonly journal: Journal;
  readonly topics: Topics;
  readonly appends: Appends;
  readonly watcher: Watcher;
  readonly trimmer: Trimmer;
}

/** A lane as journal and partition show it to the owner of one grant. Who owns it, and what is settled, is read where this engine has the journal's state. */
export class KafkaLane implements OpenedLane {
  readonly low: number;
  readonly suspectBelow: number;
  readonly held: readonly Held[];
  readonly settledEnd: number;
  readonly #parts: LaneParts;
  readonly #place: JournaledTopic;
  readonly #grant: Grant;
  readonly #before: LaneProgress;
  readonly #wake: () => void;
  #revision = 0;
  #next = 0;
  /** Where the partition ended, when all before it was read: there it is waited for more, without another look. */
  #end = -1;
  /** What came while it was waited for. */
  #news: News | undefined;
  #isOver = false;

  static async open(
    parts: LaneParts,
    place: JournaledTopic,
    grant: Grant,
    wake: () => void,
  ): Promise<KafkaLane | undefined> {
    const find = () => {
      const group = parts.journal.state.topic(place.number)?.group(grant.groupNumber);
      const lane = group?.lanes[grant.partition]?.state;
      return lane?.fence === grant.fence ? { lane, windowMax: group!.windowMax } : undefined;
    };
    const suspect = (find()?.lane.suspectBelow ?? 0) > 0;
    // A vanished owner fetched nothing beyond the end and the window.
    const end = suspect ? await parts.topics.end(place, grant.partition, "opening a lane") : 0;
    const found = find();
    if (found === undefined) return undefined;
    const before = LaneProgress.decode(found.lane.progress.encode());
    return new KafkaLane(parts, place, grant, before, Math.min(end, before.low + found.windowMax), wake);
  }

  private constructor(
    parts: LaneParts,
    place: JournaledTopic,
    grant: Grant,
    before: LaneProgress,
    suspectBelow: number,
    wake: () => void,
  ) {
    this.#parts = parts;
    this.#place = place;
    this.#grant = grant;
    this.#before = before;
    this.#wake = wake;
    this.low = before.low;
    this.held = before.held;
    this.settledEnd = before.end;
    this.suspectBelow = suspectBelow;
  }

  wasSettled(position: number): boolean {
    return this.#before.has(position);
  }

  /** The lowest unsettled position; `undefined` when the grant is superseded, as far as this engine has read. */
  #lowNow(): number | undefined {
    const { partition, groupNumber, fence } = this.#grant;
    const lane = this.#parts.journal.state.topic(this.#place.number)?.group(groupNumber)?.lanes[partition]?.state;
    return lane?.fence === fence ? lane.progress.low : undefined;
  }

  // Fetching -----------------------------------------------------------------------------------------------------------

  async fetch({ cursor, windowMax, bytesMax }: FetchRequest): Promise<Fetched | undefined> {
    const low = this.#lowNow();
    if (low === undefined) return undefined;
    const from = Math.max(cursor, low);
    if (from >= low + windowMax) return { low, next: Math.max(this.#next, from), dueMs: -1, runs: [] };
    if (this.#isWaitedForAt(from)) {
      this.#watch();
      return { low, next: this.#next, dueMs: -1, runs: [] };
    }
    const fetched = await this.#read(from, bytesMax);
    if (fetched === undefined) return undefined;
    if (fetched === "out of range") return this.#findRange(from);
    this.#next = Number(fetched.highWatermark);
    const { runs, gaps, end } = runsOf(fetched.batches, from);
    if (gaps.length > 0) await this.#settle(gaps);
    const lowNow = this.#lowNow();
    if (lowNow === undefined) return undefined;
    if (end >= this.#next) {
      this.#end = this.#next;
      if (runs.length === 0) this.#watch();
    }
    return { low: lowNow, next: this.#next, dueMs: -1, runs: runs.filter((run) => run.position < lowNow + windowMax) };
  }

  /** Nothing was there when it was looked at, and what has come since is on its way. */
  #isWaitedForAt(from: number): boolean {
    if (from !== this.#end || from !== this.#next) return false;
    return this.#parts.watcher.waitsAt(this.#place.kafkaId, this.#grant.partition, from);
  }

  /** Tells once, and perhaps never: who is called without news looks for itself. */
  #watch(): void {
    const { kafkaName, kafkaId } = this.#place;
    this.#end = -1;
    if (this.#isOver) return;
    this.#parts.watcher.watch(kafkaName, kafkaId, this.#grant.partition, this.#next, this.#hear);
  }

  /** Waits no more: a topic that is gone afterwards would be looked for with every request, and hold up what others wait for. */
  end(): void {
    this.#isOver = true;
    const { watcher } = this.#parts;
    watcher.unwatch(this.#place.kafkaId, this.#grant.partition, this.#hear);
    this.#news = undefined;
  }

  readonly #hear = (news: News | undefined) => {
    this.#news = news;
    this.#wake();
  };

  /** What came from a position on, if nothing was left out. */
  #arrivedAt(offset: number): FetchedBatches | undefined {
    const news = this.#news;
    this.#news = undefined;
    if (news === undefined || news.from > offset) return undefined;
    const fetched = this.#parts.cluster.fetching.open(news.arrived, this.#place.kafkaName);
    const last = fetched.batches.at(-1);
    return last !== undefined && last.end > offset ? fetched : undefined;
  }

  /** `undefined`: the grant is superseded. */
  async #read(offset: number, bytesMax: number): Promise<FetchedBatches | "out of range" | undefined> {
    const { cluster } = this.#parts;
    const what = "fetching";
    const check = () => {
      if (this.#lowNow() === undefined) throw new Superseded();
    };
    const { partition, topic } = this.#grant;
    const { kafkaName, kafkaId } = this.#place;
    try {
      const arrived = this.#arrivedAt(offset);
      if (arrived !== undefined) return arrived;
      return await cluster.leader(
        { what, outcome: "not-applied", check, kafkaId },
        kafkaName,
        partition,
        (connection, place) => {
          if (place.id !== kafkaId) throw new OtherTopic(topic, kafkaName);
          return cluster.fetching.batches(connection, place, partition, { offset, maxWaitMs: 0, bytesMax });
        },
      );
    } catch (error) {
      if (error instanceof Superseded) return undefined;
      if (answeredCode(error) === kafkaCode.offsetOutOfRange) return "out of range";
      return asRead(failureOf(error, what, "not-applied"));
    }
  }

  /** Somebody deleted what was not settled, or the servers lost it. What was deleted counts as settled; of a partition that went back the caller knows what to do. */
  async #findRange(from: number): Promise<Fetched | undefined> {
    const { topics } = this.#parts;
    const { partition } = this.#grant;
    const first = await topics.begin(this.#place, partition, "fetching");
    const next = await topics.end(this.#place, partition, "fetching");
    if (first > from) await this.#settle([{ from: 0, to: first }]);
    const low = this.#lowNow();
    return low === undefined ? undefined : { low, next, dueMs: -1, runs: [] };
  }

  /** Positions without a message, which nobody else will settle. */
  async #settle(gaps: readonly { readonly from: number; readonly to: number }[]): Promise<void> {
    const settled = { from: gaps.map(({ from }) => from), to: gaps.map(({ to }) => to) };
    await this.#commit({ settled, held: new Map(), forgotten: [], appends: [] });
  }

  // Committing ---------------------------------------------------------------------------------------------------------

  async commit(change: LaneChange): Promise<number | undefined> {
    await this.#checkPositions(change);
    if (this.#lowNow() === undefined) return undefined;
    for (const { batch } of change.appends) await this.#parts.appends.append(batch);
    const before = this.#lowNow();
    const low = await this.#commit(change);
    if (low !== undefined && low > (before ?? 0)) this.#parts.trimmer.note(this.#place);
    return low;
  }

  #commit({ settled, held }: LaneChange): Promise<number | undefined> {
    const { partition, groupNumber: group, fence } = this.#grant;
    this.#revision += 1;
    return this.#parts.journal.submit<"commit">(
      {
        kind: "commit",
        topic: this.#place.number,
        group,
        partition,
        fence,
        revision: this.#revision,
        from: settled.from,
        to: settled.to,
        held: [...held.values()].map((each) => [Number(each.position), each.failures, each.deliveries, each.dueAt]),
      },
      "a commit of a lane",
    );
  }

  async #checkPositions({ settled, held }: LaneChange): Promise<void> {
    let last = settled.to.length > 0 ? settled.to.at(-1)! - 1 : -1;
    for (const position of held.keys()) last = Math.max(last, position);
    if (last < this.#next) return;
    this.#next = await this.#parts.topics.end(this.#place, this.#grant.partition, "committing");
    if (last >= this.#next) throw positionBeyond(laneNameOf(this.#grant), this.#next);
  }
}

/** The grant is superseded. */
class Superseded extends TenonError {
  constructor() {
    super("lost", "the grant is superseded");
  }
}
