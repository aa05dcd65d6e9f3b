import type { NewMessage } from "../../../contracts/messages.ts";
import { packedBytes, packHeaders, packMessage, Run } from "../../lanes/message-format.ts";
import type { KafkaBatch, KafkaRecord, NewKafkaRecord } from "../clients.ts";
import { isControl, timestampOf } from "../requests.ts";

/** A message's id is a header, so that other clients of Kafka see it. */
const idHeader = "tenon-message-id";
const idBytesMax = 255;
/** A message of another client with a longer key has none here. */
const keyBytesMax = 65_535;

/** The message as a record that any client of Kafka can read. */
export function recordOf({ key, headers, id, body }: NewMessage, topic: string, partition: number): NewKafkaRecord {
  const record: NewKafkaRecord = { value: asBuffer(body), topic, partition };
  if (key !== undefined) record.key = Buffer.from(key);
  if (headers === undefined && id === undefined) return record;
  record.headers = new Map<Buffer, Buffer>();
  for (const [name, value] of Object.entries(headers ?? {})) record.headers.set(Buffer.from(name), Buffer.from(value));
  if (id !== undefined) record.headers.set(Buffer.from(idHeader), Buffer.from(id));
  return record;
}

function messageOf({ key, headers, value }: KafkaRecord): NewMessage {
  let id: string | undefined;
  const texts: [string, string][] = [];
  for (const [name, text] of headers) {
    if (name === null) continue;
    const isId = text !== null && text.length > 0 && text.length <= idBytesMax && name.toString() === idHeader;
    if (isId) id = text.toString();
    else texts.push([name.toString(), (text ?? "").toString()]);
  }
  return {
    key: key === null || key.length > keyBytesMax ? undefined : key.toString(),
    // What another client wrote without a value has an empty body.
    body: value ?? Buffer.alloc(0),
    id,
    headers: texts.length === 0 ? undefined : Object.fromEntries(texts),
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export interface FetchedRuns {
  readonly runs: readonly Run[];
  /** Positions between `from` and `end` that hold no message: marks of transactions, and what was compacted or deleted. */
  readonly gaps: readonly { readonly from: number; readonly to: number }[];
  /** Everything below was looked at. */
  readonly end: number;
}

/** Records from a position on as runs of messages that were stored together. */
export function runsOf(batches: readonly KafkaBatch[], from: number): FetchedRuns {
  const runs: Run[] = [];
  const gaps: { from: number; to: number }[] = [];
  let end = from;
  const skipTo = (position: number) => {
    if (position <= end) return;
    const last = gaps.at(-1);
    if (last?.to === end) last.to = position;
    else gaps.push({ from: end, to: position });
    end = position;
  };
  for (const batch of batches) {
    const first = Number(batch.firstOffset);
    const records = isControl(batch) ? [] : batch.records.filter(({ offsetDelta }) => first + offsetDelta >= from);
    for (let index = 0; index < records.length; ) {
      const record = records[index]!;
      const at = timestampOf(batch, record);
      let count = 1;
      while (index + count < records.length && isNext(records[index + count]!, record, count, batch, at)) count += 1;
      skipTo(first + record.offsetDelta);
      const packed = records.slice(index, index + count).map(pack);
      end += count;
      runs.push(new Run(end, count, at, count === 1 ? packed[0]! : Buffer.concat(packed)));
      index += count;
    }
    skipTo(first + batch.lastOffsetDelta + 1);
  }
  return { runs, gaps, end };
}

function isNext(record: KafkaRecord, first: KafkaRecord, distance: number, batch: KafkaBatch, at: number): boolean {
  return record.offsetDelta === first.offsetDelta + distance && timestampOf(batch, record) === at;
}

function pack(record: KafkaRecord): Buffer {
  const message = messageOf(record);
  const headers = message.headers && packHeaders(message.headers);
  const packed = Buffer.allocUnsafe(packedBytes(message, headers?.length ?? -1));
  packMessage(packed, 0, message, headers);
  return packed;
}
