import type { MessageHeaders } from "../contracts/messages.ts";

export { groupHeader, idHeader } from "../contracts/message-conventions.ts";

/** The headers that Tenon writes itself. Users may not write names with this prefix. */
export const reservedPrefix = "tenon-";

export const reasonHeader = "tenon-reason";
export const failuresHeader = "tenon-failures";
export const originTopicHeader = "tenon-origin-topic";
export const originPartitionHeader = "tenon-origin-partition";
export const originPositionHeader = "tenon-origin-position";
export const publishedAtHeader = "tenon-published-at";
export const deadAtHeader = "tenon-dead-at";
/** What the publisher called its kind. */
export const tagHeader = "tenon-tag";
/** The instant from which on it is not delivered, ms since the epoch. */
export const expiresAtHeader = "tenon-expires-at";
/** Producer and number of a message within its partition, for the loss detector. Copies carry none. */
export const numberHeader = "tenon-number";

const none: MessageHeaders = Object.freeze({});

/** What the publisher wrote, without what Tenon added. */
export function publishedHeaders(headers: MessageHeaders | undefined): MessageHeaders {
  if (headers === undefined) return none;
  let own: Record<string, string> | undefined;
  for (const name in headers) {
    if (!name.startsWith(reservedPrefix)) continue;
    own ??= { ...headers };
    delete own[name];
  }
  return own ?? headers;
}

/** What a copy keeps of its original: the publisher's headers and its tag. */
export function copiedHeaders(headers: MessageHeaders | undefined): Record<string, string> {
  const copied: Record<string, string> = { ...publishedHeaders(headers) };
  const tag = headers?.[tagHeader];
  if (tag !== undefined) copied[tagHeader] = tag;
  return copied;
}
