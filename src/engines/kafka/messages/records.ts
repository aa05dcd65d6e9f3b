import type { NewMessage } from "../../../contracts/messages.ts";
import { isDelayed } from "../../lanes/index.ts";
import type { NewKafkaRecord } from "../clients.ts";

/** A message's id is a header, so that other clients of Kafka see it. */
export const idHeader = "tenon-message-id";
export const idBytesMax = 255;
/** Of a record that has a place in its producer's sequence for a message that is delayed, and is none itself. */
export const placeHeader = "tenon-later";
/** A message of another client with a longer key has none here. */
export const keyBytesMax = 65_535;

/** The message as a record that any client of Kafka can read. */
export function recordOf(message: NewMessage, topic: string, partition: number): NewKafkaRecord {
  if (isDelayed(message)) return placeFor(topic, partition);
  const { key, headers, id, body } = message;
  const record: NewKafkaRecord = { value: asBuffer(body), topic, partition };
  if (key !== undefined) record.key = Buffer.from(key);
  if (headers === undefined && id === undefined) return record;
  record.headers = new Map<Buffer, Buffer>();
  for (const [name, value] of Object.entries(headers ?? {})) record.headers.set(Buffer.from(name), Buffer.from(value));
  if (id !== undefined) record.headers.set(Buffer.from(idHeader), Buffer.from(id));
  return record;
}

function placeFor(topic: string, partition: number): NewKafkaRecord {
  const nothing = Buffer.alloc(0);
  return { value: nothing, topic, partition, headers: new Map([[Buffer.from(placeHeader), nothing]]) };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
