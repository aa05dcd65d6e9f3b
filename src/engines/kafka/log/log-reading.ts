import { TenonError } from "../../../contracts/errors.ts";
import type { LogPage, LogRead } from "../../../contracts/log.ts";
import { checkLogPartition } from "../../../contracts/log-requests.ts";
import type { World } from "../../../world/world.ts";
import type { Cluster } from "../cluster.ts";
import type { Journal } from "../journal/journal.ts";
import type { JournaledLog } from "../journal/log.ts";
import { Watcher } from "../messages/watcher.ts";
import { isolation } from "../requests.ts";
import type { Logs } from "./logs.ts";
import type { PartitionReading } from "./partition-reading.ts";

/** A notice that was missed makes a record come so much late, and is never a loss. */
const lookMs = 2_000;
/** What comes is read by whoever waits for it. */
const noticeBytes = 1;

/** Waiting for what comes, or for what is decided. */
export class LogReading {
  readonly #world: World;
  readonly #journal: Journal;
  readonly #logs: Logs;
  readonly #partitions: PartitionReading;
  readonly #watcher: Watcher;
  readonly #waiting = new Set<() => void>();
  #closed: TenonError | undefined;

  constructor(cluster: Cluster, journal: Journal, logs: Logs, partitions: PartitionReading) {
    this.#world = cluster.world;
    this.#journal = journal;
    this.#logs = logs;
    this.#partitions = partitions;
    this.#watcher = new Watcher(cluster, noticeBytes, isolation.committed);
  }

  async read(request: LogRead, signal: AbortSignal | undefined): Promise<LogPage> {
    const { partition, limit, waitMs = 0 } = request;
    const { clock } = this.#world;
    const deadline = clock.monotonic() + waitMs;
    const log = await this.#logs.find(request.log);
    checkLogPartition(log.name, partition, log.partitions);
    for (let { from } = request; ; ) {
      const page = await this.#partitions.page(log, { partition, from, limit }, signal);
      signal?.throwIfAborted();
      const leftMs = deadline - clock.monotonic();
      if (page.records.length > 0 || !(leftMs > 0)) return page;
      from = page.next;
      const watch = (wake: () => void) => {
        this.#watcher.watch(log.kafkaName, log.kafkaId, partition, Number(from), wake);
        return () => this.#watcher.unwatch(log.kafkaId, partition, wake);
      };
      await this.#wait(log, Math.min(leftMs, lookMs), signal, watch);
      this.#logs.checkThere(log);
    }
  }

  /** Where a reader stands, by partition. */
  async positions(reader: string, name: string, undecidedMs: number): Promise<ReadonlyMap<number, number>> {
    const { clock } = this.#world;
    const log = await this.#logs.findNow(name, "asking where a reader stands");
    const deadline = clock.monotonic() + undecidedMs;
    while (this.#journal.state.isUndecided(log.number, reader)) {
      const leftMs = deadline - clock.monotonic();
      if (leftMs <= 0) throw undecided(reader, log, undecidedMs);
      await this.#wait(log, leftMs);
      this.#logs.checkThere(log);
    }
    // The state is another object when the journal was read anew.
    this.#logs.checkThere(log);
    return this.#journal.state.logs.numbered(log.number)!.positions(reader);
  }

  /** Until the journal says something of the log, or what was asked for has come, or nothing has come for so long. */
  async #wait(
    { number }: JournaledLog,
    ms: number,
    signal?: AbortSignal,
    watch?: (wake: () => void) => () => void,
  ): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    const cancel = this.#world.timers.schedule(ms, wake, { keepsAlive: true });
    const stop = this.#journal.listen(number, wake);
    signal?.addEventListener("abort", wake, { once: true });
    this.#waiting.add(wake);
    const isOver = signal?.aborted || this.#closed !== undefined;
    if (isOver) wake();
    const unwatch = isOver ? undefined : watch?.(wake);
    await promise;
    unwatch?.();
    this.#waiting.delete(wake);
    signal?.removeEventListener("abort", wake);
    stop();
    cancel();
    signal?.throwIfAborted();
    if (this.#closed !== undefined) throw this.#closed;
  }

  close(reason: TenonError): void {
    this.#closed ??= reason;
    for (const wake of this.#waiting) wake();
    this.#watcher.close();
    this.#partitions.close();
  }
}

function undecided(reader: string, { name }: JournaledLog, ms: number): TenonError {
  const text = `where reader ${reader} stands in log ${name} depends on a commit that was not decided within ${ms} ms; Kafka decides it soon, or when its writer is opened anew. Try again`;
  return new TenonError("unavailable", text, { fields: { log: name, reader } });
}
