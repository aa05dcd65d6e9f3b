import type { World } from "../../../world/world.ts";
import type { JetStream } from "../jet-stream.ts";
import type { ServerClock } from "../server-clock.ts";
import type { Streams } from "../streams.ts";
import type { LogPlace } from "./log-head.ts";
import { logSubject } from "./log-partition.ts";
import type { LogRuns } from "./log-runs.ts";
import type { DeclaredLog, Log, Logs } from "./logs.ts";

/** A partition that is being used is looked at so often. */
const everyMs = 500;
const rememberedMax = 20_000;

export interface TrimmerParts {
  readonly world: World;
  readonly jetStream: JetStream;
  readonly streams: Streams;
  readonly clock: ServerClock;
  readonly logs: Logs;
  readonly runs: LogRuns;
}

/** Lets runs go that their log's retention does not keep: whoever comes along does it. */
export class LogTrimmer {
  readonly #parts: TrimmerParts;
  /** By partition, when it was looked at, or the look that is under way. */
  readonly #looks = new Map<string, { readonly at: number; readonly done: Promise<void> }>();

  constructor(parts: TrimmerParts) {
    this.#parts = parts;
  }

  /** Trims the partition, if that was not done just now. */
  tidy(log: Log, partition: number): Promise<void> {
    const now = this.#parts.world.clock.monotonic();
    const key = `${log.id}/${partition}`;
    const look = this.#looks.get(key);
    if (look !== undefined && now - look.at < everyMs) return look.done;
    // Of logs that are long gone nothing needs to be known.
    if (this.#looks.size > rememberedMax) this.#looks.clear();
    const done = this.#look(log, partition);
    this.#looks.set(key, { at: now, done });
    // What failed is tried again by the next who comes.
    done.catch(() => this.#looks.delete(key));
    return done;
  }

  async #look(log: Log, partition: number): Promise<void> {
    const found = await this.#parts.logs.places.recordOf(log);
    if (found !== undefined) await this.trim(log, partition, found.record);
  }

  /** The last run stays, as it says all that is known of the partition; where its records are to go, an empty one is put upon it. */
  async trim(
    log: Log,
    partition: number,
    retention: Pick<DeclaredLog, "retentionMs" | "retentionBytes">,
  ): Promise<void> {
    const { jetStream, streams, clock, runs } = this.#parts;
    if (retention.retentionMs === null && retention.retentionBytes === null) return;
    for (;;) {
      const kept = await runs.kept(log, partition);
      if (kept === undefined) return;
      const { first, last } = kept;
      await clock.ready();
      const total = last.head.before + last.head.bytes;
      const stays = (run: LogPlace & { readonly storedAt: number }) => isKept(run, retention, total, clock.earliest);
      if (stays(first) || (first.sequence === last.sequence && first.count === 0)) return;
      if (last.head.count > 0 && !stays({ ...last.head, storedAt: last.storedAt! })) {
        await log.partition(partition).close(last);
        continue;
      }
      const found = await runs.search(log, partition, last.sequence - 1, stays);
      const below = found?.sequence ?? last.sequence;
      if (below <= first.sequence) return;
      await jetStream.purge("trimming a log", streams.logs, logSubject(streams, log.id, partition), below);
      return;
    }
  }
}

/** `total`: what all records up to the partition's end take; `now`: the server's time is not earlier. */
function isKept(
  run: LogPlace & { readonly storedAt: number },
  { retentionMs, retentionBytes }: Pick<DeclaredLog, "retentionMs" | "retentionBytes">,
  total: number,
  now: number,
): boolean {
  const isOld = retentionMs !== null && Math.max(run.at, run.storedAt + 1) + retentionMs < now;
  const isMuch = retentionBytes !== null && total - (run.before + run.bytes) >= retentionBytes;
  return !isOld && !isMuch;
}
