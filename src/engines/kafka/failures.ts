import { type ErrorCode, type Outcome, TenonError } from "../../contracts/errors.ts";
import { readOf } from "../shared/passing.ts";

/** Errors by which Kafka answers, as its protocol numbers them. */
export const kafkaCode = {
  offsetOutOfRange: 1,
  unknownTopic: 3,
  notLeader: 6,
  requestTimedOut: 7,
  messageTooLarge: 10,
  notEnoughReplicas: 19,
  notEnoughReplicasAfterAppend: 20,
  topicExists: 36,
  invalidTopic: 17,
  outOfOrderSequence: 45,
  duplicateSequence: 46,
  invalidProducerEpoch: 47,
  invalidTransactionState: 48,
  invalidProducerIdMapping: 49,
  concurrentTransactions: 51,
  notAttempted: 55,
  unknownProducer: 59,
  producerFenced: 90,
  unknownTopicId: 100,
  inconsistentTopicId: 103,
  transactionAbortable: 120,
} as const;

/** The server has done nothing, and may do it soon, perhaps at another broker. */
const passing: ReadonlySet<number> = new Set([3, 5, 6, 9, 13, 14, 15, 16, 19, 41, 51, 56, 74, 75, 78, 89, 100, 103]);
/** Nobody knows what the server has done. */
const uncertain: ReadonlySet<number> = new Set([-1, 7, 20]);
const denied: ReadonlySet<number> = new Set([29, 30, 31, 53, 54, 58]);

/** What the server answered with; `undefined`: it gave no answer. */
export function answeredCode(error: unknown): number | undefined {
  const { errors, apiCode } = (error ?? {}) as { errors?: unknown; apiCode?: unknown };
  if (typeof apiCode === "number") return apiCode;
  if (!Array.isArray(errors)) return undefined;
  const codes = errors.map(answeredCode).filter((code) => code !== undefined);
  // What was left undone because of another part's error says nothing by itself.
  return codes.find((code) => code !== kafkaCode.notAttempted) ?? codes[0];
}

/** The answer that came with an error, where single parts of it are errors. */
export function answerOf<Answer>(error: unknown): Answer {
  const { response } = (error ?? {}) as { response?: Answer };
  if (response === undefined) throw error;
  return response;
}

export function isPassingCode(code: number | undefined): boolean {
  return code !== undefined && passing.has(code);
}

/** What an error means that ended a request. `outcome`: when nobody knows whether it was carried out. */
export function failureOf(error: unknown, what: string, outcome: Outcome): TenonError {
  if (error instanceof TenonError) return error;
  const code = answeredCode(error);
  if (code === undefined) return lost(what, error, outcome);
  const refused = (kind: ErrorCode, text: string, then: Outcome = "not-applied") =>
    new TenonError(kind, text, { outcome: then, fields: { kafkaError: code } });
  if (denied.has(code)) {
    return refused(
      "denied",
      `Kafka refused ${what} (error ${code}). Mend the credentials, or grant the rights that docs/kafka.md lists.`,
    );
  }
  if (uncertain.has(code)) {
    return refused("unavailable", `Kafka did not confirm ${what} in time (error ${code}). ${thenOf(outcome)}`, outcome);
  }
  if (passing.has(code))
    return refused("unavailable", `Kafka could not serve ${what} now (error ${code}). Try again later.`);
  if (code === kafkaCode.messageTooLarge || code === 18) {
    return refused(
      "invalid",
      `Kafka refused ${what} as too large (error ${code}). Raise max.message.bytes of the topic, or split it.`,
    );
  }
  return refused(
    "conflict",
    `Kafka refused ${what} (error ${code}). Its topics may be another program's, or another version's.`,
  );
}

function lost(what: string, cause: unknown, outcome: Outcome): TenonError {
  const text = `The connection to Kafka was lost before ${what} was answered. ${thenOf(outcome)}`;
  return new TenonError("unavailable", text, { outcome, cause: plain(cause) });
}

function thenOf(outcome: Outcome): string {
  return outcome === "unknown"
    ? "It may have happened; look, or repeat it where that is safe."
    : "It has not happened; try again.";
}

export function overdue(what: string, timeoutMs: number, outcome: Outcome): TenonError {
  return new TenonError("unavailable", `Kafka did not answer ${what} within ${timeoutMs} ms. ${thenOf(outcome)}`, {
    outcome,
    fields: { timeoutMs },
  });
}

export function unreachable(what: string, timeoutMs: number, cause: unknown): TenonError {
  const text = `Kafka could not be reached for ${timeoutMs} ms, or had no leader for what was asked, and ${what} was not carried out. Try again later.`;
  return new TenonError("unavailable", text, { fields: { timeoutMs }, cause: plain(cause) });
}

export function closed(what: string, outcome: Outcome = "not-applied"): TenonError {
  const then = outcome === "unknown" ? "may have happened" : "was not carried out";
  return new TenonError("closed", `The Kafka engine was closed; ${what} ${then}.`, { outcome });
}

/** Only name and message are kept: what else an error of the client carries may hold payloads. */
export function plain(error: unknown): Error | undefined {
  if (error === undefined) return undefined;
  const kept = new Error(error instanceof Error ? error.message : String(error));
  kept.name = error instanceof Error ? error.name : "Error";
  return kept;
}

export const asRead = readOf("Kafka");
