/** What changes the engine's state of logs. */
export type LogCommand =
  | DeclareLogCommand
  | { readonly kind: "removeLog"; readonly name: string }
  | WriterCommand
  | CommittedCommand
  | { readonly kind: "forget"; readonly log: number; readonly reader: string };

/** A retention: `"forever"`: without end; `null`: not given. */
export type GivenRetention = number | "forever" | null;

export interface DeclareLogCommand {
  readonly kind: "declareLog";
  readonly name: string;
  readonly kafkaName: string;
  readonly kafkaId: string;
  readonly partitions: number;
  readonly retentionMs: GivenRetention;
  readonly retentionBytes: GivenRetention;
}

/** A writer was opened: Kafka has fenced whoever had its name, and this is the producer that it is now. */
export interface WriterCommand {
  readonly kind: "writer";
  readonly name: string;
  readonly kafkaId: string;
  readonly kafkaEpoch: number;
  /** Not opened anew, but gone on with, under this epoch; `null`: opened. */
  readonly epoch: number | null;
}

/** What a commit says beside its outputs. It is a part of the commit's transaction, and carried out when that is committed. */
export interface CommittedCommand {
  readonly kind: "committed";
  readonly writer: string;
  /** Where readers stand now: (log, partition, reader, position) each. */
  readonly positions: readonly (readonly [number, number, string, number])[];
  /** The last sequence that is stored under the writer's name: (log, partition, sequence) each. */
  readonly sequences: readonly (readonly [number, number, number])[];
}
