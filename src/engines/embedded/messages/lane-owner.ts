import { TenonError } from "../../../contracts/errors.ts";
import type { Held, LaneCommit, Lane as LaneContract, Stored } from "../../../contracts/messages.ts";
import { fetchBytesMax } from "../../lanes/fetch-size.ts";
import { Reader } from "../cursor.ts";
import type { Lane } from "./lanes.ts";
import { type Location, locationAt, type MessageIndex, recordPosition } from "./message-index.ts";
import { readMessage, readRunHeader, skipMessage } from "./message-run.ts";

/** What an owner asks of the engine that granted its lane. */
export interface LaneKeeper {
  readonly index: MessageIndex;
  read(position: number): Buffer | Promise<Buffer>;
  commit(owner: LaneOwner, change: LaneCommit): Promise<void>;
  release(owner: LaneOwner): Promise<void>;
}

/** A run that is being read. */
interface OpenRun {
  readonly reader: Reader;
  readonly publishedAt: number;
  readonly end: number;
  /** The offset of the message that the reader stands before. */
  offset: number;
  /** Where it was found, so that the next run is usually one step away. */
  readonly location: Location;
  readonly generation: number;
}

/** A lane under one grant. */
export class LaneOwner implements LaneContract {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly fence: bigint;
  readonly held: readonly Held[];
  readonly suspectBelow: bigint;
  readonly lane: Lane;
  /** The next offset to look at; everything unsettled below was fetched under this grant. */
  cursor: number;
  /** Released or lost. */
  ended = false;

  readonly #keeper: LaneKeeper;
  readonly #windowMax: number;
  readonly #revoked = new AbortController();
  readonly #lost = new AbortController();
  #run: OpenRun | undefined;
  /** Bytes of what the fetch under way has taken. */
  #collected = 0;
  #fetching = false;
  #wake: (() => void) | undefined;

  constructor(lane: Lane, keeper: LaneKeeper, windowMax: number) {
    this.lane = lane;
    this.#keeper = keeper;
    this.#windowMax = windowMax;
    this.topic = lane.group.topic.name;
    this.group = lane.group.name;
    this.partition = lane.queue.partition;
    this.fence = BigInt(lane.fence);
    this.suspectBelow = BigInt(lane.suspectBelow);
    this.cursor = lane.settled.low;
    this.held = [...lane.held]
      .sort(([a], [b]) => a - b)
      .map(([offset, entry]) => ({ position: BigInt(offset), ...entry }));
  }

  get revoked(): AbortSignal {
    return this.#revoked.signal;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Something that a waiting fetch may wait for has happened. */
  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  revoke(): void {
    this.#revoked.abort(new TenonError("lost", `${this.#name()} was asked back; finish, commit and release it`));
    this.wake();
  }

  /** Ends the grant from outside; `reason` is what everything under it gets from now on. */
  lose(reason: TenonError): void {
    if (this.ended) return;
    this.ended = true;
    this.#lost.abort(reason);
    this.wake();
  }

  async fetch(limit: number, options: { signal?: AbortSignal | undefined } = {}): Promise<readonly Stored[]> {
    const signal = options.signal;
    if (!(Number.isInteger(limit) && limit > 0)) {
      throw new TenonError("invalid", `fetch needs a limit of at least 1, not ${limit}`);
    }
    if (this.#fetching)
      throw new TenonError("conflict", `${this.#name()} is being fetched from; wait for that call first`);
    this.#fetching = true;
    try {
      for (;;) {
        signal?.throwIfAborted();
        this.throwIfEnded();
        const messages = await this.#collect(limit);
        this.throwIfEnded();
        if (messages.length > 0) return messages;
        await this.#change(signal);
      }
    } finally {
      this.#fetching = false;
    }
  }

  commit(change: LaneCommit): Promise<void> {
    return this.#keeper.commit(this, change);
  }

  release(): Promise<void> {
    return this.#keeper.release(this);
  }

  throwIfEnded(): void {
    if (!this.ended) return;
    if (this.#lost.signal.aborted) throw this.#lost.signal.reason;
    throw new TenonError("lost", `${this.#name()} was released; ask the membership for the next lane`);
  }

  #change(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      // A message may have become visible between the last look and now.
      if (this.ended || this.#nextOffset() !== undefined || signal?.aborted) {
        resolve();
        return;
      }
      this.#wake = wake;
      signal?.addEventListener("abort", wake, { once: true });
    });
  }

