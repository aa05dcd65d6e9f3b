import type { Held } from "../../../contracts/messages.ts";
import { laterPlaceOf } from "../../lanes/index.ts";
import type { LogCommand } from "./log-commands.ts";

/**
 * What changes the engine's state: one record of the journal each, as JSON, so that any Kafka tool can show it. A command is carried out where it stands in the journal, by
 * everybody who reads it, with the same result; its time is the broker's, as it stamped the record.
 */
export type Command =
  | DeclareCommand
  | { readonly kind: "remove"; readonly name: string }
  | { readonly kind: "removeGroup"; readonly name: string; readonly group: string }
  | JoinCommand
  | {
      readonly kind: "renew";
      readonly topic: number;
      readonly group: number;
      readonly member: string;
      readonly sessionMs: number;
    }
  | {
      readonly kind: "leave";
      readonly topic: number;
      readonly group: string;
      readonly member: string;
      readonly orderly: boolean;
    }
  | ReleaseCommand
  | CommitCommand
  | {
      readonly kind: "seek";
      readonly name: string;
      readonly group: string;
      /** By partition; `null`: it stays. */
      readonly starts: readonly (number | null)[];
    }
  /** Lets time pass for a topic. Whoever has seen it has seen everything before it. */
  | { readonly kind: "look"; readonly name: string | null }
  | ProducerCommand
  | AdmitCommand
  | {
      readonly kind: "appended";
      readonly topic: number;
      readonly partition: number;
      readonly admission: string;
      /** Where the partition ends now; 0: that is not known. */
      readonly end: number;
      /** Positions without a message: places of what is delayed. */
      readonly empty?: readonly number[] | undefined;
    }
  /** Where each partition ended: for topics without groups, whose messages nobody settles. */
  | { readonly kind: "trim"; readonly topic: number; readonly ends: readonly number[] }
  | LogCommand;

export interface DeclareCommand {
  readonly kind: "declare";
  readonly name: string;
  readonly kafkaName: string;
  readonly kafkaId: string;
  readonly partitions: number;
  /** `"forever"`: without end; `null`: not given. */
  readonly retentionMs: number | "forever" | null;
  readonly countMax: number | null;
  readonly whenFull: "refuse" | "evict" | null;
  readonly groups: readonly string[];
  /** Where groups start that are made; `null`: none has to be. */
  readonly starts: readonly number[] | null;
  /** Where each partition ends, for a topic that counts; `null`: it does not. */
  readonly ends: readonly number[] | null;
}

export interface AdmitCommand {
  readonly kind: "admit";
  readonly topic: number;
  readonly partition: number;
  readonly admission: string;
  /** Of the messages of each batch. */
  readonly counts: readonly number[];
  /** Where the partition ends, at least. */
  readonly end: number;
}

export interface JoinCommand {
  readonly kind: "join";
  readonly topic: number;
  readonly group: string;
  readonly member: string;
  readonly sessionMs: number;
  readonly revokeMs: number;
  readonly windowMax: number;
  readonly agreement: string;
  readonly ephemeral: boolean;
  readonly mayMake: boolean;
  readonly starts: readonly number[] | null;
}

export interface ReleaseCommand {
  readonly kind: "release";
  readonly topic: number;
  readonly group: number;
  readonly partition: number;
  readonly fence: number;
  readonly orderly: boolean;
}

export interface CommitCommand {
  readonly kind: "commit";
  readonly topic: number;
  readonly group: number;
  readonly partition: number;
  readonly fence: number;
  /** Counts the owner's commits: one that comes late, behind a later one, says nothing any more. */
  readonly revision: number;
  readonly from: readonly number[];
  readonly to: readonly number[];
  /** (position, failures, deliveries, dueAt) each. */
  readonly held: readonly (readonly [number, number, number, number])[];
}

export interface ProducerCommand {
  readonly kind: "producer";
  /** The number of a topic or a log. */
  readonly topic: number;
  readonly producer: string;
  readonly epoch: number;
  /** A number that Kafka has given to nobody else; taken where the producer has none, or has used up its epochs. */
  readonly kafkaId: string;
}

const commandVersion = 2;
/** Whoever does not know topics of delayed messages would take them, and places for such messages, for what they are not. Everything else they understand. */
const versionOf = (command: Command) =>
  command.kind === "declare" && laterPlaceOf(command.name) !== undefined ? 2 : 1;

export interface StoredCommand {
  readonly id: string;
  readonly command: Command;
}

export function encodeCommand({ id, command }: StoredCommand): Buffer {
  return Buffer.from(JSON.stringify({ version: versionOf(command), id, ...command }));
}

/** `undefined`: it is none, and means nothing to anybody. `"newer"`: a later version of Tenon wrote it. */
export function decodeCommand(bytes: Buffer): StoredCommand | "newer" | undefined {
  let value: { version?: unknown; id?: unknown; kind?: unknown };
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || typeof value.version !== "number") return undefined;
  if (value.version > commandVersion) return "newer";
  if (typeof value.id !== "string" || typeof value.kind !== "string") return undefined;
  return { id: value.id, command: value as unknown as Command };
}

export function heldOf([position, failures, deliveries, dueAt]: CommitCommand["held"][number]): Held {
  return { position: BigInt(position), failures, deliveries, dueAt };
}
