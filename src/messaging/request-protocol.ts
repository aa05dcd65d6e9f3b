import { type ErrorCode, type Outcome, TenonError } from "../contracts/errors.ts";
import type { MessageHeaders } from "../contracts/messages.ts";

/** The headers that make a message a request, and another one its reply. Plain ones: any consumer may answer. */
export const replyToHeader = "reply-to";
export const correlationHeader = "correlation-id";
/** ms since the epoch; nobody waits for the reply any more from then on. */
export const replyByHeader = "reply-by";
/** On a reply: what failed, as JSON; the body is empty then. */
export const replyErrorHeader = "reply-error";

const ownHeaders = [replyToHeader, correlationHeader, replyByHeader, replyErrorHeader];

export function checkRequestHeaders(name: string, headers: MessageHeaders | undefined): void {
  const taken = ownHeaders.find((header) => headers !== undefined && header in headers);
  if (taken === undefined) return;
  throw new TenonError(
    "invalid",
    `The header "${taken}" of a request to "${name}" is written by the requester; use another name.`,
    {
      fields: { topic: name, header: taken },
    },
  );
}

/** The group that answers, unless another one is named. */
export const replyingGroupDefault = "repliers";

/** Where the replies to one requester go. Users' names hold no `..`, so that nobody's topic is taken for one. */
export function replyTopicOf(name: string, madeAt: number, id: string): string {
  return `${replyTopicPrefix(name)}${madeAt.toString(36)}-${id}`;
}

export function replyTopicPrefix(name: string): string {
  return `${name}..replies..`;
}

/** When a requester made it; `undefined` for any other topic. */
export function replyTopicMadeAt(name: string, replyTopic: string): number | undefined {
  const prefix = replyTopicPrefix(name);
  if (!replyTopic.startsWith(prefix)) return undefined;
  const madeAt = Number.parseInt(replyTopic.slice(prefix.length).split("-", 1)[0]!, 36);
  return Number.isSafeInteger(madeAt) ? madeAt : undefined;
}

const messageLengthMax = 1_000;

/** What a requester may learn of a handler's error: no stack, no cause, no fields. */
export function encodeReplyError(error: unknown): string {
  if (error instanceof TenonError) {
    const { code, outcome, message } = error;
    return JSON.stringify({ code, outcome, message: message.slice(0, messageLengthMax) });
  }
  const said = error instanceof Error ? `${error.name}: ${error.message}` : `a thrown value of type ${typeof error}`;
  return JSON.stringify({ code: "unavailable", outcome: "unknown", message: said.slice(0, messageLengthMax) });
}

export function decodeReplyError(name: string, encoded: string): TenonError {
  const fields = { topic: name, replied: true };
  try {
    const { code, outcome, message } = JSON.parse(encoded) as { code: ErrorCode; outcome: Outcome; message: string };
    return new TenonError(code, `The replier of "${name}" answered with an error: ${message}`, { outcome, fields });
  } catch (cause) {
    const said = `The replier of "${name}" answered with an error that cannot be read.`;
    return new TenonError("invalid", said, { outcome: "unknown", fields, cause });
  }
}
