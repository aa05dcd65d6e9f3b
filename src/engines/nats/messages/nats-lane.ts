import type { Held } from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";
import { positionBeyond } from "../../lanes/errors.ts";
import type { LaneProgress } from "../../lanes/lane-progress.ts";
import {
  type Fetched,
  type FetchRequest,
  type Grant,
  type LaneChange,
  laneNameOf,
  type OpenedLane,
} from "../../lanes/lane-store.ts";
import { Run } from "../../lanes/message-format.ts";
import { afterConflict } from "../conflicts.ts";
import type { JetStream, StoredMessage } from "../jet-stream.ts";
import type { ServerClock } from "../server-clock.ts";
import type { Streams } from "../streams.ts";
import type { Appends } from "./appends.ts";
import { LaneValue } from "./lane-value.ts";
import type { LaneValues } from "./lane-values.ts";
import { subjectOf } from "./partition-chain.ts";
import { decodePlace, decodeRun } from "./partition-head.ts";
import type { PartitionKeeper } from "./partition-keeper.ts";
import type { Topic } from "./topics.ts";

/** What lanes need of the engine. */
export interface LaneParts {
  readonly world: World;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly lanes: LaneValues;
  readonly keeper: PartitionKeeper;
  readonly appends: Appends;
}

/** An owner may come so much further before it is written down again how far it came. */
const cursorStep = 512;
/** A lane in which nothing happens is looked at so often, whether it is still this owner's. */
const lookMs = 900;
/** A replica of the stream may not have yet what was appended just now. */
const behindMs = 20;
const behindTries = 40;

/** Where a run lies in the stream. */
interface Place {
  readonly end: number;
  readonly sequence: number;
}

interface ReadRuns {
  readonly runs: readonly Run[];
  readonly places: readonly Place[];
  /** Where reading goes on. */
  readonly sequence: number;
  readonly position: number;
  /** What the last one said; `undefined`: there was none. */
  tail: Tail | undefined;
  /** There was nothing more. */
  readonly ended: boolean;
}

/** What is known of the partition's end. */
interface Tail {
  readonly next: number;
  readonly dueAt: number;
}

/** A lane as the streams show it to the owner of one grant. The owner knows the lane's value, so that a commit is one message: the new value, if it is still as it is known. */
export class NatsLane implements OpenedLane {
  readonly low: number;
  readonly suspectBelow: number;
  readonly held: readonly Held[];
  readonly settledEnd: number;
  readonly #parts: LaneParts;
  readonly #place: Topic;
  readonly #grant: Grant;
  readonly #subject: string;
  readonly #before: LaneProgress;
  /** The value as it was read or written last; `undefined` when nobody knows. */
  #known: { readonly bytes: Buffer; readonly revision: number } | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #low: number;
  #cursor: number;
  /** Where the next run is looked for, and the position that is to come there. */
  #sequence: number;
  #position: number;
  #tail: Tail | undefined;
  /** Runs that were read and are not settled as a whole, as far as is known. */
  #places: Place[] = [];
  #lookedAt = Number.NEGATIVE_INFINITY;

  /** Puts the grant's fence into the lane. `undefined` when another grant, or none, holds it. */
  static async open(parts: LaneParts, place: Topic, grant: Grant): Promise<NatsLane | undefined> {
    const { groupNumber, partition, fence } = grant;
    let isOurs = false;
    const opened = await parts.lanes.change(place.id, groupNumber, partition, (lane) => {
      const before = lane.granted;
      isOurs = lane.enter(fence);
      return isOurs && before !== fence;
    });
    return opened !== undefined && isOurs
      ? new NatsLane(parts, place, grant, opened.value, opened.revision)
      : undefined;
  }

  private constructor(parts: LaneParts, place: Topic, grant: Grant, value: LaneValue, revision: number) {
    this.#parts = parts;
    this.#place = place;
    this.#grant = grant;
    this.#subject = subjectOf(parts.streams, place.id, grant.partition);
    const bytes = value.encode();
    this.#known = { bytes, revision };
    const { progress, suspectBelow, cursor } = LaneValue.decode(bytes).state;
    this.#before = progress;
    this.settledEnd = progress.end;
    this.low = progress.low;
    this.held = progress.held;
    this.suspectBelow = suspectBelow;
    this.#low = this.low;
    this.#cursor = cursor;
    this.#sequence = value.lowSequence;
    this.#position = this.low;
  }

