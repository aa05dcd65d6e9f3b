import { TenonError } from "../contracts/errors.ts";
import type { NewMessage } from "../contracts/messages.ts";
import type { Delivery } from "./delivery.ts";
import {
  copiedHeaders,
  deadAtHeader,
  expiresAtHeader,
  failuresHeader,
  idHeader,
  originPartitionHeader,
  originPositionHeader,
  originTopicHeader,
  publishedAtHeader,
  reasonHeader,
} from "./headers.ts";

/** Thrown by a handler for a message that no retry will help: it becomes a dead letter at once. */
export class DeadLetter extends Error {
  override readonly name = "DeadLetter";
  constructor(reason: string, options?: ErrorOptions) {
    super(reason, options);
  }
}

/** A batch handler's verdict that a message is to be handled again. */
export class RetryRequested extends Error {
  override readonly name = "RetryRequested";
}

const reasonLengthMax = 500;

/** What the dead letter says of the last failure: the error's name and message, never its stack or its cause. */
export function reasonOf(error: unknown): string {
  try {
    return textOf(error).slice(0, reasonLengthMax).toWellFormed();
  } catch {
    // An error whose own message cannot be read must not keep its message from becoming a dead letter.
    return "the handler threw an error that cannot be described";
  }
}

function textOf(error: unknown): string {
  let reason: string;
  if (error instanceof DeadLetter || error instanceof RetryRequested) reason = error.message;
  else if (error instanceof TenonError) reason = `${error.code}: ${error.message}`;
  else if (error instanceof Error) reason = `${error.name}: ${error.message}`;
  else reason = `the handler threw no error but a value of type ${typeof error}`;
  return reason;
}

/** The messages of parsers quote what they parsed, so only the error's name is kept, unless the error is ours. */
export function undecodableReason(contentType: string, error: unknown): string {
  if (error instanceof TenonError) return `undecodable: ${error.message}`.slice(0, reasonLengthMax);
  return `undecodable as ${contentType}: ${error instanceof Error ? error.name : typeof error}`;
}

/** The copy that is kept for the group: body, key, headers and id of the original, with the reason and where it came from. */
export function deadLetterOf(delivery: Delivery, reason: string, deadAt: number): NewMessage {
  return {
    body: delivery.stored.body,
    key: delivery.stored.key,
    headers: { ...headersOf(delivery), [reasonHeader]: reason, [deadAtHeader]: String(deadAt) },
    id: undefined,
    dueAt: undefined,
  };
}

export function copyForRetry(delivery: Delivery, dueAt: number): NewMessage {
  return { body: delivery.stored.body, key: undefined, headers: headersOf(delivery), id: undefined, dueAt };
}

function headersOf(delivery: Delivery): Record<string, string> {
  const { stored, origin } = delivery;
  const headers: Record<string, string> = {
    ...copiedHeaders(stored.headers),
    [failuresHeader]: String(delivery.failures),
    [originTopicHeader]: origin.topic,
    [originPartitionHeader]: String(origin.partition),
    [originPositionHeader]: String(origin.position),
    [publishedAtHeader]: String(origin.publishedAt),
  };
  const id = stored.id ?? stored.headers?.[idHeader];
  if (id !== undefined) headers[idHeader] = id;
  const expiresAt = stored.headers?.[expiresAtHeader];
  if (expiresAt !== undefined) headers[expiresAtHeader] = expiresAt;
  return headers;
}
