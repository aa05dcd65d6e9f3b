import { Reader, Writer } from "./cursor.ts";
import type { Journal } from "./journal/journal.ts";
import type { EntryStore } from "./key-values/entry-store.ts";
import { appendHeld, laneSnapshotBytes, replayLaneSnapshot, writeLaneSnapshot } from "./messages/lanes.ts";
import type { MessageStore } from "./messages/message-store.ts";
import { producerSnapshotBytes, replayProducerSnapshot, writeProducerSnapshot } from "./messages/producers.ts";
import { appendGroup, appendLog, appendNumbers, appendTopic, replayNumbers } from "./messages/topic-records.ts";
import { recordKind, snapshotChunkCount } from "./records.ts";

/**
 * The small state, at the start of each segment: topics, logs, groups, the ends of queues, lanes, waiting delays, producers, the
 * version of the key-values. What it says of topics and groups is told by the very records that declared them.
 */
export function writeSnapshot(journal: Journal, messages: MessageStore, stores: readonly EntryStore[]): void {
  const { catalogue } = messages;
  appendNumbers(journal, catalogue);
  for (const topic of catalogue.topics.values()) appendTopic(journal, topic, topic.queues.length);
  for (const log of catalogue.logs.values()) appendLog(journal, log, log.log!, log.queues.length);
  for (const group of catalogue.groups) {
    const starts = group.lanes.map((lane) => lane.settled.low);
    appendGroup(journal, group, starts);
  }
  const queues = catalogue.queues.filter((queue) => queue.next > 0);
  writeChunks(
    journal,
    recordKind.snapshotQueues,
    queues,
    () => 12,
    (writer, queue) => writer.u32(queue.id).f64(queue.next),
  );
  writeChunks(
    journal,
    recordKind.snapshotLogs,
    queues.filter((queue) => queue.topic.log !== undefined),
    () => 20,
    (writer, queue) => writer.u32(queue.id).f64(queue.start).f64(queue.appendedAt),
  );
  const lanes = catalogue.lanes.filter((lane) => lane.fence > 0 || lane.settled.aboveCount > 0 || lane.held.size > 0);
  writeChunks(journal, recordKind.snapshotLanes, lanes, laneSnapshotBytes, writeLaneSnapshot);
  for (const lane of lanes) appendHeld(journal, lane);
  messages.delayed.snapshot(journal);
  writeChunks(
    journal,
    recordKind.snapshotProducers,
    [...messages.producers.snapshots()],
    producerSnapshotBytes,
    writeProducerSnapshot,
  );
  for (const store of stores) store.snapshot(journal);
}

/** One record per so many entries, or per so many bytes, whichever is less. */
function writeChunks<T>(
  journal: Journal,
  kind: number,
  entries: readonly T[],
  bytesOf: (entry: T) => number,
  write: (writer: Writer, entry: T) => void,
): void {
  let from = 0;
  while (from < entries.length) {
    let bytes = 0;
    let to = from;
    while (to < entries.length && to - from < snapshotChunkCount && bytes < 1024 * 1024) {
      bytes += bytesOf(entries[to]!);
      to += 1;
    }
    const at = journal.append(kind, bytes);
    const writer = new Writer(journal.buffer, at);
    for (let i = from; i < to; i++) write(writer, entries[i]!);
    from = to;
  }
}

/** Replays one of the kinds that only snapshots have. Answers whether it was one. */
export function replaySnapshot(
  kind: number,
  payload: Buffer,
  messages: MessageStore,
  stores: readonly EntryStore[],
): boolean {
  const reader = new Reader(payload);
  switch (kind) {
    case recordKind.snapshotQueues:
      while (!reader.done) {
        const queue = messages.catalogue.queue(reader.u32());
        queue.next = reader.f64();
        queue.visible = queue.next;
      }
      return true;
    case recordKind.snapshotLogs:
      while (!reader.done) {
        const queue = messages.catalogue.queue(reader.u32());
        queue.startAt(reader.f64());
        queue.appendedAt = reader.f64();
      }
      return true;
    case recordKind.snapshotNumbers:
      replayNumbers(reader, messages.catalogue);
      return true;
    case recordKind.snapshotLanes:
      while (!reader.done) replayLaneSnapshot(reader, (id) => messages.catalogue.lane(id));
      return true;
    case recordKind.snapshotDelays:
      messages.delayed.replaySnapshot(payload);
      return true;
    case recordKind.snapshotProducers:
      while (!reader.done) replayProducerSnapshot(reader, messages.producers);
      return true;
    default:
      return stores.some((store) => store.replaySnapshot(kind, reader));
  }
}
