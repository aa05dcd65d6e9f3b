import type { SqlTransaction } from "../contracts/sql.ts";
import type { Inbox } from "./inbox.ts";

/** The part of a message's context that names the message. */
export interface MessageName {
  readonly id: string | undefined;
  readonly topic: string;
  readonly partition: number;
  readonly position: bigint;
}

/**
 * Makes a consumer's handler idempotent. Each message is handled in one transaction with its record in the inbox: what the handler
 * writes through `transaction` is committed with the record, before the message is settled. A redelivery of a message that took effect
 * does not reach the handler. A handler that throws leaves neither; it is retried as usual.
 */
export function idempotent<T, Context extends MessageName>(
  inbox: Inbox,
  handler: (value: T, context: Context, transaction: SqlTransaction) => void | Promise<void>,
): (value: T, context: Context) => Promise<void> {
  return (value, context) =>
    inbox.sql.transaction(async (transaction) => {
      if (await inbox.once(transaction, messageIdentity(context))) await handler(value, context, transaction);
    });
}

/** The publisher's message id within its topic; without one, the place where the message was first stored. */
export function messageIdentity({ id, topic, partition, position }: MessageName): string {
  // No topic's name holds a slash, and only ids have two in a row, so that the two forms never meet.
  return id === undefined ? `${topic}/${partition}/${position}` : `${topic}//${id}`;
}