  wasSettled(position: number): boolean {
    return this.#before.has(position);
  }

  // Fetching -----------------------------------------------------------------------------------------------------------

  /** A call that fails has read nothing: what it had is read again. */
  async fetch(request: FetchRequest): Promise<Fetched | undefined> {
    const { clock, world } = this.#parts;
    for (let tries = 0; ; tries++) {
      const read = await this.#read(request);
      const { runs, ended } = read;
      if (runs.length > 0) {
        if (!(await this.#reach(runs.at(-1)!.end))) return undefined;
      } else if (!(await this.#look(read))) return undefined;
      await clock.ready();
      this.#sequence = read.sequence;
      this.#position = read.position;
      this.#places.push(...read.places);
      this.#tail = read.tail ?? this.#tail;
      const { next, dueAt } = this.#tail!;
      if (runs.length === 0 && ended && next > this.#position && tries < behindTries) {
        await world.timers.sleep(behindMs);
        continue;
      }
      const dueMs = dueAt < 0 ? -1 : Math.max(0, Math.ceil(dueAt - clock.earliest));
      // Where reading ended before the partition did, there is more, or so it is to seem: it is looked for ahead.
      if (dueMs !== 0 || runs.length > 0) return { low: this.#low, next: ended ? next : next + 1, dueMs, runs };
      await this.#place.chain(this.#grant.partition).releaseDue();
      this.#lookedAt = Number.NEGATIVE_INFINITY;
      if (this.#tail?.dueAt === dueAt) await world.timers.sleep(behindMs);
    }
  }

  /** The next runs, one after the other: where one ends the next is looked for. */
  async #read({ cursor, limit, bytesMax, windowMax }: FetchRequest): Promise<ReadRuns> {
    const runs: Run[] = [];
    const places: Place[] = [];
    let [sequence, position] = [this.#sequence, this.#position];
    let tail: Tail | undefined;
    let ended = false;
    for (let count = 0, bytes = 0; count < limit && bytes < bytesMax; ) {
      const stored = await this.#next(sequence, position);
      if (stored === undefined) {
        ended = true;
        break;
      }
      const { head, packed } = decodeRun(stored.data);
      const end = head.first + head.count;
      tail = { next: Math.max(end, this.#tail?.next ?? 0), dueAt: head.dueAt };
      if (head.first >= this.#low + windowMax) break;
      if (head.first > position && head.first > this.#low) await this.#passOver(position, head.first);
      sequence = stored.sequence + 1;
      position = end;
      places.push({ end, sequence: stored.sequence });
      if (end <= cursor || head.count === 0) continue;
      runs.push(new Run(end, head.count, stored.storedAt, packed));
      count += head.count;
      bytes += packed.length;
    }
    return { runs, places, sequence, position, tail, ended };
  }

  /** What any replica answers will do, unless something is missing before it: then the leader is asked. */
  async #next(sequence: number, position: number): Promise<StoredMessage | undefined> {
    const { jetStream, streams } = this.#parts;
    const ask = (whom: "any" | "leader") => jetStream.next("fetching", streams.runs, this.#subject, sequence, whom);
    const stored = await ask("any");
    return stored === undefined || decodePlace(stored.data).first <= position ? stored : ask("leader");
  }

  /** What was trimmed before this lane's group had come to be, or was lost by the server, will not come. */
  async #passOver(position: number, to: number): Promise<void> {
    const from = Math.max(position, this.#low);
    await this.#change((value) => {
      value.state.progress.apply({ settled: { from: [from], to: [to] } });
    });
  }

  /** Nothing came: whether the lane is still this owner's, and where the partition ends. `false` when the grant is superseded. */
  async #look(read: ReadRuns): Promise<boolean> {
    const now = this.#parts.world.clock.monotonic();
    if ((read.tail ?? this.#tail) !== undefined && now - this.#lookedAt < lookMs) return true;
    this.#lookedAt = now;
    const { groupNumber, partition, fence } = this.#grant;
    const [lane, last] = await Promise.all([
      this.#parts.lanes.read(this.#place.id, groupNumber, partition),
      this.#place.chain(partition).look(),
    ]);
    if (lane === undefined || lane.value.state.fence !== fence || last === undefined) return false;
    // Messages may have been evicted.
    this.#low = Math.max(this.#low, lane.value.state.progress.low);
    const next = last.head.first + last.head.count;
    // What was read is newer, unless the server lost something.
    if (last.sequence + 1 >= read.sequence || next < read.position) {
      read.tail = { next, dueAt: last.head.dueAt };
    }
    return true;
  }

  /** Whoever comes after an owner that vanished must know how far it got. `false` when the grant is superseded. */
  async #reach(end: number): Promise<boolean> {
    if (end <= this.#cursor) return true;
    const cursor = end + cursorStep;
    const low = await this.#change((value) => {
      value.state.cursor = Math.max(value.state.cursor, cursor);
    });
    return low !== undefined;
  }

  // Committing ---------------------------------------------------------------------------------------------------------

  async commit(change: LaneChange): Promise<number | undefined> {
    await this.#checkPositions(change);
    if (change.appends.length > 0) {
      if (!(await this.#isOurs())) return undefined;
      const { appends } = this.#parts;
      const appended = await Promise.allSettled(change.appends.map((checked) => appends.appendChecked(checked)));
      for (const each of appended) if (each.status === "rejected") throw each.reason;
    }
    const before = this.#low;
    const low = await this.#change((value) => {
      value.state.progress.apply({ settled: change.settled, held: change.held.values() });
      value.state.cursor = Math.max(value.state.cursor, this.#position);
    });
    if (low !== undefined && low > before) this.#parts.keeper.note(this.#place, this.#grant.partition);
    return low;
  }

  async #checkPositions({ settled, held }: LaneChange): Promise<void> {
    let last = -1;
    if (settled.to.length > 0) last = settled.to.at(-1)! - 1;
    for (const position of held.keys()) last = Math.max(last, position);
    if (last < (this.#tail?.next ?? 0)) return;
    const found = await this.#place.chain(this.#grant.partition).look();
    // A topic that is gone takes the lane with it, which the commit tells.
    if (found === undefined) return;
    const next = found.head.first + found.head.count;
    if (last >= next) throw positionBeyond(laneNameOf(this.#grant), next);
  }

  async #isOurs(): Promise<boolean> {
    const { groupNumber, partition, fence } = this.#grant;
    const lane = await this.#parts.lanes.read(this.#place.id, groupNumber, partition);
    return lane?.value.state.fence === fence;
  }

  /** Changes the lane's value, one change after the other; answers the lowest unsettled position, `undefined` when the grant is superseded. */
  #change(change: (value: LaneValue) => void): Promise<number | undefined> {
    const done = this.#turn.then(() => this.#write(change));
    this.#turn = done.catch(() => undefined);
    return done;
  }

  async #write(change: (value: LaneValue) => void): Promise<number | undefined> {
    const { lanes, world } = this.#parts;
    const { groupNumber, partition, fence } = this.#grant;
    for (let tries = 0; ; tries++) {
      if (this.#known === undefined) {
        const read = await lanes.read(this.#place.id, groupNumber, partition);
        if (read === undefined || read.value.state.fence !== fence) return undefined;
        this.#known = { bytes: read.value.encode(), revision: read.revision };
      }
      const { bytes, revision } = this.#known;
      const value = LaneValue.decode(bytes);
      change(value);
      this.#dropPlaces(value);
      this.#known = undefined;
      const written = await lanes.write(this.#place.id, groupNumber, partition, value, revision);
      if (written !== undefined) {
        this.#known = { bytes: value.encode(), revision: written };
        this.#low = value.state.progress.low;
        this.#cursor = value.state.cursor;
        return this.#low;
      }
      await afterConflict(world, tries);
    }
  }

  /** From where on the next owner has to look. */
  #dropPlaces(value: LaneValue): void {
    const { low } = value.state.progress;
    let count = 0;
    while (count < this.#places.length && this.#places[count]!.end <= low) count += 1;
    if (count === 0) return;
    value.lowSequence = this.#places[count - 1]!.sequence + 1;
    this.#places = this.#places.slice(count);
  }
}
