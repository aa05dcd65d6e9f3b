import { Reader, stringBytes, Writer } from "../cursor.ts";
import type { Journal } from "../journal/journal.ts";
import { recordKind } from "../records.ts";
import type { Catalogue, Group, LogRetention, Topic, TopicSettings } from "./catalogue.ts";

/** `retention f64 · count max f64 · evicts u8` */
const settingsBytes = 8 + 8 + 1;

function writeSettings(writer: Writer, { retentionMs, countMax, whenFull }: TopicSettings): void {
  writer
    .f64(retentionMs)
    .f64(countMax)
    .u8(whenFull === "evict" ? 1 : 0);
}

function readSettings(reader: Reader): Omit<TopicSettings, "sealed"> {
  return { retentionMs: reader.f64(), countMax: reader.f64(), whenFull: reader.u8() === 1 ? "evict" : "refuse" };
}

/** `note`, only of a topic that is sealed: at the end of a record, so that directories from before there were seals open. */
function sealBytes({ sealed }: TopicSettings): number {
  return sealed === "" ? 0 : stringBytes(sealed);
}

function writeSeal(writer: Writer, { sealed }: TopicSettings): void {
  if (sealed !== "") writer.string(sealed);
}

function readSeal(reader: Reader): string {
  return reader.done ? "" : reader.string();
}

/** `topic u32 · partitions u32 · settings · name · seal`. A topic's number is that of its first queue; the others follow it. */
export function appendTopic(
  journal: Journal,
  { id, name, settings }: Pick<Topic, "id" | "name" | "settings">,
  partitions: number,
): void {
  const at = journal.append(recordKind.topic, 4 + 4 + settingsBytes + stringBytes(name) + sealBytes(settings));
  const writer = new Writer(journal.buffer, at).u32(id).u32(partitions);
  writeSettings(writer, settings);
  writeSeal(writer.string(name), settings);
}

export function replayTopic(payload: Buffer, catalogue: Catalogue): void {
  const reader = new Reader(payload);
  const id = reader.u32();
  const partitions = reader.u32();
  const settings = readSettings(reader);
  const name = reader.string();
  catalogue.addTopic(name, partitions, { ...settings, sealed: readSeal(reader) }, 0, id);
}

/** `topic u32 · settings · seal` */
export function appendSettings(journal: Journal, topic: number, settings: TopicSettings): void {
  const at = journal.append(recordKind.topicSettings, 4 + settingsBytes + sealBytes(settings));
  const writer = new Writer(journal.buffer, at).u32(topic);
  writeSettings(writer, settings);
  writeSeal(writer, settings);
}

export function replaySettings(payload: Buffer, catalogue: Catalogue): void {
  const reader = new Reader(payload);
  const { topic } = catalogue.queue(reader.u32());
  topic.settings = { ...readSettings(reader), sealed: readSeal(reader) };
}

/** `log u32 · partitions u32 · retention ms f64 · retention bytes f64 · name`. Numbered as a topic is. */
export function appendLog(
  journal: Journal,
  { id, name }: Pick<Topic, "id" | "name">,
  { retentionMs, retentionBytes }: LogRetention,
  partitions: number,
): void {
  const at = journal.append(recordKind.log, 4 + 4 + 8 + 8 + stringBytes(name));
  new Writer(journal.buffer, at).u32(id).u32(partitions).f64(retentionMs).f64(retentionBytes).string(name);
}

export function replayLog(payload: Buffer, catalogue: Catalogue): void {
  const reader = new Reader(payload);
  const id = reader.u32();
  const partitions = reader.u32();
  const retention = { retentionMs: reader.f64(), retentionBytes: reader.f64() };
  catalogue.addLog(reader.string(), partitions, retention, 0, id);
}

/** `log u32 · retention ms f64 · retention bytes f64` */
export function appendLogRetention(journal: Journal, log: number, { retentionMs, retentionBytes }: LogRetention): void {
  const at = journal.append(recordKind.logRetention, 4 + 8 + 8);
  new Writer(journal.buffer, at).u32(log).f64(retentionMs).f64(retentionBytes);
}

export function replayLogRetention(payload: Buffer, catalogue: Catalogue): void {
  const reader = new Reader(payload);
  const { topic } = catalogue.queue(reader.u32());
  if (topic.log === undefined) throw new RangeError(`a log's retention for topic ${topic.id}`);
  topic.log = { retentionMs: reader.f64(), retentionBytes: reader.f64() };
}

/** `queue u32 · start f64`: what is below is kept no longer. */
export function appendTrimming(journal: Journal, queue: number, start: number): void {
  const at = journal.append(recordKind.logTrimmed, 12);
  new Writer(journal.buffer, at).u32(queue).f64(start);
}

/** `group u32 · topic u32 · ephemeral u8 · start f64 by partition · name`. A group's number is that of its first lane; the others follow it. */
export function appendGroup(
  journal: Journal,
  group: Pick<Group, "id" | "name" | "topic" | "ephemeral">,
  starts: readonly number[],
): void {
  const bytes = 4 + 4 + 1 + 8 * starts.length + stringBytes(group.name);
  const at = journal.append(recordKind.group, bytes);
  const writer = new Writer(journal.buffer, at)
    .u32(group.id)
    .u32(group.topic.id)
    .u8(group.ephemeral ? 1 : 0);
  for (const start of starts) writer.f64(start);
  writer.string(group.name);
}

export function replayGroup(payload: Buffer, catalogue: Catalogue): void {
  const reader = new Reader(payload);
  const id = reader.u32();
  const { topic } = catalogue.queue(reader.u32());
  const ephemeral = reader.u8() === 1;
  const starts = topic.queues.map(() => reader.f64());
  catalogue.addGroup(topic, reader.string(), starts, { ephemeral, id });
}

/** `topic u32` or `group u32` */
export function appendRemoval(journal: Journal, kind: "topicRemoved" | "groupRemoved", id: number): void {
  const at = journal.append(recordKind[kind], 4);
  new Writer(journal.buffer, at).u32(id);
}

/** `queue u32 · below f64`: every group has settled what is below. */
export function appendEviction(journal: Journal, queue: number, below: number): void {
  const at = journal.append(recordKind.evicted, 12);
  new Writer(journal.buffer, at).u32(queue).f64(below);
}

export const evictionBytes = 12;

/** `next queue u32 · next lane u32`: of the removed ones nothing else tells. */
export function appendNumbers(journal: Journal, { nextQueue, nextLane }: Catalogue): void {
  const at = journal.append(recordKind.snapshotNumbers, 8);
  new Writer(journal.buffer, at).u32(nextQueue).u32(nextLane);
}

export function replayNumbers(reader: Reader, catalogue: Catalogue): void {
  catalogue.nextQueue = Math.max(catalogue.nextQueue, reader.u32());
  catalogue.nextLane = Math.max(catalogue.nextLane, reader.u32());
}
