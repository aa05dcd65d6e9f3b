import { Reader, stringBytes, Writer } from "./cursor.ts";
import type { EntryStore } from "./key-values/entry-store.ts";
import { idWindowMs } from "./messages/id-window.ts";
import { SegmentDirectory } from "./messages/message-index.ts";
import type { MessageStore } from "./messages/message-store.ts";

/**
 * A sealed segment's index: `messages section · each store's entries · ids section`, each behind its own length. The ids
 * section starts with the instant of sealing.
 */
export function encodeFooter(segment: number, messages: MessageStore, stores: readonly EntryStore[]): Buffer {
  const directory = SegmentDirectory.encode(messages.queues.activeQueues);
  if (messages.queues.activeQueues.length > 0) {
    messages.index.addSegment(SegmentDirectory.decode(segment, directory).directory);
  }
  messages.queues.sealed();
  return Buffer.concat([directory, ...stores.map((store) => store.footer()), encodeIds(segment, messages)]);
}

export function loadFooter(
  segment: number,
  footer: Buffer,
  messages: MessageStore,
  stores: readonly EntryStore[],
): void {
  const { directory, sectionBytes } = SegmentDirectory.decode(segment, footer);
  if (directory.size > 0) messages.index.addSegment(directory);
  const reader = new Reader(footer, sectionBytes);
  for (const store of stores) store.loadFooter(reader);
  loadIds(segment, reader, messages);
}

function encodeIds(segment: number, messages: MessageStore): Buffer {
  const ids = messages.takeActiveIds();
  const now = messages.core.world.clock.now();
  if (ids.length > 0) messages.ids.sealed(segment, now);
  let bytes = 8 + 4;
  for (const { id } of ids) bytes += 4 + stringBytes(id) + 8 + 8;
  const writer = new Writer(Buffer.allocUnsafe(bytes)).f64(now).u32(ids.length);
  for (const { topic, id, place, at } of ids) writer.u32(topic).string(id).f64(place).f64(at);
  return writer.buffer;
}

/** Ids of a segment that was sealed longer ago than they are remembered are not even looked at. */
function loadIds(segment: number, reader: Reader, messages: MessageStore): void {
  const sealedAt = reader.f64();
  if (sealedAt + idWindowMs < messages.core.world.clock.now()) return;
  const count = reader.u32();
  if (count > 0) messages.ids.sealed(segment, sealedAt);
  for (let left = count; left > 0; left--) {
    const topic = reader.u32();
    messages.ids.add(topic, reader.string(), reader.f64(), reader.f64());
  }
}
