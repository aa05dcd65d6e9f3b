import type { JetStream, StoredMessage } from "../jet-stream.ts";
import type { LastRun } from "../run-chain.ts";
import { searchRuns } from "../run-search.ts";
import type { Streams } from "../streams.ts";
import { decodeLogPlace, type LogHead, type LogPlace } from "./log-head.ts";
import { logSubject } from "./log-partition.ts";
import type { Log } from "./logs.ts";

type Ask = "any" | "leader";

/** Where a run lies, in its partition and in the stream. */
export interface PlacedRun extends LogPlace {
  readonly sequence: number;
  /** When the server stored it, by its clock, rounded down. */
  readonly storedAt: number;
}

/** What a partition keeps: the first of its runs that is there, and the last one. */
export interface KeptRuns {
  readonly first: PlacedRun;
  readonly last: LastRun<LogHead>;
}

/** Finds runs of partitions. */
export class LogRuns {
  readonly #jetStream: JetStream;
  readonly #streams: Streams;

  constructor(jetStream: JetStream, streams: Streams) {
    this.#jetStream = jetStream;
    this.#streams = streams;
  }

  /** Of the newest run of any log. */
  async lastSequence(): Promise<number> {
    return (await this.#jetStream.info("describing a log", this.#streams.logs))?.state.last_seq ?? 0;
  }

  /** As it was at one instant; `undefined` when the log is gone. */
  async kept(log: Log, partition: number): Promise<KeptRuns | undefined> {
    for (;;) {
      const first = await this.from(log, partition, 1);
      const last = await log.partition(partition).look();
      const again = await this.from(log, partition, 1);
      if (first === undefined || last === undefined || again === undefined) return undefined;
      // What was the same before and after was so in between.
      if (first.sequence === again.sequence) return { first, last };
    }
  }

  /** The first run from a sequence on. */
  async from(log: Log, partition: number, sequence: number): Promise<PlacedRun | undefined> {
    const subject = logSubject(this.#streams, log.id, partition);
    const stored = await this.#jetStream.next("looking for a run", this.#streams.logs, subject, sequence);
    if (stored === undefined) return undefined;
    return { ...decodeLogPlace(stored.data), sequence: stored.sequence, storedAt: stored.storedAt };
  }

  /** The first run that is what is looked for, where all that follow it are, too. */
  search(
    log: Log,
    partition: number,
    last: number,
    isFound: (run: PlacedRun) => boolean,
  ): Promise<PlacedRun | undefined> {
    return searchRuns(last, (sequence) => this.from(log, partition, sequence), isFound);
  }

  /** The first run from a sequence on, whole. `"any"`: what any replica answers will do, unless something is missing before it; then the leader is asked. */
  async read(
    log: Log,
    partition: number,
    { sequence, position, ask }: { readonly sequence: number; readonly position: number; readonly ask: Ask },
  ): Promise<StoredMessage | undefined> {
    const { logs } = this.#streams;
    const subject = logSubject(this.#streams, log.id, partition);
    const next = (whom: Ask) => this.#jetStream.next("reading a log", logs, subject, sequence, whom);
    const stored = await next(ask);
    if (ask === "leader" || stored === undefined) return stored;
    return decodeLogPlace(stored.data).first <= position ? stored : next("leader");
  }
}