  /** The next unsettled offset that may be handed out now. */
  #nextOffset(): number | undefined {
    const { settled, queue } = this.lane;
    const end = Math.min(queue.visible, settled.low + this.#windowMax);
    let offset = Math.max(this.cursor, settled.low);
    while (offset < end && settled.has(offset)) offset += 1;
    this.cursor = offset;
    return offset < end ? offset : undefined;
  }

  async #collect(limit: number): Promise<Stored[]> {
    const messages: Stored[] = [];
    this.#collected = 0;
    while (messages.length < limit && this.#collected < fetchBytesMax && !this.ended) {
      const offset = this.#nextOffset();
      if (offset === undefined) break;
      const run = this.#holds(offset) ? this.#run! : await this.#openedAfter(messages, offset);
      if (run === "not now") break;
      if (run === undefined) continue;
      this.#take(run, offset, limit, messages);
    }
    return messages;
  }

  /** Messages that were taken are handed out also when no more can be read: under this grant nobody would meet them again. */
  async #openedAfter(taken: readonly Stored[], offset: number): Promise<OpenRun | "not now" | undefined> {
    try {
      return await this.#openRun(offset);
    } catch (error) {
      if (taken.length > 0) return "not now";
      throw error;
    }
  }

  #holds(offset: number): boolean {
    const run = this.#run;
    return run !== undefined && run.offset <= offset && offset < run.end;
  }

  /** Takes from an open run what is unsettled, visible and within the window. */
  #take(run: OpenRun, from: number, limit: number, messages: Stored[]): void {
    const { settled, queue } = this.lane;
    const end = Math.min(run.end, queue.visible, settled.low + this.#windowMax);
    let offset = run.offset;
    while (offset < end && messages.length < limit && this.#collected < fetchBytesMax) {
      if (offset < from || settled.has(offset)) skipMessage(run.reader);
      else {
        const start = run.reader.at;
        messages.push(readMessage(run.reader, offset, run.publishedAt));
        this.#collected += run.reader.at - start;
      }
      offset += 1;
    }
    run.offset = offset;
    this.cursor = Math.max(this.cursor, offset);
  }

  /** Opens the run that holds `offset`. When nothing is stored there any more, goes past the gap instead. */
  async #openRun(offset: number): Promise<OpenRun | undefined> {
    const index = this.#keeper.index;
    const generation = index.generation;
    const { visible } = this.lane.queue;
    let location: Location | undefined;
    let payload: Buffer | undefined;
    try {
      const located = this.#step(offset) ?? index.locate(this.lane.queue, offset);
      location = located instanceof Promise ? await located : located;
      const read = location && this.#keeper.read(recordPosition(location));
      payload = read instanceof Promise ? await read : read;
    } catch (error) {
      // The segment was cleaned away meanwhile: its live messages stand elsewhere now.
      if (generation !== index.generation) return undefined;
      throw error;
    }
    // After a seek, the lane's progress is somebody else's to change.
    if (this.ended) return undefined;
    if (location === undefined || payload === undefined) {
      this.#pass(offset, visible);
      return undefined;
    }
    const reader = new Reader(payload);
    const header = readRunHeader(reader);
    const end = header.first + header.count;
    this.#run = { reader, publishedAt: header.publishedAt, end, offset: header.first, location, generation };
    if (header.first > offset) this.#pass(offset, header.first);
    return this.#run;
  }

  /** The run behind the one read last, when it is the one wanted. */
  #step(offset: number): Location | undefined {
    const run = this.#run;
    if (run === undefined || run.generation !== this.#keeper.index.generation) return undefined;
    const { runs, index } = run.location;
    return runs.firsts[index + 1] === offset ? locationAt(runs, index + 1) : undefined;
  }

  /** Offsets that are stored no more were settled by every group there was; a group that came later goes past them. */
  #pass(from: number, to: number): void {
    const { low } = this.lane.settled;
    if (from === low) this.lane.settleBelow(to);
    else for (let offset = from; offset < to; offset++) this.lane.settle(offset);
    this.lane.queue.settledFrom(low);
    this.cursor = Math.max(this.cursor, to);
  }

  #name(): string {
    return `lane ${this.topic}/${this.partition} of group ${this.group}`;
  }
}
