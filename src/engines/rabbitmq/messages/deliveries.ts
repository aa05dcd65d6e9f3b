import type { World } from "../../../world/world.ts";
import { Run } from "../../lanes/message-format.ts";
import type { Channel } from "../channel.ts";
import type { RabbitmqMessage } from "../clients.ts";
import type { RabbitmqConnection } from "../connection.ts";
import { Gone } from "../failures.ts";
import { decodeRun, type PackedRun } from "./partition-head.ts";

/** So many of the server's messages are in hand at first, and at most; each is one append or several. */
const prefetchMin = 250;
const prefetchMax = 65_535;
/** How soon it is tried again to consume, at first and at most. */
const retryMs = 50;
const retryMsMax = 2_000;
/** After so long without the message that is next somebody is told. */
const missingMs = 30_000;

interface InHand {
  readonly run: PackedRun;
  readonly end: number;
  /** Of the channel that is open now; `undefined` while it is on its way again. */
  message: RabbitmqMessage | undefined;
}

export interface DeliveriesHost {
  readonly world: World;
  readonly connection: RabbitmqConnection;
  /** What people call the lane. */
  readonly name: string;
  readonly queue: string;
  /** Whether nobody needs the position any more. */
  isSettled(position: number): boolean;
  /** Something came. */
  arrived(): void;
  /** The queue is gone. */
  gone(): void;
}

export interface DeliveriesRequest {
  readonly cursor: number;
  readonly limit: number;
  readonly bytesMax: number;
  /** Nothing that begins here or later. */
  readonly end: number;
}

/**
 * What a lane's owner has in hand: consumed, and acknowledged when it is settled. One consumer of a queue at a time is active, and becomes so when the channel of the former one has ended and what that one had
 * in hand is back in its place. So messages come in stored order; their positions say what came twice, and what is still missing.
 */
export class Deliveries {
  readonly #host: DeliveriesHost;
  /** By position. */
  #inHand: InHand[] = [];
  #channel: Channel | undefined;
  #prefetch = prefetchMin;
  #isEnded = false;
  #isGrowing = false;
  /** Everything below has been here. */
  seenEnd: number;
  #missingSince: number | undefined;

  constructor(host: DeliveriesHost, low: number) {
    this.#host = host;
    this.seenEnd = low;
    void this.#run();
  }

  /** What comes next from the cursor on, without a gap. */
  runs({ cursor, limit, bytesMax, end }: DeliveriesRequest): readonly Run[] {
    const runs: Run[] = [];
    let position = cursor;
    let bytes = 0;
    let index = this.#indexOf(cursor);
    for (; index < this.#inHand.length && position - cursor < limit && bytes < bytesMax; index++) {
      const next = this.#inHand[index]!;
      if (next.run.position >= end) break;
      if (next.run.position > position && !this.#areSettled(position, next.run.position)) break;
      const { count, publishedAt, packed } = next.run;
      runs.push(new Run(next.end, count, publishedAt, packed));
      bytes += packed.length;
      position = next.end;
    }
    if (runs.length === 0) this.#lookForMore(index, end);
    else this.#missingSince = undefined;
    return runs;
  }

  /** Acknowledges what is settled as a whole. */
  acknowledge(below: number): void {
    const kept: InHand[] = [];
    for (const each of this.#inHand) {
      // What is not here again yet will be found settled when it comes.
      if (each.run.position >= below || !this.#areSettled(each.run.position, each.end)) kept.push(each);
      else if (each.message !== undefined) this.#channel?.ack(each.message);
    }
    this.#inHand = kept;
  }

  /** Whatever is in hand goes back to its place. */
  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#inHand = [];
    void this.#channel?.close();
  }

  /** The first that ends behind the position. */
  #indexOf(position: number): number {
    let [from, to] = [0, this.#inHand.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (this.#inHand[middle]!.end <= position) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  #areSettled(from: number, to: number): boolean {
    for (let position = from; position < to; position++) if (!this.#host.isSettled(position)) return false;
    return true;
  }

  // Consuming ----------------------------------------------------------------------------------------------------------

  /** Consumes on one channel after the other; when one ends, with the connection or because something was in hand for longer than the server allows, what was in hand comes again. */
  async #run(): Promise<void> {
    const { world, name } = this.#host;
    for (let failures = 0; !this.#isEnded; ) {
      try {
        await this.#consume(() => {
          failures = 0;
        });
      } catch (error) {
        if (error instanceof Gone) {
          this.#host.gone();
          return;
        }
        world.log.log("warn", "consuming a lane's messages failed; it is repeated", {
          lane: name,
          error: String(error),
        });
      }
      await this.#channel?.close();
      this.#channel = undefined;
      if (this.#isGrowing) this.#isGrowing = false;
      else if (!this.#isEnded) await this.#pause(Math.min(retryMs * 2 ** failures++, retryMsMax));
    }
  }

  /** Resolves when the channel has ended. */
  async #consume(begun: () => void): Promise<void> {
    const { connection, queue, name } = this.#host;
    const channel = await connection.channel(`consuming for ${name}`);
    this.#channel = channel;
    const ended = new Promise<void>((resolve) => {
      const former = channel.onEnd;
      channel.onEnd = () => {
        former?.();
        resolve();
      };
    });
    for (const each of this.#inHand) each.message = undefined;
    if (this.#isEnded) return;
    await channel.prefetch(this.#prefetch);
    await channel.consume(queue, (message) => this.#take(channel, message));
    begun();
    if (!this.#isEnded && !channel.isEnded) await ended;
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#host.world.timers.schedule(ms, resolve));
  }

  #take(channel: Channel, message: RabbitmqMessage | null): void {
    if (this.#isEnded || this.#channel !== channel) return;
    if (message === null) {
      this.#host.gone();
      return;
    }
    const run = decodeRun(message.content);
    const end = run.position + run.count;
    const index = this.#indexOf(run.position);
    const known = this.#inHand[index];
    if (known?.run.position === run.position && known.message === undefined) known.message = message;
    // It is settled, or was sent twice.
    else if (known?.run.position === run.position || this.#areSettled(run.position, end)) channel.ack(message);
    else this.#inHand.splice(index, 0, { run, end, message });
    this.seenEnd = Math.max(this.seenEnd, end);
    this.#host.arrived();
  }

  /** All that may be in hand is, and none of it can be handed out: more of it, where the window allows. Or what is next is missing. */
  #lookForMore(index: number, end: number): void {
    const next = this.#inHand[index];
    if (next === undefined) {
      const isFull = this.#inHand.length >= this.#prefetch && this.seenEnd < end && this.#prefetch < prefetchMax;
      if (!isFull || this.#channel === undefined) return;
      this.#prefetch = Math.min(this.#prefetch * 4, prefetchMax);
      this.#isGrowing = true;
      void this.#channel.close();
      return;
    }
    if (next.run.position >= end) return;
    const { world, name } = this.#host;
    const now = world.clock.monotonic();
    this.#missingSince ??= now;
    if (now - this.#missingSince < missingMs) return;
    this.#missingSince = now;
    const meaning = "something else took it out of the lane's queue, or the server lost it; the lane waits for it";
    world.log.log("error", `a message of ${name} is missing: ${meaning}`, { before: next.run.position });
  }
}
