import { groupHeader, idHeader } from "../contracts/message-conventions.ts";
import type { MessageCapabilities, MessageHeaders, NewMessage, Stored } from "../contracts/messages.ts";

/** Where the original of a copy stands. */
const positionHeader = "tenon-moved-from";
/** What a message counts in a batch beside its bytes. */
const overheadBytes = 32;

/** A message as it is stored on the other engine: the same, and where it comes from. */
export function copyOf({ position, body, key, headers, id }: Stored): NewMessage {
  const carried: Record<string, string> = { ...headers, [positionHeader]: String(position) };
  if (id !== undefined) carried[idHeader] = id;
  return { body, key, headers: carried };
}

/** A retry of one group, as it is stored in the topic itself, where the group handles it and others do not. */
export function retryCopyOf(stored: Stored, group: string): NewMessage {
  const { [positionHeader]: _, ...headers } = copyOf(stored).headers!;
  return { ...copyOf(stored), headers: { ...headers, [groupHeader]: group } };
}

/** `undefined`: it is no copy. */
export function originalOf(headers: MessageHeaders | undefined): bigint | undefined {
  const text = headers?.[positionHeader];
  return text !== undefined && /^\d{1,19}$/.test(text) ? BigInt(text) : undefined;
}

/** Cuts what was fetched into batches that the other engine takes. */
export function batchesOf(
  messages: readonly Stored[],
  { batchBytesMax }: Pick<MessageCapabilities, "batchBytesMax">,
): readonly (readonly Stored[])[] {
  const batches: Stored[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const message of messages) {
    const own = bytesOf(message);
    if (bytes + own > batchBytesMax) {
      batches.push([]);
      bytes = 0;
    }
    batches.at(-1)!.push(message);
    bytes += own;
  }
  return batches;
}

function bytesOf({ body, key = "", headers = {}, id = "" }: Stored): number {
  let bytes = body.length + 3 * (key.length + 2 * id.length) + overheadBytes + positionBytes;
  for (const [name, value] of Object.entries(headers)) bytes += 3 * (name.length + value.length);
  return bytes;
}

const positionBytes = positionHeader.length + 20 + idHeader.length;
