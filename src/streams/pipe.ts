import { isCode, TenonError } from "../contracts/errors.ts";
import type { Log, StreamsEngine } from "./log.ts";
import { checkName, countOption, durationOption, engineBackoffMs } from "./options.ts";
import { type Ownership, owned } from "./ownership.ts";
import { HandlerFailed, mayGoOn, type PipeHandler, PipePartition, type PipeSettings } from "./pipe-partition.ts";
import type { LogStart } from "./reading.ts";

/** How long closing waits for a handler. */
const drainMs = 10_000;

export interface PipeOptions {
  /** The logs that the handler's entries may be for. None when left out: then the pipe keeps positions only. */
  readonly outputs?: readonly Log<unknown>[] | undefined;
  /**
   * `"exactly-once"` (when left out): outputs and position are committed together; refused (`unsupported`) on an engine without transactions. `"at-least-once"`: where
   * the engine has none, outputs are stored first and the position last. What is made again after a crash is then known by the position that it was made of
   * (`capabilities.sequences`), so a handler that answers the same for the same entry still has its outputs stored once; others may not.
   */
  readonly guarantee?: "exactly-once" | "at-least-once" | undefined;
  /** Where a pipe of a new name begins; `"earliest"` when left out. */
  readonly from?: LogStart | undefined;
  /** The partitions that this process may work on; all when left out. */
  readonly partitions?: readonly number[] | undefined;
  /** How many of them it works on at a time; all when left out. */
  readonly partitionsMax?: number | undefined;
  /** When records were dropped before the pipe came to them, as their log's retention lets them go: it stops (when left out), or goes on from the first that is kept. */
  readonly whenDropped?: "stop" | "skip" | undefined;
  /** So many entries are committed together at most; 500 when left out. */
  readonly recordsMax?: number | undefined;
  /** What was handled is committed after so long, also when more is there; 1,000 when left out. */
  readonly commitEveryMs?: number | undefined;
  /** How often, and after what pause, a handler that failed is tried again for the same entry: 16 times, from 100 ms, doubling up to 10 s, when left out. Then the pipe stops. */
  readonly retry?:
    | {
        readonly attemptsMax?: number | undefined;
        readonly delayMs?: number | undefined;
        readonly delayMsMax?: number | undefined;
      }
    | undefined;
}

export interface Pipe extends AsyncDisposable {
  readonly name: string;
  /** Resolves when the pipe was closed; rejects when it stopped because something failed for good. */
  readonly ended: Promise<void>;
  /** The partitions that this process works on now. */
  readonly partitions: readonly number[];
  /** How many positions lie between where the pipe stands and the end, by partition; of those that it never came to, all that are kept. */
  lag(): Promise<ReadonlyMap<number, bigint>>;
  /** Lets the entry that is being handled end, for up to 10 s, commits what was handled, and leaves the partitions to others. Idempotent. */
  close(): Promise<void>;
}

/**
 * Reads a log, and has a handler make entries of its entries: outputs and position are committed together, so that each entry counts once in the outputs,
 * whatever crashes, is cut off, or takes over meanwhile. The handler itself may run more than once for an entry; what it does elsewhere is its own to guard.
 *
 * Processes that run a pipe of the same name on the same engine share its partitions where the engine has leases; else who comes last takes them over.
 * Entries of one partition are handled one at a time, in order.
 */
export async function pipe<T>(
  input: Log<T>,
  name: string,
  handler: PipeHandler<T>,
  options: PipeOptions = {},
): Promise<Pipe> {
  if (typeof (input as Partial<Log<T>> | undefined | null)?.decode !== "function") {
    throw new TenonError(
      "invalid",
      'pipe() needs a log as its first argument, such as `log(engine, "clicks", …)` gives',
    );
  }
  const settings = settingsOf(input, name, handler, options);
  const partitions = options.partitions ?? Array.from({ length: input.partitions }, (_, partition) => partition);
  for (const partition of partitions) {
    if (Number.isInteger(partition) && partition >= 0 && partition < input.partitions) continue;
    throw new TenonError("invalid", `Log "${input.name}" has no partition ${partition} for pipe "${name}".`);
  }
  const partitionsMax = countOption("partitionsMax", options.partitionsMax ?? input.partitions, 1);
  await input.declare();
  for (const output of settings.outputs) await output.declare();
  return new EnginePipe(settings, [...new Set(partitions)], partitionsMax);
}

function settingsOf<T>(input: Log<T>, name: string, handler: PipeHandler<T>, options: PipeOptions): PipeSettings<T> {
  checkName("pipe", name);
  if (typeof handler !== "function") throw new TenonError("invalid", `Pipe "${name}" needs a handler.`);
  const {
    guarantee = "exactly-once",
    from = "earliest",
    recordsMax = 500,
    commitEveryMs = 1_000,
    retry = {},
  } = options;
  const { outputs = [] } = options;
  if (guarantee !== "exactly-once" && guarantee !== "at-least-once") {
    throw new TenonError(
      "invalid",
      `guarantee is "exactly-once" or "at-least-once", not ${JSON.stringify(guarantee)}.`,
    );
  }
  if (guarantee === "exactly-once" && outputs.length > 0 && !input.engine.log.capabilities.transactions) {
    const message = `Pipe "${name}" cannot be exactly-once: this engine cannot commit outputs and positions together. Say guarantee: "at-least-once", or use an engine with transactions, such as embedded().`;
    throw new TenonError("unsupported", message, { fields: { pipe: name } });
  }
  const stranger = outputs.find((output) => output.engine !== input.engine);
  if (stranger !== undefined) {
    throw new TenonError(
      "invalid",
      `Pipe "${name}" reads log "${input.name}" of one engine and writes "${stranger.name}" of another: they cannot commit together.`,
    );
  }
  return {
    input,
    name,
    outputs,
    handler,
    from,
    whenDropped: checkWhenDropped(options),
    recordsMax: countOption("recordsMax", recordsMax, 1),
    commitEveryMs: durationOption("commitEveryMs", commitEveryMs),
    retry: {
      attemptsMax: countOption("retry.attemptsMax", retry.attemptsMax ?? 16, 0),
      delayMs: durationOption("retry.delayMs", retry.delayMs ?? 100),
      delayMsMax: durationOption("retry.delayMsMax", retry.delayMsMax ?? 10_000),
    },
  };
}

