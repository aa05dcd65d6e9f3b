import { isCode, TenonError } from "../../../contracts/errors.ts";
import type { Held, Lane, NewMessage, ProducerMark, Stored } from "../../../contracts/messages.ts";
import type { World } from "../../../world/world.ts";
import { type Copying, copyingAs, copyingOf, drawProducer, markedAs, type Target } from "./copying.ts";
import { dueAtOf, identityOf, lookAtOf, moved, published } from "./delayed-message.ts";
import { type Dated, DueQueue } from "./due-queue.ts";
import { pauseBeforeTry } from "./failures.ts";
import type { LaterBounds } from "./later-store.ts";
import { levelFor, spanOf } from "./levels.ts";

/** So many messages are copied at once, of about so many bytes. */
const roundCountMax = 500;
const roundBytesMax = 1024 * 1024;
const fetchCountMax = 1_000;
/** So much of a level above 0 is in memory: its messages leave in the order in which they came. */
const levelCountMax = 1_000;
/** From here on messages are sent on: where some leave all the time it is never quite full. */
const spillShare = 0.9;
/** The clock may be set, so it is looked at at least so often while messages wait. */
const lookMs = 1_000;
/** How soon a lane is given back whose copies are not remembered. */
const anewMs = 500;
/** So many messages are known again that were stored twice, beside those that wait. */
const identitiesMax = 4_096;

export interface KeptLaneHost {
  readonly world: World;
  readonly bounds: LaterBounds;
  /** The engine's clock, or less. */
  now(): number;
  append(target: Target, messages: readonly NewMessage[], producer: ProducerMark): Promise<unknown>;
}

interface Waiting extends Dated {
  readonly message: Stored;
  readonly bytes: number;
}

/**
 * A lane of delayed messages under one grant: copies them to where they belong when it is time, each in three steps. What is to be copied is marked in the lane's held entries, with the
 * producer's mark that the copy is stored under; it is copied; it is settled. So a later owner that finds marks makes the same copy once more, under the same producer's mark, which stores it
 * no second time; and whoever counts knows that marked ones may be in two places.
 */
export class KeptLane {
  readonly #host: KeptLaneHost;
  readonly #lane: Lane;
  readonly #level: number;
  /** Of the copies under this grant. */
  readonly #producer: number;
  /** Whatever was fetched and is not settled, in the order of positions. */
  readonly #waiting = new Map<number, Waiting>();
  readonly #queue = new DueQueue<Waiting>();
  /** What a former owner began to copy: nobody knows how far that came. */
  readonly #former: Copying | undefined;
  readonly #identities = new Set<string>();
  /** By target, the sequence that comes next. */
  readonly #sequences = new Map<Target, number>();
  readonly #formerPositions: ReadonlySet<number>;
  /** They are below. */
  readonly #formerEnd: number;
  /** What has been copied, and is to be settled. */
  #done: bigint[] = [];
  #bytes = 0;
  /** Behind what was fetched last. */
  #end = 0;
  #ended = false;
  #wakers: (() => void)[] = [];

  constructor(host: KeptLaneHost, lane: Lane, level: number) {
    this.#host = host;
    this.#lane = lane;
    this.#level = level;
    this.#former = copyingOf(lane.held);
    this.#producer = drawProducer(host.world.random);
    this.#formerPositions = new Set(this.#former?.positions);
    this.#formerEnd = Math.max(0, ...this.#formerPositions) + 1;
  }

