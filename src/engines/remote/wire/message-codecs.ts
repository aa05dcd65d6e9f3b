import { TenonError } from "../../../contracts/errors.ts";
import type {
  Batch,
  GroupDescription,
  Held,
  JoinOptions,
  LaneCommit,
  LaneDescription,
  MessageCapabilities,
  MessageHeaders,
  NewMessage,
  PartitionDescription,
  Positions,
  ProducerMark,
  SeekTarget,
  Stored,
  TopicDeclaration,
  TopicDescription,
} from "../../../contracts/messages.ts";
import { bigint, boolean, bytes, type Codec, list, number, optional, record, text, word } from "./codecs.ts";

const survives = word("nothing", "process", "machine", "replicas");
const whenFull = word("refuse", "evict");

export const messageCapabilities = record<MessageCapabilities>({
  survives,
  deduplicate: word("id", "session", "none"),
  delay: boolean,
  delayLatenessMs: number,
  replay: boolean,
  fence: boolean,
  orderAfterCrash: boolean,
  atomic: boolean,
  messageBytesMax: number,
  keyBytesMax: number,
  partitionsMax: number,
  windowMax: number,
  heldMax: number,
  sessionMsMin: number,
  countLimits: word("none", "refuse", "evict"),
  seal: boolean,
  batchBytesMax: number,
});

export const topicDeclaration = record<TopicDeclaration>({
  partitions: number,
  groups: optional(list(text)),
  retentionMs: optional(number),
  countMax: optional(number),
  whenFull: optional(whenFull),
  sealed: optional(text),
});

export const topicDescription = record<TopicDescription>({
  topic: text,
  retentionMs: number,
  countMax: optional(number),
  whenFull,
  sealed: optional(text),
  partitions: list(record<PartitionDescription>({ first: bigint, next: bigint })),
  groups: list(
    record<GroupDescription>({
      group: text,
      members: number,
      ephemeral: optional(boolean),
      lanes: list(
        record<LaneDescription>({ low: bigint, lag: number, held: number, oldestPublishedAt: optional(number) }),
      ),
    }),
  ),
  delayedCount: number,
});

const pairs = list(record<{ readonly name: string; readonly value: string }>({ name: text, value: text }));

export const headers: Codec<MessageHeaders> = {
  write(writer, value) {
    if (typeof value !== "object" || value === null) {
      throw new TenonError("invalid", `headers must be an object of strings, not of type ${typeof value}`);
    }
    pairs.write(
      writer,
      Object.entries(value).map(([name, each]) => ({ name, value: each })),
    );
  },
  read: (reader) => Object.fromEntries(pairs.read(reader).map(({ name, value }) => [name, value])),
};

const newMessage = record<NewMessage>({
  body: bytes,
  key: optional(text),
  headers: optional(headers),
  id: optional(text),
  dueAt: optional(number),
});

export const batch = record<Batch>({
  topic: text,
  partition: number,
  messages: list(newMessage),
  producer: optional(record<ProducerMark>({ id: text, epoch: number, sequence: number })),
});

/** What a message takes is not sent: its body is here. */
export const stored = record<Omit<Stored, "sizeBytes">>({
  position: bigint,
  key: optional(text),
  body: bytes,
  headers: optional(headers),
  id: optional(text),
  publishedAt: number,
});

/** About what it takes in a frame. */
export function storedBytes({ body, key, id, headers: given }: Stored): number {
  let sizeBytes = body.length + 64 + 2 * ((key?.length ?? 0) + (id?.length ?? 0));
  if (given !== undefined) {
    for (const name of Object.keys(given)) sizeBytes += 8 + 2 * (name.length + given[name]!.length);
  }
  return sizeBytes;
}

export const held = record<Held>({ position: bigint, failures: number, deliveries: number, dueAt: number });

const bigints = list(bigint);
const positions: Codec<Positions> = {
  write: (writer, value) => bigints.write(writer, value instanceof BigUint64Array ? [...value] : value),
  read: (reader) => bigints.read(reader),
};

export const laneCommit = record<LaneCommit>({
  settled: positions,
  held: optional(list(held)),
  appends: optional(list(batch)),
});

const starts = list(
  record<{ readonly partition: number; readonly position: bigint }>({ partition: number, position: bigint }),
);

export const seekTarget: Codec<SeekTarget> = {
  write(writer, target) {
    if (target === "earliest") writer.u8(0);
    else if (target === "now") writer.u8(1);
    else if (typeof target === "object" && target !== null && "at" in target) {
      writer.u8(2);
      number.write(writer, target.at);
    } else if (typeof target === "object" && target !== null && target.positions instanceof Map) {
      writer.u8(3);
      starts.write(
        writer,
        [...target.positions].map(([partition, position]) => ({ partition, position })),
      );
    } else {
      const allowed = '"now", "earliest", { at: an instant in ms } or { positions: a Map by partition }';
      throw new TenonError("invalid", `a group cannot start there; give ${allowed}`);
    }
  },
  read(reader) {
    const kind = reader.u8();
    if (kind === 0) return "earliest";
    if (kind === 1) return "now";
    if (kind === 2) return { at: reader.f64() };
    if (kind !== 3) throw new RangeError(`${kind} is no kind of a position`);
    return { positions: new Map(starts.read(reader).map(({ partition, position }) => [partition, position])) };
  },
};

export const joinOptions = record<JoinOptions>({
  sessionMs: number,
  revokeMs: number,
  windowMax: number,
  from: optional(seekTarget),
  ephemeral: optional(boolean),
  agreement: optional(text),
});
