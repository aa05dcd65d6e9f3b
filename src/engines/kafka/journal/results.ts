/** What commands come to, and what others hear of them. */
import type { Refused, Report } from "../../lanes/index.ts";
import type { DeclaredLog, Opened } from "./logs.ts";
import type { JournaledProducer } from "./producers.ts";
import type { Admitted } from "./room.ts";
import type { TopicPlace } from "./topic.ts";

/** What has changed for members: of one group, or of all that a topic has; or what readers and writers of a log wait for. */
export interface News {
  readonly topic: number;
  /** `undefined`: all of them. */
  readonly group?: number | undefined;
}

/** `starts`: the group has to be made, and the command does not say where it starts. */
export type Declared =
  | { readonly refused?: undefined; readonly topic: number }
  | { readonly refused: "partitions"; readonly partitions: number }
  | { readonly refused: "ephemeral"; readonly group: string }
  | { readonly refused: "starts" | "removed" | "other" };

export type JoinedOrNot =
  | { readonly refused?: undefined; readonly group: number; readonly report: Report }
  | Refused
  | { readonly refused: "starts" };

/** What a command came to, by its kind. */
export interface Results {
  readonly declare: Declared;
  readonly remove: Removed | undefined;
  readonly removeGroup: "done" | "topic" | "group";
  readonly join: JoinedOrNot;
  readonly renew: Report | Refused;
  readonly leave: undefined;
  readonly release: undefined;
  readonly commit: number | undefined;
  readonly seek: "done" | "topic" | "group";
  readonly look: undefined;
  /** `undefined`: the topic is gone. */
  readonly producer: JournaledProducer | undefined;
  /** `undefined`: the topic does not count, or is gone. */
  readonly admit: Admitted | undefined;
  readonly appended: undefined;
  readonly trim: undefined;
  readonly declareLog: DeclaredLog;
  readonly removeLog: Removed | undefined;
  readonly writer: Opened;
  readonly committed: undefined;
  readonly forget: undefined;
}

export type Removed = Pick<TopicPlace, "kafkaName" | "kafkaId">;
