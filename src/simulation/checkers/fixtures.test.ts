import assert from "node:assert/strict";
import { TenonError } from "../../contracts/errors.ts";
import { type MessagingExpectations, messagingViolations } from "./messaging-checker.ts";
import { MessagingHistory, type RecordedCall, type RecordedDelivery } from "./messaging-history.ts";
import type { DeadLetterRecord, DeliveredMessage, PublishedMessage } from "./messaging-records.ts";

type Stored = RecordedCall<{ partition: number; position: bigint | undefined }>;

/** Wall clocks begin here. */
export const startsAt = 1_000_000;

/** A short history of topic "t" with group "g", written down call by call; every call takes a millisecond. */
export class Story {
  nowMs = 0;
  /** What the engine's clock is ahead of the others. */
  engineAheadMs = 0;
  readonly history = new MessagingHistory({
    nowMs: () => this.nowMs,
    engineNowMs: () => startsAt + this.nowMs + this.engineAheadMs,
    memberNowMs: [() => startsAt + this.nowMs],
  });

  calls(number: number, more: Partial<PublishedMessage> = {}): Stored {
    this.nowMs += 1;
    return this.history.publish({ publisher: "p", topic: "t", number, key: "k", ...more });
  }

  /** Called and acknowledged. */
  stores(number: number, position: bigint | undefined, more: Partial<PublishedMessage> = {}): void {
    const call = this.calls(number, more);
    this.nowMs += 1;
    call.acknowledged({ partition: more.partition ?? 0, position });
  }

  /** Called, and told that it was refused, or that nobody knows. */
  fails(number: number, outcome: "not-applied" | "unknown", more: Partial<PublishedMessage> = {}): void {
    const call = this.calls(number, more);
    this.nowMs += 1;
    call.failed(new TenonError("timeout", "no answer", { outcome }));
  }

  /** `fence`: the grant and the number of the delivery within it. */
  begins(
    number: number,
    position: bigint,
    [grant, delivery]: readonly [number, number],
    more: Partial<DeliveredMessage> = {},
  ): RecordedDelivery {
    this.nowMs += 1;
    return this.history.deliver({
      ...{ member: "m", group: "g", topic: "t", partition: 0, position, number, key: "k", attempt: 1 },
      fence: (BigInt(grant) << 32n) | BigInt(delivery),
      publishedAt: startsAt,
      memberMs: startsAt + this.nowMs,
      ...more,
    });
  }

  handles(...delivery: Parameters<Story["begins"]>): void {
    const begun = this.begins(...delivery);
    this.nowMs += 1;
    begun.resolved();
  }

  throws(error: Error, ...delivery: Parameters<Story["begins"]>): void {
    const begun = this.begins(...delivery);
    this.nowMs += 1;
    begun.threw(error);
  }

  settles(position: bigint, grant: number): void {
    const called = this.history.moment();
    this.nowMs += 1;
    this.history.settled({ topic: "t", group: "g", partition: 0, grant: BigInt(grant) }, [position], called);
  }

  seeks(to: bigint | "now"): void {
    this.nowMs += 1;
    const call = this.history.seek("t", "g", to === "now" ? to : { positions: new Map([[0, to]]) });
    this.nowMs += 1;
    call.acknowledged();
  }

  /** Nobody learns whether it has taken effect. */
  seeksUnheard(to: bigint): void {
    this.nowMs += 1;
    const call = this.history.seek("t", "g", { positions: new Map([[0, to]]) });
    this.nowMs += 1;
    call.failed(new TenonError("unavailable", "the reply was lost", { outcome: "unknown" }));
  }

  describes(low: bigint, next: bigint, first = 0n): void {
    const called = this.history.moment();
    this.nowMs += 1;
    this.history.described(called, {
      ...{ topic: "t", retentionMs: 0, countMax: undefined, whenFull: "refuse", delayedCount: 0 },
      partitions: [{ first, next }],
      groups: [{ group: "g", members: 1, lanes: [{ low, lag: 0, held: 0, oldestPublishedAt: undefined }] }],
    });
  }

  rests(deadLetters: readonly DeadLetterRecord[] = [], lag = 0): void {
    this.history.atRest({ topic: "t", group: "g", lag, deadLetters });
  }

  found(expected: Partial<MessagingExpectations> = {}): readonly string[] {
    return messagingViolations(this.history, { topic: "t", groups: ["g"], ...expected });
  }
}

export function deadLetter(number: number, position: bigint, more: Partial<DeadLetterRecord> = {}): DeadLetterRecord {
  return { number, key: "k", reason: "no", failures: 1, origin: { topic: "t", partition: 0, position }, ...more };
}

/** The one history breaks a promise, and nothing else; the other, nearest to it, breaks none. */
export function tells(
  wrong: (story: Story) => void,
  right: (story: Story) => void,
  sentence: RegExp,
  expected: Partial<MessagingExpectations> = {},
): void {
  const bad = new Story();
  wrong(bad);
  const found = bad.found(expected);
  assert.equal(found.length, 1, `found ${JSON.stringify(found)}`);
  assert.match(found[0]!, sentence);
  const good = new Story();
  right(good);
  assert.deepEqual(good.found(expected), []);
}

/** As the messaging block's own, which the checker knows by its name. */
export function deadLetterError(reason: string): Error {
  return Object.assign(new Error(reason), { name: "DeadLetter" });
}
