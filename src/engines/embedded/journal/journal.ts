import type { JournalOptions, Position } from "./state.ts";

export { type JournalOptions, type JournalState, offsetOf, type Position, positionOf, segmentOf } from "./state.ts";

export interface JournalSegment {
  readonly segment: number;
  readonly sizeBytes: number;
}

export declare class Journal {
  static open(options: JournalOptions): Promise<Journal>;
  append(kind: number, length: number): number;
  get buffer(): Buffer;
  get position(): Position;
  get batch(): number;
  get durableBatch(): number;
  durable(): Promise<void>;
  read(position: Position): Buffer | Promise<Buffer>;
  get segments(): readonly JournalSegment[];
  get sizeBytes(): number;
  get full(): boolean;
  dropOldest(): Promise<void>;
  readFooter(segment: number): Promise<Buffer>;
  readFooterPart(segment: number, from: number, to: number): Buffer | Promise<Buffer>;
  roll(): void;
  close(): Promise<void>;
}
