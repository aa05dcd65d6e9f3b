import { TenonError } from "../contracts/errors.ts";
import type { Lane, MessageEngine, Stored } from "../contracts/messages.ts";
import type { Cancel, World } from "../world/world.ts";
import { engineBackoffMs } from "./engine-backoff.ts";
import { describeError } from "./failures.ts";
import { numberedIn } from "./numbering.ts";
import { durationOption } from "./options.ts";

/** Messages that were stored, as their publisher was told, and that their group never got. */
export interface Loss {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  /** One producer in one partition, as the header `tenon-number` names it. */
  readonly producer: string;
  /** The numbers that are missing: from `first` to `last`, both included. */
  readonly first: number;
  readonly last: number;
  readonly count: number;
  /** The positions between which they were expected. */
  readonly after: bigint;
  readonly before: bigint;
}

export interface LossDetection {
  /** How long a message that is left out may still come; 10,000 when left out. */
  readonly graceMs?: number | undefined;
  /** Called for every loss, which is also logged as an error. */
  readonly onLoss?: ((loss: Loss) => void) | undefined;
}

export interface Detection {
  readonly graceMs: number;
  readonly onLoss: LossDetection["onLoss"];
}

export function lossDetection(given: boolean | LossDetection | undefined): Detection | undefined {
  if (given === undefined || given === false) return undefined;
  if (given !== true && (typeof given !== "object" || given === null)) {
    throw new TenonError("invalid", "lossDetection must be true, false, or an object with graceMs and onLoss.");
  }
  const { graceMs, onLoss } = given === true ? {} : given;
  if (onLoss !== undefined && typeof onLoss !== "function") {
    throw new TenonError("invalid", "lossDetection.onLoss must be a function.");
  }
  return { graceMs: durationOption("lossDetection.graceMs", graceMs, 10_000), onLoss };
}

export interface LossDetectorOptions {
  readonly engine: MessageEngine;
  readonly world: World;
  readonly topic: string;
  readonly group: string;
  readonly detection: Detection;
}

interface Gap {
  first: number;
  last: number;
  readonly after: bigint;
  readonly before: bigint;
  readonly cancel: Cancel;
}

interface Stream {
  next: number;
  position: bigint;
  readonly gaps: Set<Gap>;
}

/** Producers come and go; of those that a lane has not heard for longest the detector knows nothing more. */
const streamsMax = 1_000;

/**
 * Looks at every message that a lane fetches, whatever becomes of it afterwards, and misses those whose numbers are left out. A lane fetches in
 * stored order and each message once, so retries and redeliveries do not confuse it. What is known ends with the grant: another owner settled what
 * this one will not see, so a new grant begins where nothing can have been settled yet.
 */
export class LaneLosses {
  readonly #options: LossDetectorOptions;
  readonly #partition: number;
  /** Checked from this position on; `undefined` until it is known. */
  #from: bigint | undefined;
  readonly #streams = new Map<string, Stream>();

  constructor(options: LossDetectorOptions, lane: Pick<Lane, "partition">) {
    this.#options = options;
    this.#partition = lane.partition;
  }

  /** To be awaited before the first fetch. Repeated until it is known or the signal aborts. */
  async begin(signal: AbortSignal): Promise<void> {
    const { engine, world, topic, group } = this.#options;
    for (let attempt = 0; this.#from === undefined && !signal.aborted; attempt += 1) {
      try {
        const description = await engine.describe(topic);
        const lane = description.groups.find((each) => each.group === group)?.lanes[this.#partition];
        const partition = description.partitions[this.#partition];
        if (lane === undefined || partition === undefined) return;
        // Nothing above the lowest unsettled message is settled when all of them are unsettled; else only new ones are sure.
        const untouched = BigInt(lane.lag) === partition.next - lane.low;
        this.#from = untouched ? lane.low : partition.next;
      } catch (error) {
        world.log.log("warn", "looking for lost messages waits for the engine", {
          ...{ topic, group, partition: this.#partition },
          error: describeError(error),
        });
        const ms = engineBackoffMs(attempt, world.random.float());
        await world.timers.sleep(ms, { signal }).catch(() => {});
      }
    }
  }

  saw({ headers, position }: Stored): void {
    const numbered = numberedIn(headers);
    if (numbered === undefined || this.#from === undefined || position < this.#from) return;
    const { number } = numbered;
    const stream = this.#streams.get(numbered.stream);
    if (stream === undefined) {
      this.#forgetOldest();
      this.#streams.set(numbered.stream, { next: number + 1, position, gaps: new Set() });
      return;
    }
    if (number >= stream.next) {
      if (number > stream.next) this.#miss(numbered.stream, stream, stream.next, number - 1, stream.position, position);
      stream.next = number + 1;
      stream.position = position;
    } else {
      this.#found(numbered.stream, stream, number);
    }
  }

  /** What is missing now is reported now: nobody else will know of it. */
  end(): void {
    for (const [name, { gaps }] of this.#streams) for (const gap of [...gaps]) this.#report(name, gaps, gap);
    this.#streams.clear();
  }

  #miss(name: string, { gaps }: Stream, first: number, last: number, after: bigint, before: bigint): void {
    const report = (): void => this.#report(name, gaps, gap);
    const cancel = this.#options.world.timers.schedule(this.#options.detection.graceMs, report);
    const gap: Gap = { first, last, after, before, cancel };
    gaps.add(gap);
  }

  /** It came late. */
  #found(name: string, stream: Stream, number: number): void {
    for (const gap of stream.gaps) {
      if (number < gap.first || number > gap.last) continue;
      gap.cancel();
      stream.gaps.delete(gap);
      if (gap.first < number) this.#miss(name, stream, gap.first, number - 1, gap.after, gap.before);
      if (number < gap.last) this.#miss(name, stream, number + 1, gap.last, gap.after, gap.before);
      return;
    }
  }

  #report(producer: string, gaps: Set<Gap>, gap: Gap): void {
    gap.cancel();
    gaps.delete(gap);
    const { topic, group, world, detection } = this.#options;
    const { first, last, after, before } = gap;
    const count = last - first + 1;
    const loss: Loss = { topic, group, partition: this.#partition, producer, first, last, count, after, before };
    world.log.log("error", "messages were lost", { ...loss });
    try {
      detection.onLoss?.(loss);
    } catch (error) {
      world.log.log("error", "reporting lost messages failed", { topic, group, error: describeError(error) });
    }
  }

  #forgetOldest(): void {
    if (this.#streams.size < streamsMax) return;
    for (const [name, { gaps }] of this.#streams) {
      if (gaps.size > 0) continue;
      this.#streams.delete(name);
      return;
    }
  }
}