function checkWhenDropped({ whenDropped = "stop" }: PipeOptions): "stop" | "skip" {
  if (whenDropped === "stop" || whenDropped === "skip") return whenDropped;
  throw new TenonError("invalid", `whenDropped is "stop" or "skip", not ${JSON.stringify(whenDropped)}.`);
}

class EnginePipe<T> implements Pipe {
  readonly name: string;
  readonly ended: Promise<void>;
  readonly #settings: PipeSettings<T>;
  readonly #engine: StreamsEngine;
  readonly #closing = new AbortController();
  readonly #working = new Set<number>();
  readonly #seats: Seats;
  /** How long a partition's turn is waited for; not for ever while others might be free. */
  readonly #turnMs: number;
  #failure: unknown;

  constructor(settings: PipeSettings<T>, partitions: readonly number[], partitionsMax: number) {
    this.#settings = settings;
    this.#engine = settings.input.engine;
    this.name = settings.name;
    this.#seats = new Seats(partitionsMax);
    this.#turnMs = partitionsMax < partitions.length ? 1_000 : Number.POSITIVE_INFINITY;
    const all = Promise.all(partitions.map((partition) => this.#serve(partition)));
    this.ended = all.then(() => {
      if (this.#failure !== undefined) throw this.#failure;
    });
    this.ended.catch(() => undefined);
  }

  get partitions(): readonly number[] {
    return [...this.#working].sort((a, b) => a - b);
  }

  async lag(): Promise<ReadonlyMap<number, bigint>> {
    const { input, name } = this.#settings;
    const { log } = this.#engine;
    const positions = await log.positions(name, input.name);
    const { partitions } = await log.describe(input.name);
    return new Map(
      partitions.map(({ first, next }, partition) => {
        const stands = positions.get(partition) ?? first;
        return [partition, next > stands ? next - stands : 0n];
      }),
    );
  }

  async close(): Promise<void> {
    this.#closing.abort(new TenonError("closed", `Pipe "${this.name}" was closed.`));
    const { timers } = this.#engine.world;
    const drained = new AbortController();
    const ended = this.ended.catch(() => undefined).then(() => drained.abort());
    await Promise.race([ended, timers.sleep(drainMs, { signal: drained.signal }).catch(() => undefined)]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Works on a partition whenever it is this process' turn, until the pipe ends. */
  async #serve(partition: number): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      let ownership: Ownership | "not now" | undefined;
      try {
        await this.#seats.take(signal);
      } catch {
        return;
      }
      try {
        ownership = await this.#own(partition, signal);
        if (ownership !== "not now") await this.#work(partition, ownership);
      } catch (error) {
        if (!signal.aborted) this.#fail(partition, error);
      } finally {
        this.#working.delete(partition);
        if (ownership !== "not now") await ownership?.release();
        this.#seats.leave();
      }
    }
  }

  /** `undefined`: nobody says whose it is. */
  async #own(partition: number, signal: AbortSignal): Promise<Ownership | "not now" | undefined> {
    const { leases, world } = this.#engine;
    if (leases === undefined) return undefined;
    const name = `streams/${this.#settings.input.name}/${this.name}/${partition}`;
    return (await owned(leases, world, name, this.#turnMs, signal)) ?? "not now";
  }

  /** Resolves when the partition is somebody else's; rejects when the pipe has to stop. */
  async #work(partition: number, ownership: Ownership | undefined): Promise<void> {
    const { world } = this.#engine;
    const signals = [this.#closing.signal, ownership?.lost].filter((each) => each !== undefined);
    const signal = AbortSignal.any(signals);
    this.#working.add(partition);
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        const opened = await PipePartition.open(this.#settings, partition, signal);
        await opened.run(() => {
          attempt = 0;
        });
      } catch (error) {
        if (signal.aborted) break;
        if (isFenced(error) && ownership !== undefined) break;
        if (!mayGoOn(error)) throw error;
        await world.timers.sleep(engineBackoffMs(attempt, world.random.float()), { signal }).catch(() => undefined);
      }
    }
  }

  #fail(partition: number, error: unknown): void {
    this.#failure ??= error;
    const { world } = this.#engine;
    const fields = { pipe: this.name, log: this.#settings.input.name, partition, error: String(error) };
    world.log.log("error", "a pipe stopped", fields);
    this.#closing.abort(new TenonError("closed", `Pipe "${this.name}" has stopped.`, { cause: error }));
  }
}

function isFenced(error: unknown): boolean {
  return isCode(error, "lost") && !(error instanceof HandlerFailed);
}

/** How many partitions are worked on, or waited for, at a time. */
class Seats {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async take(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    this.#waiting.push(resolve);
    await promise;
    signal.removeEventListener("abort", abort);
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }
}
