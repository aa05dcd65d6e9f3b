import { TenonError } from "../contracts/errors.ts";
import { checkInstant } from "../contracts/instants.ts";
import type { MessageCapabilities, MessageHeaders, NewMessage } from "../contracts/messages.ts";
import type { Expiry } from "./expiry.ts";
import { expiresAtHeader, reservedPrefix, tagHeader } from "./headers.ts";

/** How one message is published. */
export interface PublishOptions extends MessageOptions {
  /** Takes a message back that was not sent yet; of one that was, it only ends the wait. */
  readonly signal?: AbortSignal | undefined;
  /** Instead of the topic's `publishTimeoutMs`. */
  readonly timeoutMs?: number | undefined;
}

export interface MessageOptions extends Expiry {
  /** Messages with equal keys are handled in order, one at a time. The empty string is a key. */
  readonly key?: string | undefined;
  /** Stored once within 2 minutes, where the engine deduplicates by id. At most 255 bytes of UTF-8. */
  readonly id?: string | undefined;
  /** Names that begin with `tenon-` are reserved. */
  readonly headers?: MessageHeaders | undefined;
  /** What kind of message it is, which subscriptions can filter by. At most 255 bytes of UTF-8; it counts towards the message's size. */
  readonly tag?: string | undefined;
  /** Delivered no earlier than so many milliseconds from now. */
  readonly delayMs?: number | undefined;
  /** Delivered no earlier than this instant, ms since the epoch. */
  readonly dueAt?: number | undefined;
  /** Instead of the one that follows from the key. */
  readonly partition?: number | undefined;
}

/** Of ids and tags. */
const shortBytesMax = 255;

/**
 * Holds the limits and answers the message's size in bytes, or slightly more. Only what is near a limit is measured
 * exactly: three bytes per character is the most that UTF-8 needs.
 */
export function measure(
  topic: string,
  limits: MessageCapabilities,
  body: Uint8Array,
  options: MessageOptions | undefined,
): number {
  let sizeBytes = body.length;
  if (options !== undefined) {
    const { key, headers, id, tag } = options;
    if (key !== undefined) sizeBytes += keyBytes(topic, limits, key);
    if (headers !== undefined) sizeBytes += headersBytes(topic, headers);
    if (id !== undefined) checkShort(topic, "id", id);
    if (tag !== undefined) sizeBytes += checkShort(topic, "tag", tag);
  }
  if (sizeBytes <= limits.messageBytesMax) return sizeBytes;
  return exactBytes(topic, limits.messageBytesMax, body, options);
}

function keyBytes(topic: string, limits: MessageCapabilities, key: string): number {
  if (typeof key !== "string")
    throw new TenonError("invalid", `The key of a message for topic "${topic}" must be a string.`);
  if (!key.isWellFormed()) throw notWellFormed(topic, "key");
  if (key.length * 3 <= limits.keyBytesMax) return key.length * 3;
  const sizeBytes = Buffer.byteLength(key);
  if (sizeBytes <= limits.keyBytesMax) return sizeBytes;
  throw new TenonError(
    "invalid",
    `The key of a message for topic "${topic}" has ${sizeBytes} bytes; at most ${limits.keyBytesMax} are allowed. Use a shorter one, such as its hash.`,
    { fields: { topic, sizeBytes, keyBytesMax: limits.keyBytesMax } },
  );
}

function headersBytes(topic: string, headers: MessageHeaders): number {
  if (typeof headers !== "object" || headers === null || Symbol.iterator in headers) {
    throw new TenonError("invalid", `The headers of a message for topic "${topic}" must be a plain object of strings.`);
  }
  let sizeBytes = 0;
  for (const name in headers) {
    const value = headers[name];
    if (name.startsWith(reservedPrefix)) {
      throw new TenonError(
        "invalid",
        `The header "${name}" of a message for topic "${topic}" is reserved: names that begin with "${reservedPrefix}" are Tenon's own.`,
        { fields: { topic, header: name } },
      );
    }
    if (typeof value !== "string") {
      throw new TenonError("invalid", `The header "${name}" of a message for topic "${topic}" must be a string.`, {
        fields: { topic, header: name },
      });
    }
    sizeBytes += Buffer.byteLength(name) + Buffer.byteLength(value);
  }
  return sizeBytes;
}

