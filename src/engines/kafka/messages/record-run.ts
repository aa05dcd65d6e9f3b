import type { MessageHeaders, Stored } from "../../../contracts/messages.ts";
import { keepShape } from "../../../world/kept-shapes.ts";
import type { FetchedRun } from "../../lanes/index.ts";
import { readKey } from "../../lanes/keys-seen.ts";
import { toPosition } from "../../lanes/positions.ts";
import { RecordBatch } from "../fetching/record-batch.ts";
import { RecordReader } from "../fetching/record-reader.ts";
import { idBytesMax, idHeader, keyBytesMax, placeHeader } from "./records.ts";

/** A record where it lies in its batch. What is not asked for at once is made when it is: then most of it does not outlive its handler. */
class RecordMessage implements Stored {
  readonly key: string | undefined;
  readonly headers: MessageHeaders | undefined;
  readonly id: string | undefined;
  readonly sizeBytes: number;
  readonly #batch: RecordBatch;
  readonly #position: number;
  readonly #timestampDelta: number;
  readonly #bodyFrom: number;
  readonly #bodyTo: number;

  constructor(
    batch: RecordBatch,
    position: number,
    timestampDelta: number,
    key: string | undefined,
    { id, headers }: Named,
    sizeBytes: number,
    bodyFrom: number,
    bodyTo: number,
  ) {
    this.key = key;
    this.headers = headers;
    this.id = id;
    this.sizeBytes = sizeBytes;
    this.#batch = batch;
    this.#position = position;
    this.#timestampDelta = timestampDelta;
    this.#bodyFrom = bodyFrom;
    this.#bodyTo = bodyTo;
  }

  get position(): bigint {
    return toPosition(this.#position);
  }

  get body(): Uint8Array {
    return this.#batch.records.subarray(this.#bodyFrom, this.#bodyTo);
  }

  get publishedAt(): number {
    return this.#batch.timestampOf(this.#timestampDelta);
  }
}

/** What a record's headers come to. */
interface Named {
  readonly id: string | undefined;
  readonly headers: MessageHeaders | undefined;
}

const nothingNamed: Named = { id: undefined, headers: undefined };
/** The record is no message. */
const onlyPlace: Named = { ...nothingNamed };

keepShape(new RecordMessage(RecordBatch.empty(), 0, 0, undefined, nothingNamed, 0, 0, 0));

/** Records of a batch whose positions follow one another, and how far they were read. They are bytes until they are asked for. */
export class RecordRun implements FetchedRun {
  position: number;
  readonly end: number;
  readonly #batch: RecordBatch;
  readonly #reader: RecordReader;
  /** Where the record begins that is read next; one that cannot be read is met there again. */
  #at: number;

  /** `at`: where its first record begins in the batch. */
  constructor(batch: RecordBatch, at: number, position: number, end: number) {
    this.position = position;
    this.end = end;
    this.#batch = batch;
    this.#at = at;
    this.#reader = new RecordReader(batch, at, position);
  }

  get sizeBytes(): number {
    return this.#batch.records.length;
  }

  skip(): void {
    this.#reader.at = this.#at;
    this.#at = this.#reader.endOfRecord();
    this.position += 1;
  }

  read(): Stored | undefined {
    const batch = this.#batch;
    const reader = this.#reader;
    const from = this.#at;
    reader.at = from;
    const end = reader.endOfRecord();
    reader.passAttributes();
    const timestampDelta = reader.whole();
    // How far its position is from the batch's first: that is known.
    reader.whole();
    const keyLength = reader.length(end);
    const keyFrom = reader.at;
    const keyTo = keyFrom + Math.max(0, keyLength);
    reader.at = keyTo;
    // What another client wrote without a value has an empty body.
    const bodyLength = Math.max(0, reader.length(end));
    const bodyFrom = reader.at;
    const bodyTo = bodyFrom + bodyLength;
    reader.at = bodyTo;
    const isKey = keyLength >= 0 && keyLength <= keyBytesMax;
    const key = isKey ? readKey(batch.records, batch.view, keyFrom, keyTo) : undefined;
    const headerCount = reader.whole();
    const named = headerCount === 0 ? nothingNamed : this.#named(headerCount, end);
    reader.leaveAt(end);
    this.#at = end;
    const position = this.position++;
    if (named === onlyPlace) return undefined;
    return new RecordMessage(batch, position, timestampDelta, key, named, end - from, bodyFrom, bodyTo);
  }

  #named(count: number, end: number): Named {
    let id: string | undefined;
    const texts: [string, string][] = [];
    for (let left = count; left > 0; left--) {
      const name = this.#reader.bytes(end);
      const text = this.#reader.bytes(end);
      if (name === undefined) continue;
      const isId = text !== undefined && text.length > 0 && text.length <= idBytesMax && name.toString() === idHeader;
      if (isId) id = text.toString();
      else texts.push([name.toString(), text?.toString() ?? ""]);
    }
    if (count === 1 && texts[0]?.[0] === placeHeader) return onlyPlace;
    return { id, headers: texts.length === 0 ? undefined : Object.fromEntries(texts) };
  }
}

/** The records of a batch from a position on; more than one run where positions are missing. */
export function runsIn(batch: RecordBatch, from: number): readonly RecordRun[] {
  if (batch.isControl || batch.end <= from) return [];
  // Positions in a batch ascend, so that as many records as positions means that none is missing.
  if (batch.count === batch.end - batch.first) return [runFrom(batch, from)];
  return runsApart(batch, from);
}

function runFrom(batch: RecordBatch, from: number): RecordRun {
  const run = new RecordRun(batch, 0, batch.first, batch.end);
  while (run.position < from) run.skip();
  return run;
}

/** Something was compacted: each record says where it stands. */
function runsApart(batch: RecordBatch, from: number): readonly RecordRun[] {
  const reader = new RecordReader(batch, 0, batch.first);
  const found: { at: number; position: number; end: number }[] = [];
  for (let left = batch.count; left > 0; left--) {
    const at = reader.at;
    const next = reader.endOfRecord();
    reader.passAttributes();
    reader.whole();
    const position = batch.first + reader.whole();
    reader.at = next;
    if (position < from) continue;
    const last = found.at(-1);
    if (last?.end === position) last.end += 1;
    else found.push({ at, position, end: position + 1 });
  }
  return found.map(({ at, position, end }) => new RecordRun(batch, at, position, end));
}
