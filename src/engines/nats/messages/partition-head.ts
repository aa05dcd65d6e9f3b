import { ByteReader, ByteWriter } from "../../shared/binary.ts";
import { type RememberedProducers, readProducers, writeProducers } from "../partition-producers.ts";

/** With a seal, releases that know none refuse to append, rather than to pass it by. */
const formats = { plain: 1, withSeal: 2 } as const;

/** Where a delayed message stands among those of its partition. */
export interface DelayKey {
  readonly dueAt: number;
  /** Of the message of the stream that brought it, and its index there. */
  readonly sequence: number;
  readonly index: number;
}

export interface DelayedMessage {
  readonly dueAt: number;
  readonly packed: Buffer;
}

/** What a topic is closed by for new messages. */
export interface Seal {
  /** How often the topic was sealed, opened or told another note: a process that comes late with an older one changes nothing. 0: never. */
  readonly version: number;
  /** Empty: the topic is open. */
  readonly note: string;
}

/**
 * All that has to be known of a partition to append to it. It stands before the messages of each run, so that the last message of the partition's subject says it, and the condition that this message is
 * still the last one makes of an append one atomic change: of the messages, their positions, their producers' marks and the delayed ones.
 */
export interface PartitionHead {
  /** The position of the run's first message, and how many there are. */
  readonly first: number;
  readonly count: number;
  /** Delayed messages up to this one were appended. */
  readonly released: DelayKey;
  /** No delayed message is due before this instant; negative: there is none. */
  readonly dueAt: number;
  readonly producers: RememberedProducers;
  /** Whether the topic has a limit, so that only what `Room` admits is appended. */
  readonly limited: boolean;
  /** Of what `Room` admitted last, here or in a run before; 0: nothing. */
  readonly token: number;
  readonly seal: Seal;
  /** Those that came with this run. They are copied to the stream of delayed messages before anything follows. */
  readonly later: readonly DelayedMessage[];
}

export const newPartition: PartitionHead = {
  first: 0,
  count: 0,
  released: { dueAt: 0, sequence: 0, index: 0 },
  dueAt: -1,
  producers: new Map(),
  limited: false,
  token: 0,
  seal: { version: 0, note: "" },
  later: [],
};

/** An empty run after this one. What came with that has been copied. */
export function emptyAfter(head: PartitionHead): PartitionHead {
  return { ...head, first: head.first + head.count, count: 0, later: [] };
}

export function compareKeys(one: DelayKey, other: DelayKey): number {
  return one.dueAt - other.dueAt || one.sequence - other.sequence || one.index - other.index;
}

export function encodeRun(head: PartitionHead, packed: readonly Buffer[]): Buffer {
  const { first, count, released, dueAt, producers, limited, token, seal, later } = head;
  const format = seal.version === 0 ? formats.plain : formats.withSeal;
  const writer = new ByteWriter().u8(format).whole(first).whole(count);
  writer.f64(released.dueAt).whole(released.sequence).whole(released.index).f64(dueAt);
  writer.u8(limited ? 1 : 0).whole(token);
  writeProducers(writer, producers);
  writer.whole(later.length);
  for (const each of later) writer.f64(each.dueAt).bytes(each.packed);
  if (format === formats.withSeal) writer.whole(seal.version).text(seal.note);
  return Buffer.concat([writer.done(), ...packed]);
}

export interface DecodedRun {
  readonly head: PartitionHead;
  readonly packed: Buffer;
}

export function decodeRun(bytes: Buffer): DecodedRun {
  const reader = new ByteReader(bytes, "a run of messages");
  const format = readFormat(reader);
  const [first, count] = [reader.whole(), reader.whole()];
  const released = { dueAt: reader.f64(), sequence: reader.whole(), index: reader.whole() };
  const dueAt = reader.f64();
  const limited = reader.u8() === 1;
  const token = reader.whole();
  const producers = readProducers(reader);
  const later: DelayedMessage[] = [];
  for (let left = reader.whole(); left > 0; left--) later.push({ dueAt: reader.f64(), packed: reader.bytes() });
  const { seal: open } = newPartition;
  const seal = format === formats.withSeal ? { version: reader.whole(), note: reader.text() } : open;
  return { head: { first, count, released, dueAt, producers, limited, token, seal, later }, packed: reader.rest() };
}

function readFormat(reader: ByteReader): number {
  const format = reader.u8();
  if (format !== formats.plain && format !== formats.withSeal) throw reader.corrupt();
  return format;
}

/** Where a run lies, for whoever only looks for positions. */
export function decodePlace(bytes: Buffer): { readonly first: number; readonly count: number } {
  const reader = new ByteReader(bytes, "a run of messages");
  readFormat(reader);
  return { first: reader.whole(), count: reader.whole() };
}
