import { TenonError } from "../../contracts/errors.ts";
import type { SeekTarget, TopicDescription } from "../../contracts/messages.ts";
import { ClockReadings } from "./clock-readings.ts";
import type {
  CallOutcome,
  DeliveredMessage,
  DeliveryEnding,
  DeliveryRecord,
  DescriptionRecord,
  HealthyTime,
  Moment,
  PublishedMessage,
  PublishRecord,
  RestRecord,
  SeekRecord,
  SettleRecord,
} from "./messaging-records.ts";

export interface MessagingHistoryOptions {
  /** Virtual ms, the same for everybody. */
  readonly nowMs: () => number;
  /** The wall clock of the engine's process. */
  readonly engineNowMs: () => number;
  /** Those of the consumers' processes. */
  readonly memberNowMs?: readonly (() => number)[] | undefined;
}

/** A call of which it is recorded how it ends. */
export interface RecordedCall<Answer> {
  acknowledged(answer: Answer): void;
  failed(error: unknown): void;
}

/** A delivery of which it is recorded how it ends. */
export interface RecordedDelivery {
  resolved(): void;
  /** `error` is what the handler threw. */
  threw(error: unknown): void;
  ended(ending: DeliveryEnding, reason?: string): void;
}

type Writable<T> = { -readonly [Name in keyof T]: T[Name] };

/**
 * What the users of topics asked for, were told and saw, in one order: what `checkMessaging` judges. It knows nothing of how the run is made. It is
 * recorded by hand, or by `recordedTopic` and `recordedEngine`.
 */
export class MessagingHistory {
  readonly publishes: PublishRecord[] = [];
  readonly deliveries: DeliveryRecord[] = [];
  readonly settles: SettleRecord[] = [];
  readonly seeks: SeekRecord[] = [];
  readonly descriptions: DescriptionRecord[] = [];
  readonly rests: RestRecord[] = [];
  readonly healthyTimes: Writable<HealthyTime>[] = [];
  readonly engineClock = new ClockReadings();
  readonly memberClocks: readonly ClockReadings[];
  readonly #options: MessagingHistoryOptions;
  readonly #memberNowMs: readonly (() => number)[];
  #order = 0;
  #batches = 0;

  constructor(options: MessagingHistoryOptions) {
    this.#options = options;
    this.#memberNowMs = options.memberNowMs ?? [];
    this.memberClocks = this.#memberNowMs.map(() => new ClockReadings());
  }

  /** Reads the clocks. A clock that jumps there and back between two looks or records goes unnoticed, so look after every event. */
  look(): void {
    const atMs = this.#options.nowMs();
    this.engineClock.read(atMs, this.#options.engineNowMs());
    for (const [index, clock] of this.memberClocks.entries()) clock.read(atMs, this.#memberNowMs[index]!());
  }

  /** Now, as the next in the order. */
  moment(): Moment {
    this.look();
    this.#order += 1;
    return { atMs: this.#options.nowMs(), order: this.#order, engineMs: this.#options.engineNowMs() };
  }

  /** A message is being published. */
  publish(
    message: PublishedMessage,
  ): RecordedCall<{ readonly partition: number; readonly position: bigint | undefined }> {
    const record: Writable<PublishRecord> = { ...message, ...this.#begun(), position: undefined };
    this.publishes.push(record);
    return {
      acknowledged: ({ partition, position }) => {
        this.#end(record, "acknowledged");
        record.partition = partition;
        record.position = position;
      },
      failed: (error) => this.#end(record, outcomeOf(error)),
    };
  }

  /** A handler is being called. */
  deliver(message: DeliveredMessage): RecordedDelivery {
    const record: Writable<DeliveryRecord> = {
      ...message,
      begun: this.moment(),
      ended: undefined,
      ending: undefined,
      reason: undefined,
    };
    this.deliveries.push(record);
    const ended = (ending: DeliveryEnding, reason?: string): void => {
      record.ended = this.moment();
      record.ending = ending;
      record.reason = reason;
    };
    return {
      ended,
      resolved: () => ended("resolved"),
      threw: (error) => ended(isDeadLetter(error) ? "dead letter" : "threw", reasonOf(error)),
    };
  }

  /** A name for one call of a batch handler. */
  nextBatch(): number {
    this.#batches += 1;
    return this.#batches;
  }

  /** A commit that settled the positions has resolved. `called`: the moment when it was asked for. */
  settled(
    lane: Omit<SettleRecord, "position" | "called" | "resolved">,
    positions: readonly bigint[],
    called: Moment,
  ): void {
    const resolved = this.moment();
    for (const position of positions) this.settles.push({ ...lane, position, called, resolved });
  }

  /** A group is being moved. */
  seek(topic: string, group: string, to: SeekTarget): RecordedCall<void> {
    const record: Writable<SeekRecord> = { topic, group, to, ...this.#begun() };
    this.seeks.push(record);
    return {
      acknowledged: () => this.#end(record, "acknowledged"),
      failed: (error) => this.#end(record, outcomeOf(error)),
    };
  }

  /** `called`: the moment when it was asked for. */
  described(called: Moment, description: TopicDescription): void {
    this.descriptions.push({ called, ended: this.moment(), description });
  }

  /** Nothing is left to be done for the group, and this is how it stands. */
  atRest(rest: RestRecord): void {
    this.rests.push(rest);
  }

  /** From now on nothing strikes any more; or, with `false`, something may. */
  healthy(is: boolean): void {
    const last = this.healthyTimes.at(-1);
    const open = last !== undefined && last.to === undefined ? last : undefined;
    if (is && open === undefined) this.healthyTimes.push({ from: this.moment(), to: undefined });
    if (!is && open !== undefined) open.to = this.moment();
  }

  #begun(): { called: Moment; ended: undefined; outcome: CallOutcome } {
    return { called: this.moment(), ended: undefined, outcome: "pending" };
  }

  #end(record: { ended: Moment | undefined; outcome: CallOutcome }, outcome: CallOutcome): void {
    record.ended = this.moment();
    record.outcome = outcome;
  }
}

/** What the caller of a failed change knows. Errors that are none of Tenon's, such as an aborted signal's reason, say nothing. */
function outcomeOf(error: unknown): CallOutcome {
  if (!(error instanceof TenonError)) return "unknown";
  return error.outcome === "applied" ? "acknowledged" : error.outcome;
}

function isDeadLetter(error: unknown): boolean {
  return error instanceof Error && error.name === "DeadLetter";
}

/** As the messaging block says it in dead letters. */
function reasonOf(error: unknown): string {
  if (error instanceof TenonError) return `${error.code}: ${error.message}`;
  if (!(error instanceof Error)) return `the handler threw no error but a value of type ${typeof error}`;
  return isDeadLetter(error) ? error.message : `${error.name}: ${error.message}`;
}