  /** Resolves when the lane has passed on or was given back; rejects with `not-found` when the topic is gone. */
  async run(): Promise<void> {
    const wake = () => this.#wake();
    this.#lane.revoked.addEventListener("abort", wake);
    this.#lane.lost.addEventListener("abort", wake);
    const filling = this.#fill();
    try {
      await this.#repeatFormer();
      await this.#work();
    } catch (error) {
      if (isCode(error, "not-found")) throw error;
      // Whoever has the lane next begins anew.
      if (!this.#lane.lost.aborted) this.#log("delayed messages of a lane are kept anew", error);
    } finally {
      this.#ended = true;
      this.#wake();
      await this.#lane.release().catch(() => undefined);
      await filling;
    }
  }

  // What waits ---------------------------------------------------------------------------------------------------------

  async #fill(): Promise<void> {
    for (let failures = 0; !this.#isOver; ) {
      if (this.#isFull) {
        await this.#change();
        continue;
      }
      try {
        for (const message of await this.#lane.fetch(fetchCountMax)) this.#add(message);
        failures = 0;
      } catch (error) {
        if (this.#isOver || isCode(error, "lost")) break;
        this.#log("reading delayed messages failed; it is repeated", error);
        await pauseBeforeTry(this.#host.world, failures++, this.#lane.lost).catch(() => undefined);
      }
      this.#wake();
    }
  }

  #add(message: Stored): void {
    const position = Number(message.position);
    this.#end = position + 1;
    if (this.#isKnown(message)) {
      this.#done.push(message.position);
      return;
    }
    // What somebody else wrote here, without an instant, is due.
    const at = (this.#level === 0 ? dueAtOf(message) : lookAtOf(message)) || 0;
    const waiting = { at, position, message, bytes: message.sizeBytes ?? message.body.length };
    this.#waiting.set(position, waiting);
    this.#bytes += waiting.bytes;
    if (!this.#formerPositions.has(position)) this.#queue.add(waiting);
  }

  /** Whether it was stored before, by a producer that did not hear of that. */
  #isKnown(message: Stored): boolean {
    const identity = identityOf(message);
    if (identity === undefined) return false;
    if (this.#identities.has(identity)) return true;
    this.#identities.add(identity);
    if (this.#identities.size > 2 * identitiesMax + this.#waiting.size) this.#forgetIdentities();
    return false;
  }

  /** Many at a time: finding the oldest means to pass by those that have gone. */
  #forgetIdentities(): void {
    let excess = identitiesMax;
    for (const oldest of this.#identities) {
      if (excess-- === 0) return;
      this.#identities.delete(oldest);
    }
  }

  /** Nothing more is begun. */
  get #isOver(): boolean {
    return this.#ended || this.#lane.lost.aborted || this.#lane.revoked.aborted;
  }

  get #isFull(): boolean {
    return this.#isFilled(1);
  }

  /** Whether so much of what may be in memory is. */
  #isFilled(share: number): boolean {
    if (!this.#hasFormer) return false;
    const { windowMax, bytesMax } = this.#host.bounds;
    const [lowest = this.#end] = this.#waiting.keys();
    if (this.#level > 0 && this.#waiting.size >= levelCountMax) return true;
    return this.#bytes >= share * bytesMax || this.#end - lowest >= share * windowMax;
  }

  // Copying ------------------------------------------------------------------------------------------------------------

  async #repeatFormer(): Promise<void> {
    const former = this.#former;
    if (former === undefined) return;
    while (!this.#hasFormer && !this.#isOver) await this.#change();
    const messages = former.positions.flatMap((position) => this.#waiting.get(position) ?? []);
    if (messages.length === 0 || this.#isOver) return;
    // What is not remembered any more is copied anew.
    if ((await this.#copy(former, messages)) === "forgotten") for (const each of messages) this.#queue.add(each);
  }

  get #hasFormer(): boolean {
    return this.#former === undefined || this.#end >= this.#formerEnd;
  }

  async #work(): Promise<void> {
    while (!this.#isOver) {
      const due = this.#takeDue();
      if (due.length > 0) await this.#move(due, this.#level === 0 ? undefined : 0);
      // Also when something is due all the time: what is behind the bound may be due, too.
      const hasSpilled = !this.#isOver && this.#isFilled(spillShare) && (await this.#spill());
      if (due.length > 0 || hasSpilled) continue;
      if (this.#done.length > 0) await this.#commit([]);
      else await this.#change(this.#untilNextMs());
    }
    this.#lane.lost.throwIfAborted();
    if (this.#done.length > 0) await this.#commit([]);
  }

  #takeDue(): readonly Waiting[] {
    const now = this.#host.now();
    const due: Waiting[] = [];
    let bytes = 0;
    for (let first = this.#queue.first; first !== undefined && first.at <= now; first = this.#queue.first) {
      bytes += first.bytes;
      if (due.length === roundCountMax || (due.length > 0 && bytes > roundBytesMax)) break;
      due.push(first);
      this.#queue.takeFirst();
    }
    return due;
  }

  #untilNextMs(): number | undefined {
    const { first } = this.#queue;
    return first === undefined ? undefined : Math.min(lookMs, Math.max(1, Math.ceil(first.at - this.#host.now())));
  }

  /**
   * Sends on what is not due soon, the first ones first, when hardly more can be looked at: to the level where it waits for the longest part of what is left. Answers `false` when there is nothing to do.
   */
  async #spill(): Promise<boolean> {
    if (this.#level > 0) return false;
    const now = this.#host.now();
    const { unitMs } = this.#host.bounds;
    const byLevel = new Map<number, Waiting[]>();
    let looked = 0;
    let bytes = 0;
    for (const each of this.#waiting.values()) {
      if (looked++ > this.#waiting.size / 2 && byLevel.size > 0) break;
      const level = levelFor(each.at - now, unitMs);
      if (level === 0) continue;
      const chosen = byLevel.get(level) ?? [];
      byLevel.set(level, chosen);
      bytes += each.bytes;
      chosen.push(each);
      if (chosen.length === roundCountMax || bytes > roundBytesMax) break;
    }
    // Once for all of them, as it looks at everything that waits.
    const leaving = new Set([...byLevel.values()].flat());
    if (leaving.size > 0) this.#queue.keep((each) => !leaving.has(each));
    for (const [level, chosen] of byLevel) {
      await this.#move(chosen, level);
      if (this.#isOver) break;
    }
    return byLevel.size > 0;
  }

  /** Marks them, and settles what was copied before; then copies them. */
  async #move(messages: readonly Waiting[], target: Target): Promise<void> {
    const sequence = this.#sequences.get(target) ?? 0;
    const copying = copyingAs(this.#producer, target, sequence, messages);
    await this.#commit(markedAs(copying));
    const copied = await this.#copy(copying, messages);
    if (copied === "forgotten") {
      // A producer that was silent for long may be forgotten. Under the next grant there is another one.
      await this.#host.world.timers.sleep(anewMs, { signal: this.#lane.lost });
      throw new TenonError("conflict", `what was copied of ${this.#name} is not remembered any more`);
    }
    this.#sequences.set(target, sequence + messages.length);
  }

  /** `forgotten`: the engine does not remember the producer that they were to be copied as. */
  async #copy({ target, mark }: Copying, messages: readonly Waiting[]): Promise<"copied" | "forgotten"> {
    const now = this.#host.now();
    const lookAt = target === undefined || target === 0 ? undefined : now + spanOf(target, this.#host.bounds.unitMs);
    // Not beyond its instant: time has passed since the level was chosen, days where an owner vanished meanwhile.
    const copies = messages.map(({ message, at }) =>
      target === undefined ? published(message) : moved(message, lookAt && Math.min(lookAt, at)),
    );
    for (let failures = 0; ; failures++) {
      this.#lane.lost.throwIfAborted();
      try {
        await this.#host.append(target, copies, mark);
        for (const each of messages) this.#forget(each);
        this.#wake();
        return "copied";
      } catch (error) {
        if (isCode(error, "not-found")) throw error;
        if (isCode(error, "conflict") && error.outcome !== "unknown") return "forgotten";
        this.#log("copying delayed messages failed; it is repeated", error);
        await pauseBeforeTry(this.#host.world, failures, this.#lane.lost);
      }
    }
  }

  #forget({ position, bytes }: Waiting): void {
    this.#waiting.delete(position);
    this.#bytes -= bytes;
    this.#done.push(BigInt(position));
  }

  /** Settles what was copied, and marks what is copied next. */
  async #commit(held: readonly Held[]): Promise<void> {
    const settled = this.#done;
    this.#done = [];
    for (let failures = 0; ; failures++) {
      try {
        await this.#lane.commit({ settled, held });
        return;
      } catch (error) {
        this.#lane.lost.throwIfAborted();
        if (isCode(error, "lost")) throw error;
        this.#log("settling delayed messages failed; it is repeated", error);
        await pauseBeforeTry(this.#host.world, failures, this.#lane.lost);
      }
    }
  }

  // Waiting ------------------------------------------------------------------------------------------------------------

  #wake(): void {
    const wakers = this.#wakers;
    this.#wakers = [];
    for (const wake of wakers) wake();
  }

  #change(ms?: number): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = ms === undefined ? undefined : this.#host.world.timers.schedule(ms, () => this.#wake());
      this.#wakers.push(() => {
        cancel?.();
        resolve();
      });
    });
  }

  get #name(): string {
    return `lane ${this.#lane.partition} of level ${this.#level}`;
  }

  #log(message: string, error: unknown): void {
    this.#host.world.log.log("warn", message, { lane: this.#name, error: String(error) });
  }
}
