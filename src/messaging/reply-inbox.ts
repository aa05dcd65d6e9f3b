import { isCode } from "../contracts/errors.ts";
import type { Lane, Membership, MessageEngine, Stored } from "../contracts/messages.ts";
import type { World } from "../world/world.ts";
import { engineBackoffMs } from "./engine-backoff.ts";
import { describeError } from "./failures.ts";
import { replyTopicMadeAt, replyTopicOf } from "./request-protocol.ts";

export interface ReplyInboxOptions {
  readonly engine: MessageEngine;
  readonly world: World;
  /** The topic of the requests. */
  readonly topic: string;
  readonly receive: (reply: Stored) => void;
  /** No reply will come any more: the engine was closed. */
  readonly ended: () => void;
}

const group = "replies";
const fetchCountMax = 1_000;
const sessionMs = 10_000;
/** Nobody reads a reply twice. */
const retentionMs = 60_000;
/** A topic without group this long after it was made belongs to a process that died. */
const orphanAfterMs = 60_000;

/**
 * A topic of this process' own for the replies to its requests, with a group that dies with it. It is made when it is first needed, and anew, under
 * another name, when it was lost.
 */
export class ReplyInbox {
  readonly #options: ReplyInboxOptions;
  readonly #stopped = new AbortController();
  #opening: Promise<string> | undefined;
  #current: { readonly address: string; readonly membership: Membership } | undefined;
  #swept = false;

  constructor(options: ReplyInboxOptions) {
    this.#options = options;
  }

  /** Where replies may be sent from now on. */
  open(): Promise<string> {
    if (this.#opening === undefined) {
      const opening = this.#open();
      this.#opening = opening;
      opening.catch(() => {
        if (this.#opening === opening) this.#opening = undefined;
      });
    }
    return this.#opening;
  }

  /** What comes from now on is lost. */
  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#opening?.catch(() => {});
    if (this.#current !== undefined) await this.#leave(this.#current);
  }

  async #open(): Promise<string> {
    const { engine, world, topic } = this.#options;
    if (!this.#swept) {
      this.#swept = true;
      void this.#sweep();
    }
    const address = replyTopicOf(topic, world.clock.now(), world.random.uuid());
    await engine.declare(address, { partitions: 1, retentionMs });
    const join = { sessionMs, revokeMs: 1_000, windowMax: fetchCountMax * 2, ephemeral: true };
    const membership = await engine.join(address, group, join);
    const current = { address, membership };
    this.#current = current;
    void this.#run(current);
    return address;
  }

  async #run(current: { readonly address: string; readonly membership: Membership }): Promise<void> {
    const { signal } = this.#stopped;
    try {
      for (;;) await this.#empty(await current.membership.nextLane({ signal }));
    } catch (error) {
      if (signal.aborted) return;
      if (isCode(error, "closed")) {
        this.#current = undefined;
        this.#options.ended();
        return;
      }
      this.#log(
        "receiving replies failed; those under way are lost, and a new inbox is made for the next request",
        error,
      );
    }
    this.#opening = undefined;
    this.#current = undefined;
    await this.#leave(current);
  }

  /** Takes replies until the lane passes on. */
  async #empty(lane: Lane): Promise<void> {
    const { world, receive } = this.#options;
    const { signal } = this.#stopped;
    for (let failures = 0; ; ) {
      try {
        const replies = await lane.fetch(fetchCountMax, { signal });
        for (const reply of replies) receive(reply);
        await lane.commit({ settled: replies.map(({ position }) => position) });
        failures = 0;
      } catch (error) {
        if (signal.aborted) throw error;
        if (isCode(error, "lost")) return;
        const passing = isCode(error, "unavailable", "overloaded");
        if (!passing) throw error;
        this.#log("receiving replies failed; it is repeated", error);
        await world.timers.sleep(engineBackoffMs(failures++, world.random.float()), { signal });
      }
    }
  }

  async #leave({ address, membership }: { readonly address: string; readonly membership: Membership }): Promise<void> {
    try {
      await membership.leave();
      await this.#options.engine.remove(address);
    } catch (error) {
      if (isCode(error, "not-found")) return;
      this.#log("removing the topic for replies failed; another requester will", error);
    }
  }

  /** Removes what requesters left that died. */
  async #sweep(): Promise<void> {
    const { engine, world, topic } = this.#options;
    try {
      for (const name of await engine.topics()) {
        const madeAt = replyTopicMadeAt(topic, name);
        if (madeAt === undefined || world.clock.now() - madeAt < orphanAfterMs) continue;
        const { groups } = await engine.describe(name);
        if (groups.length === 0) await engine.remove(name);
      }
    } catch (error) {
      // Another requester sweeps too, or the next one will.
      if (!isCode(error, "not-found")) this.#log("removing old topics for replies failed", error);
    }
  }

  #log(message: string, error: unknown): void {
    this.#options.world.log.log("warn", message, { topic: this.#options.topic, error: describeError(error) });
  }
}
