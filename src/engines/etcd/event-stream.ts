import type { Cancel, World } from "../../world/world.ts";
import { isPassing } from "../shared/passing.ts";
import type { EtcdConnection } from "./connection.ts";
import { type KeyRange, type RangeReply, revisionOf, type WatchReply } from "./wire.ts";

export interface EventStreamParts {
  readonly world: World;
  readonly connection: EtcdConnection;
  readonly range: KeyRange;
  /** The next revision that has not been heard of. */
  readonly from: () => number;
  readonly heard: (reply: WatchReply) => void;
  /** What was between may be lost: it was compacted, or etcd is another than before. It ends with that. */
  readonly missed: () => void;
  /** It ends with that. */
  readonly failed: (error: unknown) => void;
}

/** A watch that hears nothing for so long begins anew, in case that its connection is dead and nobody said so. */
const silenceMs = 10_000;
const backoffMs = { first: 50, longest: 2_000 };

/** Hears what happens to keys, over connections that may break: each begins where the one before it ended. */
export class EventStream {
  readonly #parts: EventStreamParts;
  readonly #ended = new AbortController();
  #cluster: string | undefined;
  #failures = 0;

  constructor(parts: EventStreamParts) {
    this.#parts = parts;
  }

  /** Until `end`, or until it has said that something was missed or has failed. */
  async run(): Promise<void> {
    const { world } = this.#parts;
    while (!this.#ended.signal.aborted) {
      try {
        if (await this.#hear()) continue;
        if (!this.#ended.signal.aborted) this.#parts.missed();
        return;
      } catch (error) {
        if (this.#ended.signal.aborted) return;
        if (!isPassing(error)) return this.#parts.failed(error);
      }
      const delayMs = Math.min(backoffMs.longest, backoffMs.first * 2 ** Math.min(10, this.#failures++));
      await world.timers
        .sleep(delayMs * (0.5 + world.random.float() / 2), { signal: this.#ended.signal })
        .catch(ignore);
    }
  }

  end(): void {
    this.#ended.abort();
  }

  /** One connection; false when what was between may be lost. */
  async #hear(): Promise<boolean> {
    const { connection, range, from, heard } = this.#parts;
    const cut = new AbortController();
    const end = () => cut.abort();
    this.#ended.signal.addEventListener("abort", end);
    if (this.#ended.signal.aborted) end();
    const silence = new Silence(this.#parts.world, end);
    const start = from();
    try {
      const request = { ...range, start_revision: String(start), progress_notify: true, fragment: true };
      for await (const reply of connection.hear(request, cut.signal)) {
        silence.broken();
        if (reply.compact_revision !== undefined || reply.canceled === true) return false;
        if (reply.created === true && !(await this.#isSame(reply, start))) return false;
        this.#failures = 0;
        heard(reply);
      }
      return true;
    } finally {
      silence.end();
      this.#ended.signal.removeEventListener("abort", end);
    }
  }

  /** Whether it is the etcd of before. A member may merely be behind; a backup that was restored knows less for good. */
  async #isSame({ header }: WatchReply, start: number): Promise<boolean> {
    const { connection, range } = this.#parts;
    const cluster = header?.cluster_id;
    const isOther = this.#cluster !== undefined && this.#cluster !== cluster;
    this.#cluster = cluster;
    if (isOther) return false;
    if (revisionOf(header) >= start - 1) return true;
    const now = await connection.read<RangeReply>("looking for the revision", "kv/range", {
      key: range.key,
      count_only: true,
    });
    return revisionOf(now.header) >= start - 1;
  }
}

class Silence {
  readonly #world: World;
  readonly #ended: () => void;
  #cancel: Cancel;

  constructor(world: World, ended: () => void) {
    this.#world = world;
    this.#ended = ended;
    this.#cancel = world.timers.schedule(silenceMs, ended);
  }

  broken(): void {
    this.#cancel();
    this.#cancel = this.#world.timers.schedule(silenceMs, this.#ended);
  }

  end(): void {
    this.#cancel();
  }
}

function ignore(): void {}
