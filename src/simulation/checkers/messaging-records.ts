import type { SeekTarget, TopicDescription } from "../../contracts/messages.ts";

/** When something happened: virtual ms since the beginning, its place among all that was recorded, and what the engine's clock said. */
export interface Moment {
  readonly atMs: number;
  /** Grows with everything that is recorded: tells apart what has one instant. */
  readonly order: number;
  readonly engineMs: number;
}

/** What a publisher asks for. Every message has a number of its own, which its body carries; publishing it again keeps the number. */
export interface PublishedMessage {
  /** Whose calls are stored in their order: one topic object of one incarnation of a process. */
  readonly publisher: string;
  readonly topic: string;
  readonly number: number;
  readonly partition?: number | undefined;
  readonly key?: string | undefined;
  /** For deduplication by id. */
  readonly id?: string | undefined;
  /** By the engine's clock. */
  readonly dueAt?: number | undefined;
  /** By the consumers' clocks. */
  readonly expiresAt?: number | undefined;
}

/** `"pending"`: nobody was told, for the caller still waits or has died. */
export type CallOutcome = "pending" | "acknowledged" | "not-applied" | "unknown";

/** One call of `publish`. */
export interface PublishRecord extends PublishedMessage {
  readonly called: Moment;
  readonly ended: Moment | undefined;
  readonly outcome: CallOutcome;
  /** `undefined` also for a delayed message. */
  readonly position: bigint | undefined;
}

/** What a handler is given. */
export interface DeliveredMessage {
  /** The consumer: one of one incarnation of a process. */
  readonly member: string;
  readonly group: string;
  readonly topic: string;
  readonly partition: number;
  readonly position: bigint;
  readonly number: number;
  readonly key?: string | undefined;
  readonly fence: bigint;
  readonly attempt: number;
  readonly publishedAt: number;
  /** What the consumer's clock says now. */
  readonly memberMs?: number | undefined;
  /** The same for all messages of one call of a batch handler. */
  readonly batch?: number | undefined;
}

export type DeliveryEnding = "resolved" | "threw" | "dead letter";

export interface DeliveryRecord extends DeliveredMessage {
  readonly begun: Moment;
  /** `undefined` when it never ended: it hangs, or its process died. */
  readonly ended: Moment | undefined;
  readonly ending: DeliveryEnding | undefined;
  /** What a dead letter would say of it. */
  readonly reason: string | undefined;
}

/** A lane's commit that settled the message has resolved. */
export interface SettleRecord {
  readonly topic: string;
  readonly group: string;
  readonly partition: number;
  readonly position: bigint;
  /** The lane's fence, which is the upper half of those of its deliveries. */
  readonly grant: bigint;
  readonly called: Moment;
  readonly resolved: Moment;
}

export interface SeekRecord {
  readonly topic: string;
  readonly group: string;
  readonly to: SeekTarget;
  readonly called: Moment;
  readonly ended: Moment | undefined;
  readonly outcome: CallOutcome;
}

/** What `describe` answered: true at some instant between call and answer. */
export interface DescriptionRecord {
  readonly called: Moment;
  readonly ended: Moment;
  readonly description: TopicDescription;
}

export interface DeadLetterRecord {
  readonly number: number;
  readonly key?: string | undefined;
  readonly reason: string;
  readonly failures: number;
  /** Where the message was first stored. */
  readonly origin: { readonly topic: string; readonly partition: number; readonly position: bigint };
}

/** How a group stands when nothing is left to be done. */
export interface RestRecord {
  readonly topic: string;
  readonly group: string;
  /** How many messages it has not settled. */
  readonly lag: number;
  /** All of them, or `undefined` when they were not looked at. */
  readonly deadLetters: readonly DeadLetterRecord[] | undefined;
}

/** While it lasts nothing strikes: no fault, no restart, no clock that jumps. */
export interface HealthyTime {
  readonly from: Moment;
  readonly to: Moment | undefined;
}
