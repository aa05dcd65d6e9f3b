import { Violation } from "../system.ts";
import {
  attemptsCountFailures,
  deliveriesAreInTime,
  fencesGrow,
  handlersTakeTurns,
  keysKeepOrder,
} from "./messaging-delivery-rules.ts";
import type { MessagingHistory } from "./messaging-history.ts";
import {
  deadLettersAreComplete,
  nothingIsLost,
  positionsNeverMoveBack,
  settledIsSettled,
} from "./messaging-progress-rules.ts";
import { nothingIsInvented, publishingKeepsOrder, storedOnce } from "./messaging-publishing-rules.ts";
import { TopicView } from "./messaging-view.ts";

/** What holds of the topic whose history is checked. */
export interface MessagingExpectations {
  readonly topic: string;
  /** Declared before the first message was published. */
  readonly groups: readonly string[];
  /** `retry.attemptsMax` of the consumers; 16 when left out, as there. */
  readonly attemptsMax?: number | undefined;
  /** `handlerTimeoutMs` and `abandonAfterMs` of the consumers together; 90,000 when left out, as there. */
  readonly abandonedAfterMs?: number | undefined;
  /** Of the topic; `"deadLetter"` when left out, as there. */
  readonly whenExpired?: "deadLetter" | "drop" | undefined;
  /**
   * `capabilities.atomic` of the engine; true when left out. Where it is false, what becomes a dead letter or waits for a retry elsewhere may be stored there once in each grant in which
   * that happens, and may be handled again, as its settlement comes after.
   */
  readonly atomic?: boolean | undefined;
  /** `capabilities.delayLatenessMs` of the engine; 1,000 when left out. */
  readonly delayLatenessMs?: number | undefined;
  /** How long the engine knows message ids again, by its clock; 120,000 when left out. */
  readonly deduplicationMs?: number | undefined;
  /** The most by which a process' clock may run faster than virtual time, as a share; 0.1 when left out. */
  readonly clockDriftMax?: number | undefined;
}

/** One promise of messaging: yields a sentence for each breach of it. */
export type MessagingRule = (view: TopicView) => Iterable<string>;

const rules: readonly MessagingRule[] = [
  nothingIsInvented,
  storedOnce,
  publishingKeepsOrder,
  keysKeepOrder,
  handlersTakeTurns,
  fencesGrow,
  attemptsCountFailures,
  deliveriesAreInTime,
  settledIsSettled,
  positionsNeverMoveBack,
  nothingIsLost,
  deadLettersAreComplete,
];

/**
 * Throws a `Violation` for the first promise of messaging that the history breaks; `messagingViolations` has all of them. It may be called at any time: what holds only at rest
 * (nothing is lost, dead letters) is judged for groups of which `atRest` was recorded.
 */
export function checkMessaging(history: MessagingHistory, expected: MessagingExpectations): void {
  const [first] = messagingViolations(history, expected);
  if (first !== undefined) throw new Violation(first);
}

/** Every breach as a sentence, first those that explain others. */
export function messagingViolations(history: MessagingHistory, expected: MessagingExpectations): readonly string[] {
  const view = new TopicView(history, expected);
  return rules.flatMap((rule) => [...rule(view)]);
}
