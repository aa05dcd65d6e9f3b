import { isCode } from "../contracts/errors.ts";
import type { MessagingEngine } from "./engines.ts";
import { unlessClosed } from "./failures.ts";
import { type MoveStage, readMoveNote } from "./move-note.ts";

/** Where a topic is: not being moved, on its way, on the other engine, or on neither. */
export type Stage = "open" | MoveStage | "absent";

/** Hears when a topic leaves. */
export type Departure = () => void;

/**
 * Where one topic is, as the seal on the engine that it leaves says. Publishers find out when they are refused; for consumers it is asked again and again, as nobody tells
 * them.
 */
export class TopicPlace {
  readonly name: string;
  readonly #from: MessagingEngine;
  readonly #to: MessagingEngine;
  readonly #pollMs: number;
  readonly #watchers = new Set<Departure>();
  #polling = false;
  #looking: Promise<Stage> | undefined;
  /** As it was last seen. */
  stage: Stage | undefined;
  /** Fences of lanes on the other engine count from here on. */
  fence = 0n;

  constructor(name: string, from: MessagingEngine, to: MessagingEngine, pollMs: number) {
    this.name = name;
    this.#from = from;
    this.#to = to;
    this.#pollMs = pollMs;
  }

  /** Where it was last seen; asks when that is not known, or may be over at any time. */
  known(): Stage | Promise<Stage> {
    const { stage } = this;
    return stage === "open" || stage === "moved" ? stage : this.look();
  }

  /** Asks. Those who ask while somebody does share the answer, in the order of their calls. */
  look(): Promise<Stage> {
    if (this.stage === "moved") return Promise.resolve(this.stage);
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Asks after this call, whoever is asking already. */
  async lookAnew(): Promise<Stage> {
    await this.#looking?.catch(() => undefined);
    return await this.look();
  }

  async #look(): Promise<Stage> {
    const stage = await this.#ask();
    // While it closes, the move may still be given up.
    if (stage === "copied" || stage === "moved") this.#tellWatchers();
    // What is not there may be declared at any time.
    this.stage = stage === "absent" ? undefined : stage;
    return stage;
  }

  async #ask(): Promise<Stage> {
    try {
      const note = readMoveNote((await this.#from.messages.describe(this.name)).sealed);
      if (note === undefined) return "open";
      this.fence = note.fence;
      return note.stage;
    } catch (error) {
      if (!isCode(error, "not-found")) throw error;
      return (await this.#to.messages.topics()).includes(this.name) ? "moved" : "absent";
    }
  }

  /** It was removed. */
  forget(): void {
    this.stage = undefined;
    this.fence = 0n;
  }

  /** Where it is when it is not closing any more; looks a few times, for so long. */
  async settled(waitMs: number): Promise<Stage> {
    for (let waitedMs = 0; ; waitedMs += this.#pollMs) {
      const stage = await this.known();
      if (stage !== "closing" || waitedMs >= waitMs) return stage;
      await this.#from.world.timers.sleep(this.#pollMs);
    }
  }

  /** Waits until it has moved. An engine that does not answer is asked again. */
  async moved(signal: AbortSignal): Promise<void> {
    for (;;) {
      const stage = await this.look().catch(unlessClosed);
      if (stage === "moved") return;
      await this.#from.world.timers.sleep(this.#pollMs, { signal });
    }
  }

  /** Calls once when the topic has left, and its publishers with it; the answer withdraws it. */
  watch(departure: Departure): () => void {
    this.#watchers.add(departure);
    if (!this.#polling) void this.#poll();
    return () => this.#watchers.delete(departure);
  }

  async #poll(): Promise<void> {
    this.#polling = true;
    while (this.#watchers.size > 0) {
      await this.#from.world.timers.sleep(this.#pollMs);
      if (this.#watchers.size === 0) break;
      const stage = await this.look().catch(closedOrOpen);
      // Nobody consumes any more from an engine that was closed.
      if (stage === "closed") this.#watchers.clear();
      // Who began to watch after that was seen has not heard of it.
      if (stage === "copied" || stage === "moved") this.#tellWatchers();
    }
    this.#polling = false;
  }

  #tellWatchers(): void {
    for (const departure of [...this.#watchers]) {
      this.#watchers.delete(departure);
      departure();
    }
  }
}

function closedOrOpen(error: unknown): "closed" | "open" {
  return isCode(error, "closed") ? "closed" : "open";
}