/** Refused here, before it is in a batch with others: the engine would refuse them all. */
function notWellFormed(topic: string, what: "key" | "id" | "tag"): TenonError {
  return new TenonError(
    "invalid",
    `The ${what} of a message for topic "${topic}" holds half a surrogate pair, which UTF-8 cannot give back. Use well-formed text.`,
    { fields: { topic } },
  );
}

/** Answers its size in bytes. */
function checkShort(topic: string, what: "id" | "tag", text: string): number {
  if (typeof text === "string") {
    if (!text.isWellFormed()) throw notWellFormed(topic, what);
    const sizeBytes = Buffer.byteLength(text);
    if (sizeBytes > 0 && sizeBytes <= shortBytesMax) return sizeBytes;
  }
  throw new TenonError(
    "invalid",
    `The ${what} of a message for topic "${topic}" must be a string of 1 to ${shortBytesMax} bytes.`,
    { fields: { topic, [`${what}BytesMax`]: shortBytesMax } },
  );
}

function exactBytes(
  topic: string,
  messageBytesMax: number,
  body: Uint8Array,
  options: MessageOptions | undefined,
): number {
  const keyed = options?.key === undefined ? 0 : Buffer.byteLength(options.key);
  const tagged = options?.tag === undefined ? 0 : Buffer.byteLength(options.tag);
  const sizeBytes =
    body.length + keyed + tagged + (options?.headers === undefined ? 0 : headersBytes(topic, options.headers));
  if (sizeBytes <= messageBytesMax) return sizeBytes;
  throw new TenonError(
    "invalid",
    `A message for topic "${topic}" has ${sizeBytes} bytes (body, key and headers); at most ${messageBytesMax} are allowed. ` +
      "Store large content elsewhere and publish where it is.",
    { fields: { topic, sizeBytes, messageBytesMax } },
  );
}

/** What a message takes that was made here, and so holds the limits. */
export function messageBytes({ body, key, headers }: NewMessage): number {
  let sizeBytes = body.length + (key === undefined ? 0 : Buffer.byteLength(key));
  for (const name in headers) sizeBytes += Buffer.byteLength(name) + Buffer.byteLength(headers[name] ?? "");
  return sizeBytes;
}

/** The instant before which it stays invisible; `undefined` when it is due already. */
export function dueAtOf(
  topic: string,
  limits: MessageCapabilities,
  options: MessageOptions,
  now: number,
): number | undefined {
  const { delayMs, dueAt } = options;
  if (delayMs === undefined && dueAt === undefined) return undefined;
  if (delayMs !== undefined && dueAt !== undefined) {
    throw new TenonError("invalid", `A message for topic "${topic}" has both delayMs and dueAt; give one of them.`);
  }
  if (delayMs !== undefined && !(Number.isFinite(delayMs) && delayMs >= 0)) {
    throw new TenonError("invalid", `delayMs is ${delayMs}; it must be a number of milliseconds from 0.`);
  }
  if (dueAt !== undefined) checkInstant("dueAt", topic, dueAt);
  const due = Math.ceil(dueAt ?? now + (delayMs as number));
  if (!Number.isSafeInteger(due) || due < 0) {
    throw new TenonError(
      "invalid",
      `The due instant ${due} of a message for topic "${topic}" is not a time in ms since the epoch.`,
    );
  }
  if (due <= now) return undefined;
  if (!limits.delay) {
    throw new TenonError(
      "unsupported",
      `A message for topic "${topic}" cannot be delayed: the engine cannot delay messages.`,
    );
  }
  return due;
}

/** What is stored with the message: the publisher's headers, and what Tenon keeps among them. */
export function storedHeaders(
  { headers, tag }: MessageOptions,
  expiresAt: string | undefined,
): MessageHeaders | undefined {
  if (tag === undefined && expiresAt === undefined) return headers;
  const stored: Record<string, string> = { ...headers };
  if (tag !== undefined) stored[tagHeader] = tag;
  if (expiresAt !== undefined) stored[expiresAtHeader] = expiresAt;
  return stored;
}
